"""The block that lets the characters of a word strengthen each other in a pyramid's maps.

I3CL, https://arxiv.org/abs/2108.01343; PaddleOCR: `ppocr/modeling/necks/intracl.py`.
"""

from __future__ import annotations

from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn


class IntraCLBlock(nn.Module):
    """Adds square, tall and wide convolutions of decreasing size to a map, on fewer channels."""

    folds: ClassVar = (("conv1x1_return_channel", "bn"),)

    def __init__(self, channels: int, reduce_factor: int) -> None:
        super().__init__()
        narrow = channels // reduce_factor
        self.conv1x1_reduce_channel = nn.Conv2d(channels, narrow, 1)
        self.conv1x1_return_channel = nn.Conv2d(narrow, channels, 1)
        self.v_layer_7x1, self.v_layer_5x1, self.v_layer_3x1 = (
            nn.Conv2d(narrow, narrow, (size, 1), padding=(size // 2, 0)) for size in (7, 5, 3)
        )
        self.q_layer_1x7, self.q_layer_1x5, self.q_layer_1x3 = (
            nn.Conv2d(narrow, narrow, (1, size), padding=(0, size // 2)) for size in (7, 5, 3)
        )
        self.c_layer_7x7, self.c_layer_5x5, self.c_layer_3x3 = (
            nn.Conv2d(narrow, narrow, size, padding=size // 2) for size in (7, 5, 3)
        )
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, channels, H, W)` to the same shape."""
        z = self.conv1x1_reduce_channel(x)
        z = self.c_layer_7x7(z) + self.v_layer_7x1(z) + self.q_layer_1x7(z)
        z = self.c_layer_5x5(z) + self.v_layer_5x1(z) + self.q_layer_1x5(z)
        z = self.c_layer_3x3(z) + self.v_layer_3x1(z) + self.q_layer_1x3(z)
        return x + F.relu(self.bn(self.conv1x1_return_channel(z)))
