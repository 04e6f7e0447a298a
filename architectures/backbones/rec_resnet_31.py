"""ResNet31, the backbone of SAR and RobustScanner: a map of an eighth of the height.

Show, Attend and Read: A Simple and Strong Baseline for Irregular Text Recognition,
https://arxiv.org/abs/1811.00751; PaddleOCR: `ppocr/modeling/backbones/rec_resnet_31.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from architectures.backbones._fan_blocks import UNITS, units

STAGES = (2, 3, 4, 5)
POOLS = {2: (2, 2), 3: (2, 2), 4: (2, 1)}


class ResNet31(nn.Module):
    """Two convolutions and four stages, each of residual units and a convolution.

    `layers` counts the units; `channels` are those of the two convolutions, of the four stages, and
    once more of the last. With `last_stage_pool`, a pooling halves the map before the last stage.
    """

    folds: ClassVar = (
        ("conv1_1", "bn1_1"), ("conv1_2", "bn1_2"), *((f"conv{n}", f"bn{n}") for n in STAGES),
    )  # fmt: skip

    def __init__(
        self,
        in_channels: int = 3,
        layers: Sequence[int] = UNITS,
        channels: Sequence[int] = (64, 128, 256, 256, 512, 512, 512),
        last_stage_pool: bool = False,
    ) -> None:
        super().__init__()
        self.pools = {**POOLS, **({5: (2, 2)} if last_stage_pool else {})}
        self.out_channels = channels[-1]
        self.conv1_1 = nn.Conv2d(in_channels, channels[0], 3, padding=1)
        self.bn1_1 = nn.BatchNorm2d(channels[0])
        self.conv1_2 = nn.Conv2d(channels[0], channels[1], 3, padding=1)
        self.bn1_2 = nn.BatchNorm2d(channels[1])
        widths = pairwise(channels[1:6])
        for stage, (before, width), count in zip(STAGES, widths, layers, strict=True):
            self.add_module(f"block{stage}", units(before, width, count))
            self.add_module(f"conv{stage}", nn.Conv2d(width, width, 3, padding=1))
            self.add_module(f"bn{stage}", nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        """`(N, in_channels, H, W)` to `(N, channels[-1], H / 8, W / 4)`.

        With `last_stage_pool` to `(N, channels[-1], H / 16, W / 8)`.
        """
        x = F.relu(self.bn1_1(self.conv1_1(x)))
        x = F.relu(self.bn1_2(self.conv1_2(x)))
        for stage in STAGES:
            if stage in self.pools:
                x = F.max_pool2d(x, self.pools[stage], ceil_mode=True)
            for name in (f"block{stage}", f"conv{stage}", f"bn{stage}"):
                x = self.get_submodule(name)(x)
            x = F.relu(x)
        return x
