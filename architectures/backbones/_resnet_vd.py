"""The two units of ResNet and their numbers, shared by detection and recognition.

Bag of Tricks for Image Classification (ResNet-D), https://arxiv.org/abs/1812.01187;
PaddleOCR: `ppocr/modeling/backbones/det_resnet_vd.py` and `rec_resnet_vd.py`, which differ in the
strides only, and `det_resnet.py`, whose shortcuts have strides.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from architectures.layers.conv import ConvBatchNorm
from architectures.layers.deformable import DeformableConvBatchNorm

Stride = int | tuple[int, int]

# Units in each of the four stages.
DEPTHS: dict[int, tuple[int, int, int, int]] = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
    200: (3, 12, 48, 3),
}
WIDTHS = (64, 128, 256, 512)


def unit_of(layers: int) -> type[BasicBlock] | type[BottleneckBlock]:
    """The unit of the network with that many layers; ValueError names the known networks."""
    if layers not in DEPTHS:
        raise ValueError(f"ResNet has no {layers!r} layers; known: {', '.join(map(str, DEPTHS))}")
    return BottleneckBlock if layers >= 50 else BasicBlock


class Shortcut(ConvBatchNorm):
    """A 1x1 convolution to other channels; a mean, not a stride, makes the map smaller."""

    def __init__(self, in_channels: int, out_channels: int, stride: Stride) -> None:
        super().__init__(in_channels, out_channels, 1)
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """`(N, in_channels, H, W)` to `(N, out_channels, H / stride, W / stride)`."""
        if self.stride not in (1, (1, 1)):
            x = F.avg_pool2d(x, self.stride, self.stride, ceil_mode=True)
        return super().forward(x)


class StridedShortcut(ConvBatchNorm):
    """A 1x1 convolution to other channels, which skips pixels to make the map smaller."""

    def __init__(self, in_channels: int, out_channels: int, stride: Stride) -> None:
        super().__init__(in_channels, out_channels, 1, stride)


class BasicBlock(nn.Module):
    """Residual unit of two 3x3 convolutions; the first unit's shortcut has its own convolution."""

    expansion = 1

    def __init__(
        self,
        in_channels: int,
        width: int,
        stride: Stride,
        first: bool,
        shortcut: type[Shortcut | StridedShortcut] = Shortcut,
    ) -> None:
        super().__init__()
        self.conv0 = ConvBatchNorm(in_channels, width, 3, stride, act="relu")
        self.conv1 = ConvBatchNorm(width, width, 3)
        self.short = shortcut(in_channels, width, stride) if first else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """`(N, in_channels, H, W)` to `(N, width, H / stride, W / stride)`."""
        return F.relu(self.short(x) + self.conv1(self.conv0(x)))


class BottleneckBlock(nn.Module):
    """Bottleneck unit: a 3x3 convolution between two 1x1; the shortcut is that of `BasicBlock`.

    With `deforming`, the 3x3 convolution is deformable in that many groups of channels.
    """

    expansion = 4

    def __init__(
        self,
        in_channels: int,
        width: int,
        stride: Stride,
        first: bool,
        shortcut: type[Shortcut | StridedShortcut] = Shortcut,
        deforming: int = 0,
    ) -> None:
        super().__init__()
        self.conv0 = ConvBatchNorm(in_channels, width, 1, act="relu")
        self.conv1 = (
            DeformableConvBatchNorm(width, width, 3, stride, deforming, act="relu")
            if deforming
            else ConvBatchNorm(width, width, 3, stride, act="relu")
        )
        self.conv2 = ConvBatchNorm(width, 4 * width, 1)
        self.short = shortcut(in_channels, 4 * width, stride) if first else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """`(N, in_channels, H, W)` to `(N, 4 * width, H / stride, W / stride)`."""
        return F.relu(self.short(x) + self.conv2(self.conv1(self.conv0(x))))


class Stages(nn.Module):
    """The four stages of a detector's backbone: maps at 1/4 to 1/32 of the image.

    The backbone returns the maps of the stages in `out_indices`, of all stages if that is None.
    `dcn_stage` selects the stages whose 3x3 convolutions are deformable; basic units have none.
    """

    shortcut: ClassVar[type[Shortcut | StridedShortcut]] = Shortcut
    moved_groups: ClassVar[int] = 1  # groups of channels of a deformable convolution

    def __init__(
        self, layers: int, dcn_stage: Sequence[bool] | None, out_indices: Sequence[int] | None
    ) -> None:
        super().__init__()
        unit = unit_of(layers)
        channels = 64
        self.layers = layers
        self.out_indices = tuple(range(4) if out_indices is None else out_indices)
        self.stage_names: list[list[str]] = []
        self.out_channels: list[int] = []
        for stage, (depth, width) in enumerate(zip(DEPTHS[layers], WIDTHS, strict=True)):
            self.stage_names.append([self.unit_name(stage, i) for i in range(depth)])
            deformable = dcn_stage is not None and dcn_stage[stage]
            options = {"deforming": self.moved_groups} if deformable and layers >= 50 else {}
            for index, name in enumerate(self.stage_names[-1]):
                stride = 2 if index == 0 and stage > 0 else 1
                block = unit(channels, width, stride, index == 0, self.shortcut, **options)
                self.add_module(name, block)
                channels = width * unit.expansion
            if stage in self.out_indices:
                self.out_channels.append(channels)

    @abstractmethod
    def unit_name(self, stage: int, index: int) -> str:
        """PaddleOCR's name of a unit."""

    def maps(self, x: Tensor) -> tuple[Tensor, ...]:
        """`(N, 64, H / 2, W / 2)` from the stem to the maps of the stages asked for."""
        x = F.max_pool2d(x, 3, stride=2, padding=1)
        found = []
        for stage, names in enumerate(self.stage_names):
            for name in names:
                x = self.get_submodule(name)(x)
            if stage in self.out_indices:
                found.append(x)
        return tuple(found)
