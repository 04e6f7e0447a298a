"""ResNet_vd as a recogniser's backbone: only the height shrinks from stage to stage.

Bag of Tricks for Image Classification (ResNet-D), https://arxiv.org/abs/1812.01187;
PaddleOCR: `ppocr/modeling/backbones/rec_resnet_vd.py`.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from architectures.backbones._resnet_vd import DEPTHS, WIDTHS, unit_of
from architectures.layers.conv import ConvBatchNorm
from architectures.layers.pooling import max_pool2d


class ResNet(nn.Module):
    """ResNet_vd whose stem keeps the size; the first and the last pooling halve both sides."""

    def __init__(self, in_channels: int = 3, layers: int = 50) -> None:
        super().__init__()
        unit = unit_of(layers)
        self.conv1_1 = ConvBatchNorm(in_channels, 32, 3, act="relu")
        self.conv1_2 = ConvBatchNorm(32, 32, 3, act="relu")
        self.conv1_3 = ConvBatchNorm(32, 64, 3, act="relu")
        channels = 64
        blocks: dict[str, nn.Module] = {}
        for stage, (depth, width) in enumerate(zip(DEPTHS[layers], WIDTHS, strict=True)):
            for index in range(depth):
                stride = (2, 1) if index == 0 and stage > 0 else 1
                blocks[f"bb_{stage}_{index}"] = unit(channels, width, stride, index == 0)
                channels = width * unit.expansion
        self.block_names = tuple(blocks)
        for name, block in blocks.items():
            self.add_module(name, block)
        self.out_channels = channels

    def forward(self, x: Tensor) -> Tensor:
        """`(N, 3, 32, W)` to `(N, out_channels, 1, W / 4)`."""
        x = self.conv1_3(self.conv1_2(self.conv1_1(x)))
        x = F.max_pool2d(x, 3, stride=2, padding=1)
        for name in self.block_names:
            x = self.get_submodule(name)(x)
        return max_pool2d(x, 2)
