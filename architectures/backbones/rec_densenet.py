"""DenseNet, the backbone of CAN: every layer sees the maps of all before it.

Densely Connected Convolutional Networks, https://arxiv.org/abs/1608.06993; PaddleOCR:
`ppocr/modeling/backbones/rec_densenet.py`.
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LAYERS = 16  # of each dense block


class Bottleneck(nn.Module):
    """A pointwise and a 3x3 layer, whose maps are added to the channels."""

    folds: ClassVar = (("conv1", "bn1"), ("conv2", "bn2"))

    def __init__(self, channels: int, growth: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 4 * growth, 1)
        self.bn1 = nn.BatchNorm2d(4 * growth)
        self.conv2 = nn.Conv2d(4 * growth, growth, 3, padding=1)
        self.bn2 = nn.BatchNorm2d(growth)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, C, H, W)` to `(N, C + growth, H, W)`."""
        y = F.relu(self.bn1(self.conv1(x)))
        return torch.cat([x, F.relu(self.bn2(self.conv2(y)))], 1)


class Transition(nn.Module):
    """A pointwise layer and a pooling that halves the map, rounded up."""

    folds: ClassVar = (("conv1", "bn1"),)

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, in_channels, H, W)` to `(N, out_channels, H / 2, W / 2)`."""
        return F.avg_pool2d(F.relu(self.bn1(self.conv1(x))), 2, ceil_mode=True)


class DenseNet(nn.Module):
    """Three dense blocks of 16 layers; the options are PaddleOCR's."""

    def __init__(
        self,
        in_channels: int,  # noqa: ARG002, `input_channel` holds it
        growthRate: int,  # noqa: N803, PaddleOCR's name
        reduction: float,
        bottleneck: bool,
        input_channel: int,
    ) -> None:
        super().__init__()
        if not bottleneck:
            raise ValueError("DenseNet is built with bottleneck: true")
        channels = 2 * growthRate
        self.conv1 = nn.Conv2d(input_channel, channels, 7, stride=2, padding=3, bias=False)
        blocks: list[nn.Module] = []
        for place in range(3):
            if place:
                narrow = math.floor(channels * reduction)
                blocks.append(Transition(channels, narrow))
                channels = narrow
            ins = [channels + growthRate * layer for layer in range(LAYERS)]
            blocks.append(nn.Sequential(*(Bottleneck(width, growthRate) for width in ins)))
            channels += growthRate * LAYERS
        self.dense1, self.trans1, self.dense2, self.trans2, self.dense3 = blocks
        self.out_channels = channels

    def forward(self, x: Tensor) -> Tensor:
        """`(N, input_channel, H, W)` to `(N, out_channels, H / 16, W / 16)`, sides rounded up."""
        x = F.max_pool2d(F.relu(self.conv1(x)), 2, ceil_mode=True)
        x = self.trans1(self.dense1(x))
        return self.dense3(self.trans2(self.dense2(x)))
