"""ResNet_vd as a detector's backbone: four feature maps at 1/4 to 1/32 of the image.

Bag of Tricks for Image Classification (ResNet-D), https://arxiv.org/abs/1812.01187;
PaddleOCR: `ppocr/modeling/backbones/det_resnet_vd.py`.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from architectures.backbones.resnet_vd import DEPTHS, WIDTHS, unit_of
from architectures.layers import ConvBatchNorm


class ResNet_vd(nn.Module):  # noqa: N801, PaddleOCR's name
    """ResNet_vd, its units named `bb_{stage}_{index}`."""

    def __init__(self, in_channels: int = 3, layers: int = 50) -> None:
        super().__init__()
        unit = unit_of(layers)
        self.conv1_1 = ConvBatchNorm(in_channels, 32, 3, stride=2, act="relu")
        self.conv1_2 = ConvBatchNorm(32, 32, 3, act="relu")
        self.conv1_3 = ConvBatchNorm(32, 64, 3, act="relu")
        channels = 64
        self.stage_names: list[list[str]] = []
        self.out_channels: list[int] = []
        for stage, (depth, width) in enumerate(zip(DEPTHS[layers], WIDTHS, strict=True)):
            self.stage_names.append([f"bb_{stage}_{index}" for index in range(depth)])
            for index, name in enumerate(self.stage_names[-1]):
                stride = 2 if index == 0 and stage > 0 else 1
                self.add_module(name, unit(channels, width, stride, index == 0))
                channels = width * unit.expansion
            self.out_channels.append(channels)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """`(N, 3, H, W)`, sides multiples of 32, to maps of 1/4, 1/8, 1/16 and 1/32 of the size."""
        x = self.conv1_3(self.conv1_2(self.conv1_1(x)))
        x = F.max_pool2d(x, 3, stride=2, padding=1)
        maps = []
        for names in self.stage_names:
            for name in names:
                x = self.get_submodule(name)(x)
            maps.append(x)
        return tuple(maps)
