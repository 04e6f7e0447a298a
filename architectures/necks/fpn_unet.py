"""A pyramid that grows back to the size of the image, as U-Net's: the neck of DRRG.

U-Net, https://arxiv.org/abs/1505.04597; PaddleOCR: `ppocr/modeling/necks/fpn_unet.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

WIDEST = 256


class UpBlock(nn.Module):
    """Two convolutions, and a transposed one that doubles the size."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv1x1 = nn.Conv2d(in_channels, in_channels, 1)
        self.conv3x3 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.deconv = nn.ConvTranspose2d(out_channels, out_channels, 4, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, in_channels, H, W)` to `(N, out_channels, 2 * H, 2 * W)`."""
        return self.deconv(F.relu(self.conv3x3(F.relu(self.conv1x1(x)))))


class FPN_UNet(nn.Module):  # noqa: N801, PaddleOCR's name
    """From the coarsest map up, each joined with the next finer one of the backbone."""

    def __init__(self, in_channels: Sequence[int], out_channels: int) -> None:
        super().__init__()
        self.out_channels = out_channels
        widths = [out_channels, *(min(out_channels * 2**i, WIDEST) for i in range(4))]
        c2, c3, c4, c5 = in_channels
        self.up4 = nn.ConvTranspose2d(c5, widths[4], 4, stride=2, padding=1)
        self.up_block3 = UpBlock(c4 + widths[4], widths[3])
        self.up_block2 = UpBlock(c3 + widths[3], widths[2])
        self.up_block1 = UpBlock(c2 + widths[2], widths[1])
        self.up_block0 = UpBlock(widths[1], widths[0])

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps of 1/4, 1/8, 1/16 and 1/32 of the image's size to `(N, out_channels, H, W)`."""
        c2, c3, c4, c5 = maps
        x = F.relu(self.up4(c5))
        x = F.relu(self.up_block3(torch.cat([x, c4], 1)))
        x = F.relu(self.up_block2(torch.cat([x, c3], 1)))
        x = F.relu(self.up_block1(torch.cat([x, c2], 1)))
        return self.up_block0(x)
