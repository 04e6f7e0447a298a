"""ResNet50_vd as SAST's backbone: a fifth stage, and maps from the image itself down to 1/64.

Bag of Tricks for Image Classification (ResNet-D), https://arxiv.org/abs/1812.01187;
PaddleOCR: `ppocr/modeling/backbones/det_resnet_vd_sast.py`.
"""

from __future__ import annotations

from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from architectures.backbones._resnet_vd import BottleneckBlock, Shortcut, StridedShortcut
from architectures.layers.conv import ConvBatchNorm

# Units and width of each stage; PaddleOCR has a fifth one for 50 layers only.
STAGES = {50: ((3, 64), (4, 128), (6, 256), (3, 512), (3, 512))}


class FiveStages(nn.Module):
    """The stages of ResNet50 and one more, the units named `bb_{stage}_{index}`."""

    shortcut: ClassVar[type[Shortcut | StridedShortcut]] = Shortcut

    def __init__(self, in_channels: int, layers: int) -> None:
        super().__init__()
        if layers not in STAGES:
            raise ValueError(
                f"{type(self).__name__} has no fifth stage with {layers!r} layers; known: 50"
            )
        channels = 64
        self.out_channels = [in_channels, channels]
        self.stage_names: list[list[str]] = []
        for stage, (depth, width) in enumerate(STAGES[layers]):
            self.stage_names.append([f"bb_{stage}_{index}" for index in range(depth)])
            for index, name in enumerate(self.stage_names[-1]):
                stride = 2 if index == 0 and stage > 0 else 1
                unit = BottleneckBlock(channels, width, stride, index == 0, self.shortcut)
                self.add_module(name, unit)
                channels = width * unit.expansion
            self.out_channels.append(channels)

    def maps(self, image: Tensor, x: Tensor) -> tuple[Tensor, ...]:
        """Return the image, the stem's map `(N, 64, H / 2, W / 2)` and the map of each stage."""
        maps = [image, x]
        x = F.max_pool2d(x, 3, stride=2, padding=1)
        for names in self.stage_names:
            for name in names:
                x = self.get_submodule(name)(x)
            maps.append(x)
        return tuple(maps)


class ResNet_SAST(FiveStages):  # noqa: N801, PaddleOCR's name
    """The five stages behind the stem of ResNet_vd."""

    def __init__(self, in_channels: int = 3, layers: int = 50) -> None:
        super().__init__(in_channels, layers)
        self.conv1_1 = ConvBatchNorm(in_channels, 32, 3, stride=2, act="relu")
        self.conv1_2 = ConvBatchNorm(32, 32, 3, act="relu")
        self.conv1_3 = ConvBatchNorm(32, 64, 3, act="relu")

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """`(N, 3, H, W)`, sides multiples of 64, to the image and its maps of 1/2 to 1/64."""
        return self.maps(x, self.conv1_3(self.conv1_2(self.conv1_1(x))))
