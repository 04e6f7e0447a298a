"""The neck of PGNet: maps summed from both ends at 1/4 of the image.

PGNet: Real-time Arbitrarily-Shaped Text Spotting with Point Gathering Network,
https://arxiv.org/abs/2104.05458; PaddleOCR: `ppocr/modeling/necks/pg_fpn.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from architectures.layers.conv import ConvBatchNorm, DeConvBNLayer

FINE = (32, 64, 128)
"""Channels on the way down, from the image to 1/4 of it."""
COARSE = (256, 256, 192, 192, 128)
"""Channels on the way up, from 1/64 of the image to 1/4."""


class PGFPN(nn.Module):
    """Both pyramids, as SAST has them, their layers side by side."""

    def __init__(self, in_channels: Sequence[int]) -> None:
        super().__init__()
        self.out_channels = COARSE[-1]
        c0, c1, c2, *_ = in_channels
        f0, f1, f2 = FINE
        self.conv_bn_layer_1 = ConvBatchNorm(c0, f0, 3)
        self.conv_bn_layer_2 = ConvBatchNorm(c1, f1, 3)
        self.conv_bn_layer_3 = ConvBatchNorm(c2, f2, 3)
        self.conv_bn_layer_4 = ConvBatchNorm(f0, f1, 3, 2)
        self.conv_bn_layer_5 = ConvBatchNorm(f1, f1, 3, act="relu")
        self.conv_bn_layer_6 = ConvBatchNorm(f1, f2, 3, 2)
        self.conv_bn_layer_7 = ConvBatchNorm(f2, f2, 3, act="relu")
        self.conv_bn_layer_8 = ConvBatchNorm(f2, f2, 1)
        w0, w1, w2, w3, w4 = COARSE
        self.conv_h0, self.conv_h1, self.conv_h2, self.conv_h3, self.conv_h4 = (
            ConvBatchNorm(channels, width, 1)
            for channels, width in zip(reversed(in_channels[2:]), COARSE, strict=True)
        )
        self.dconv0, self.dconv1, self.dconv2, self.dconv3 = (
            DeConvBNLayer(width, finer) for width, finer in ((w0, w1), (w1, w2), (w2, w3), (w3, w4))
        )
        self.conv_g1, self.conv_g2, self.conv_g3, self.conv_g4 = (
            ConvBatchNorm(width, width, 3, act="relu") for width in (w1, w2, w3, w4)
        )
        self.convf = ConvBatchNorm(w4, w4, 1)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """The image and its maps of 1/2 to 1/64 to `(N, 128, H / 4, W / 4)`."""
        return F.relu(self.down(*features[:3]) + self.up(*features[2:]))

    def down(self, c0: Tensor, c1: Tensor, c2: Tensor) -> Tensor:
        """From the image to 1/4 of it: each map is halved and added to the next coarser one."""
        half = self.conv_bn_layer_4(self.conv_bn_layer_1(c0)) + self.conv_bn_layer_2(c1)
        x = self.conv_bn_layer_6(self.conv_bn_layer_5(F.relu(half)))
        x = F.relu(x + self.conv_bn_layer_3(c2))
        return self.conv_bn_layer_8(self.conv_bn_layer_7(x))

    def up(self, c2: Tensor, c3: Tensor, c4: Tensor, c5: Tensor, c6: Tensor) -> Tensor:
        """From 1/64 of the image to 1/4: each map is enlarged and added to the next finer one."""
        x = F.relu(self.dconv0(self.conv_h0(c6)) + self.conv_h1(c5))
        x = F.relu(self.dconv1(self.conv_g1(x)) + self.conv_h2(c4))
        x = F.relu(self.dconv2(self.conv_g2(x)) + self.conv_h3(c3))
        x = F.relu(self.dconv3(self.conv_g3(x)) + self.conv_h4(c2))
        return self.convf(self.conv_g4(x))
