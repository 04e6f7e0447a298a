"""The neck of EAST: each map, enlarged, is joined with the next finer one and filtered.

EAST: An Efficient and Accurate Scene Text Detector, https://arxiv.org/abs/1704.03155;
PaddleOCR: `ppocr/modeling/necks/east_fpn.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from architectures.layers.conv import ConvBNLayer, DeConvBNLayer

WIDTHS = {"large": 128, "small": 64}


def east_width(model_name: str) -> int:
    """The channels of EAST's neck and head; ValueError names the known sizes."""
    if model_name not in WIDTHS:
        raise ValueError(f"EAST has no model_name {model_name!r}; known: {', '.join(WIDTHS)}")
    return WIDTHS[model_name]


class EASTFPN(nn.Module):
    """Three steps from coarse to fine, and one more convolution."""

    def __init__(self, in_channels: Sequence[int], model_name: str) -> None:
        super().__init__()
        self.out_channels = width = east_width(model_name)
        c2, c3, c4, c5 = in_channels
        self.g0_deconv = DeConvBNLayer(c5, width, act="relu")
        self.h1_conv = ConvBNLayer(width + c4, width, 3, act="relu")
        self.g1_deconv = DeConvBNLayer(width, width, act="relu")
        self.h2_conv = ConvBNLayer(width + c3, width, 3, act="relu")
        self.g2_deconv = DeConvBNLayer(width, width, act="relu")
        self.h3_conv = ConvBNLayer(width + c2, width, 3, act="relu")
        self.g3_conv = ConvBNLayer(width, width, 3, act="relu")

    def forward(self, features: tuple[Tensor, Tensor, Tensor, Tensor]) -> Tensor:
        """Maps of 1/4, 1/8, 1/16 and 1/32 of the image to `(N, out_channels, H / 4, W / 4)`."""
        c2, c3, c4, c5 = features
        h1 = self.h1_conv(torch.cat([self.g0_deconv(c5), c4], 1))
        h2 = self.h2_conv(torch.cat([self.g1_deconv(h1), c3], 1))
        h3 = self.h3_conv(torch.cat([self.g2_deconv(h2), c2], 1))
        return self.g3_conv(h3)
