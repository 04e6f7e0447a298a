"""ResNeXt-101 with a feature pyramid: how LayoutLMv2 and LayoutXLM see the page.

Aggregated Residual Transformations for Deep Neural Networks, https://arxiv.org/abs/1611.05431;
Feature Pyramid Networks for Object Detection, https://arxiv.org/abs/1612.03144; PaddleNLP 2.5.2:
`paddlenlp/transformers/layoutxlm/visual_backbone.py`.
"""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Of the pixels that the network is given, blue, green and red, whatever was done to them before.
PIXEL_MEAN = (103.53, 116.28, 123.675)
PIXEL_STD = (57.375, 57.12, 58.395)

UNITS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}
"""Bottlenecks of the four stages, by the number of layers."""


class NormedConv2d(nn.Conv2d):
    """A convolution whose BatchNorm is part of it."""

    folds: ClassVar = (("", "norm"),)

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, stride: int, groups: int = 1
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            kernel_size // 2,
            groups=groups,
            bias=False,
        )
        self.norm = nn.BatchNorm2d(out_channels)

    def forward(self, input: Tensor) -> Tensor:
        """`(N, in_channels, H, W)` to `(N, out_channels, H / stride, W / stride)`."""
        return self.norm(super().forward(input))


class Bottleneck(nn.Module):
    """Three convolutions beside a shortcut; the middle one works in groups."""

    def __init__(
        self, in_channels: int, width: int, out_channels: int, stride: int, groups: int
    ) -> None:
        super().__init__()
        changed = in_channels != out_channels
        self.shortcut = NormedConv2d(in_channels, out_channels, 1, stride) if changed else None
        self.conv1 = NormedConv2d(in_channels, width, 1, 1)
        self.conv2 = NormedConv2d(width, width, 3, stride, groups)
        self.conv3 = NormedConv2d(width, out_channels, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, in_channels, H, W)` to `(N, out_channels, H / stride, W / stride)`."""
        inner = self.conv3(F.relu(self.conv2(F.relu(self.conv1(x)))))
        return F.relu(inner + (x if self.shortcut is None else self.shortcut(x)))


class Stem(nn.Module):
    """A convolution and a pooling that make the map four times smaller."""

    def __init__(self, out_channels: int) -> None:
        super().__init__()
        self.conv1 = NormedConv2d(3, out_channels, 7, 2)

    def forward(self, image: Tensor) -> Tensor:
        """`(N, 3, H, W)` to `(N, out_channels, H / 4, W / 4)`."""
        return F.max_pool2d(F.relu(self.conv1(image)), 3, 2, 1)


class ResNeXt(nn.Module):
    """The stem and four stages, each but the first half as large as the one before."""

    def __init__(
        self, depth: int, groups: int, group_width: int, stem_channels: int, channels: int
    ) -> None:
        super().__init__()
        self.stem = Stem(stem_channels)
        before, width = stem_channels, groups * group_width
        self.stages = [f"res{number}" for number in range(2, 6)]
        self.out_channels = []
        for index, (name, units) in enumerate(zip(self.stages, UNITS[depth], strict=True)):
            blocks = [
                Bottleneck(
                    channels if unit else before,
                    width,
                    channels,
                    2 if index and not unit else 1,
                    groups,
                )
                for unit in range(units)
            ]
            self.add_module(name, nn.Sequential(*blocks))
            self.out_channels.append(channels)
            before, width, channels = channels, 2 * width, 2 * channels

    def forward(self, image: Tensor) -> list[Tensor]:
        """`(N, 3, H, W)` to the maps of the stages, 4, 8, 16 and 32 times smaller."""
        maps, x = [], self.stem(image)
        for name in self.stages:
            x = self.get_submodule(name)(x)
            maps.append(x)
        return maps


class FPN(nn.Module):
    """The finest map of a pyramid; the coarser ones nothing reads, so they are not made."""

    def __init__(
        self,
        depth: int,
        groups: int,
        group_width: int,
        stem_channels: int,
        channels: int,
        out_channels: int,
    ) -> None:
        super().__init__()
        self.bottom_up = ResNeXt(depth, groups, group_width, stem_channels, channels)
        self.fpn_lateral2, self.fpn_lateral3, self.fpn_lateral4, self.fpn_lateral5 = (
            nn.Conv2d(width, out_channels, 1) for width in self.bottom_up.out_channels
        )
        self.fpn_output2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        """`(N, 3, H, W)` to `(N, out_channels, H / 4, W / 4)`; sides are multiples of 32."""
        *finer, coarsest = self.bottom_up(image)
        fused = self.fpn_lateral5(coarsest)
        laterals = (self.fpn_lateral4, self.fpn_lateral3, self.fpn_lateral2)
        for lateral, features in zip(laterals, reversed(finer), strict=True):
            fused = lateral(features) + F.interpolate(fused, scale_factor=2.0, mode="nearest")
        return self.fpn_output2(fused)


class PixelNormalization(nn.Module):
    """Subtracts the mean colour, which loses digits of the pixels: see `LosesPrecision`."""

    rounding: ClassVar = 1e-6

    def forward(self, image: Tensor) -> Tensor:
        """`(N, 3, H, W)` to the same shape."""
        mean, std = (
            torch.tensor(each, dtype=image.dtype, device=image.device).view(3, 1, 1)
            for each in (PIXEL_MEAN, PIXEL_STD)
        )
        return (image - mean) / std


class VisualBackbone(nn.Module):
    """The page as tokens: the mean feature of each cell of a grid laid over it."""

    def __init__(
        self,
        grid: tuple[int, int],
        depth: int = 101,
        groups: int = 32,
        group_width: int = 8,
        stem_channels: int = 64,
        channels: int = 256,
        out_channels: int = 256,
    ) -> None:
        super().__init__()
        self.backbone = FPN(depth, groups, group_width, stem_channels, channels, out_channels)
        self.normalize = PixelNormalization()
        self.pool = nn.AdaptiveAvgPool2d(grid)

    def forward(self, image: Tensor) -> Tensor:
        """`(N, 3, H, W)` float32 to `(N, rows * columns, out_channels)`, row by row."""
        return self.pool(self.backbone(self.normalize(image))).flatten(2).transpose(1, 2)
