"""The neck of SAST: maps summed from both ends at 1/4 of the image, then mixed by attention.

A Single-Shot Arbitrarily-Shaped Text Detector based on Context Attended Multi-Task Learning,
https://arxiv.org/abs/1908.05498; PaddleOCR: `ppocr/modeling/necks/sast_fpn.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from architectures.layers.conv import ConvBNLayer, DeConvBNLayer

WIDTH = 128


class FPN_Up_Fusion(nn.Module):  # noqa: N801, PaddleOCR's name
    """From 1/64 of the image to 1/4: each map is enlarged and added to the next finer one."""

    WIDTHS = (256, 256, 192, 192, WIDTH)

    def __init__(self, in_channels: Sequence[int]) -> None:
        super().__init__()
        w0, w1, w2, w3, w4 = self.WIDTHS
        self.h0_conv, self.h1_conv, self.h2_conv, self.h3_conv, self.h4_conv = (
            ConvBNLayer(channels, width, 1)
            for channels, width in zip(reversed(in_channels), self.WIDTHS, strict=True)
        )
        self.g0_conv = DeConvBNLayer(w0, w1)
        self.g1_conv, self.g2_conv, self.g3_conv = (
            nn.Sequential(ConvBNLayer(width, width, 3, act="relu"), DeConvBNLayer(width, finer))
            for width, finer in ((w1, w2), (w2, w3), (w3, w4))
        )
        self.g4_conv = nn.Sequential(ConvBNLayer(w4, w4, 3, act="relu"), ConvBNLayer(w4, w4, 1))

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Maps of 1/4 to 1/64 of the image to `(N, 128, H / 4, W / 4)`."""
        c2, c3, c4, c5, c6 = features
        g1 = self.g1_conv(F.relu(self.g0_conv(self.h0_conv(c6)) + self.h1_conv(c5)))
        g2 = self.g2_conv(F.relu(g1 + self.h2_conv(c4)))
        g3 = self.g3_conv(F.relu(g2 + self.h3_conv(c3)))
        return self.g4_conv(F.relu(g3 + self.h4_conv(c2)))


class FPN_Down_Fusion(nn.Module):  # noqa: N801, PaddleOCR's name
    """From the image to 1/4 of it: each map is halved and added to the next coarser one."""

    def __init__(self, in_channels: Sequence[int]) -> None:
        super().__init__()
        self.h0_conv, self.h1_conv, self.h2_conv = (
            ConvBNLayer(channels, width, 3)
            for channels, width in zip(in_channels, (32, 64, WIDTH), strict=True)
        )
        self.g0_conv = ConvBNLayer(32, 64, 3, 2)
        self.g1_conv = nn.Sequential(
            ConvBNLayer(64, 64, 3, act="relu"), ConvBNLayer(64, WIDTH, 3, 2)
        )
        self.g2_conv = nn.Sequential(
            ConvBNLayer(WIDTH, WIDTH, 3, act="relu"), ConvBNLayer(WIDTH, WIDTH, 1)
        )

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """The image and its maps of 1/2 and 1/4 to `(N, 128, H / 4, W / 4)`."""
        c0, c1, c2 = features
        g1 = self.g1_conv(F.relu(self.g0_conv(self.h0_conv(c0)) + self.h1_conv(c1)))
        return self.g2_conv(F.relu(g1 + self.h2_conv(c2)))


def attend(theta: Tensor, phi: Tensor, g: Tensor) -> Tensor:
    """Mix the places of each row of `g` by how alike `theta` and `phi` are; `(N, C, H, W)` all."""
    n, c, h, w = theta.shape
    queries, keys, values = (x.permute(0, 2, 3, 1).reshape(n * h, w, c) for x in (theta, phi, g))
    weights = (queries @ keys.transpose(1, 2) / c**0.5).softmax(-1)
    return (weights @ values).reshape(n, h, w, c).permute(0, 3, 1, 2)


class Cross_Attention(nn.Module):  # noqa: N801, PaddleOCR's name
    """Attention along the rows, and along the columns, with the same queries, keys and values."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.theta_conv, self.phi_conv, self.g_conv = (
            ConvBNLayer(channels, channels, 1, act="relu") for _ in range(3)
        )
        self.fh_weight_conv, self.fh_sc_conv, self.fv_weight_conv, self.fv_sc_conv = (
            ConvBNLayer(channels, channels, 1) for _ in range(4)
        )
        self.f_attn_conv = ConvBNLayer(2 * channels, channels, 1, act="relu")

    def forward(self, x: Tensor) -> Tensor:
        """`(N, C, H, W)` to the same shape."""
        maps = self.theta_conv(x), self.phi_conv(x), self.g_conv(x)
        rows = self.fh_weight_conv(attend(*maps))
        along_rows = F.relu(rows + self.fh_sc_conv(x))
        columns = attend(*(m.transpose(2, 3) for m in maps)).transpose(2, 3)
        along_columns = F.relu(self.fv_weight_conv(columns) + self.fv_sc_conv(x))
        return self.f_attn_conv(torch.cat([along_rows, along_columns], 1))


class SASTFPN(nn.Module):
    """Both pyramids, and the attention, which checkpoints hold even where it is not used."""

    def __init__(self, in_channels: Sequence[int], with_cab: bool = False) -> None:
        super().__init__()
        self.out_channels = WIDTH
        self.with_cab = with_cab
        self.FPN_Down_Fusion = FPN_Down_Fusion(in_channels[:3])
        self.FPN_Up_Fusion = FPN_Up_Fusion(in_channels[2:])
        self.cross_attention = Cross_Attention(WIDTH)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """The image and its maps of 1/2 to 1/64 to `(N, 128, H / 4, W / 4)`."""
        x = F.relu(self.FPN_Down_Fusion(features[:3]) + self.FPN_Up_Fusion(features[2:]))
        return self.cross_attention(x) if self.with_cab else x

    def deployed(self) -> nn.Module:
        """The neck without an attention that is not used."""
        if not self.with_cab:
            del self.cross_attention
        return self
