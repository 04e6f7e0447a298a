"""ResNet_vd as SAST's backbone: with 50 layers a fifth stage; maps from the image down to 1/64.

Bag of Tricks for Image Classification (ResNet-D), https://arxiv.org/abs/1812.01187;
PaddleOCR: `ppocr/modeling/backbones/det_resnet_vd_sast.py`.
"""

from __future__ import annotations

from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from architectures.backbones._resnet_vd import (
    DEPTHS,
    WIDTHS,
    Shortcut,
    StridedShortcut,
    unit_of,
)
from architectures.layers.conv import ConvBatchNorm

FIFTH = {50: (3, 512)}  # units and width of the fifth stage, which no other depth has


class FiveStages(nn.Module):
    """The four stages of ResNet, and a fifth with 50 layers; units named `bb_{stage}_{index}`."""

    shortcut: ClassVar[type[Shortcut | StridedShortcut]] = Shortcut
    # PaddleOCR cannot build these: it asks for a fifth stage without knowing its width.
    broken: ClassVar[tuple[int, ...]] = (34,)

    def __init__(self, in_channels: int, layers: int) -> None:
        super().__init__()
        unit_type = unit_of(layers)
        if layers in self.broken:
            raise ValueError(f"PaddleOCR's {type(self).__name__} does not run with {layers} layers")
        stages = [*zip(DEPTHS[layers], WIDTHS, strict=True)]
        stages += [FIFTH[layers]] if layers in FIFTH else []
        channels = 64
        self.out_channels = [in_channels, channels]
        self.stage_names: list[list[str]] = []
        for stage, (depth, width) in enumerate(stages):
            self.stage_names.append([f"bb_{stage}_{index}" for index in range(depth)])
            for index, name in enumerate(self.stage_names[-1]):
                stride = 2 if index == 0 and stage > 0 else 1
                unit = unit_type(channels, width, stride, index == 0, self.shortcut)
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
    """The stages behind the stem of ResNet_vd."""

    def __init__(self, in_channels: int = 3, layers: int = 50) -> None:
        super().__init__(in_channels, layers)
        self.conv1_1 = ConvBatchNorm(in_channels, 32, 3, stride=2, act="relu")
        self.conv1_2 = ConvBatchNorm(32, 32, 3, act="relu")
        self.conv1_3 = ConvBatchNorm(32, 64, 3, act="relu")

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """`(N, 3, H, W)`, sides multiples of 64, to the image and its maps of 1/2 to 1/64.

        With layers other than 50 the last is that of 1/32.
        """
        return self.maps(x, self.conv1_3(self.conv1_2(self.conv1_1(x))))
