"""The feature pyramid of PSENet: four maps, added from coarse to fine, then joined.

Shape Robust Text Detection with Progressive Scale Expansion Network,
https://arxiv.org/abs/1903.12473; PaddleOCR: `ppocr/modeling/necks/fpn.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from architectures.layers.conv import ConvBNAct


def upsample(x: Tensor, factor: int) -> Tensor:
    """Enlarge a map by interpolation."""
    return F.interpolate(x, scale_factor=float(factor), mode="bilinear", align_corners=False)


class FPN(nn.Module):
    """Each level is filtered before it is enlarged and added to the next finer one."""

    def __init__(self, in_channels: Sequence[int], out_channels: int) -> None:
        super().__init__()
        c2, c3, c4, c5 = in_channels
        self.toplayer_ = ConvBNAct(c5, out_channels, 1, act="relu")
        self.latlayer1_, self.latlayer2_, self.latlayer3_ = (
            ConvBNAct(channels, out_channels, 1, act="relu") for channels in (c4, c3, c2)
        )
        self.smooth1_, self.smooth2_, self.smooth3_ = (
            ConvBNAct(out_channels, out_channels, 3, act="relu") for _ in range(3)
        )
        self.out_channels = 4 * out_channels

    def forward(self, features: tuple[Tensor, Tensor, Tensor, Tensor]) -> Tensor:
        """Maps of 1/4, 1/8, 1/16 and 1/32 of the image to `(N, 4 * out_channels, H / 4, W / 4)`."""
        c2, c3, c4, c5 = features
        p5 = self.toplayer_(c5)
        p4 = self.smooth1_(upsample(p5, 2) + self.latlayer1_(c4))
        p3 = self.smooth2_(upsample(p4, 2) + self.latlayer2_(c3))
        p2 = self.smooth3_(upsample(p3, 2) + self.latlayer3_(c2))
        return torch.cat([p2, upsample(p3, 2), upsample(p4, 4), upsample(p5, 8)], 1)
