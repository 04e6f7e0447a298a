"""ResNetFPN: a ResNet whose last three stages have one size and are joined.

Towards Accurate Scene Text Recognition with Semantic Reasoning Networks (SRN),
https://arxiv.org/abs/2003.12294; PaddleOCR: `ppocr/modeling/backbones/rec_resnet_fpn.py`.
"""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from architectures.layers.conv import BatchNormAct

DEPTHS = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}
WIDTHS = (64, 128, 256, 512)
STRIDES = (2, 2, 1, 1)
OUT_CHANNELS = 512


class ConvBNLayer(nn.Module):
    """Convolution, BatchNorm, and an activation if named.

    PaddleOCR writes the stride 1 of the later stages as (1, 1), and makes of convolutions so
    written others: 2x2 with taps two pixels apart, which keep the size as 3x3 do (`spread`).
    """

    folds: ClassVar = (("conv", "bn"),)

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        act: str | None = None,
        spread: bool = False,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            in_channels,
            out_channels,
            2 if spread else kernel_size,
            stride,
            padding=kernel_size // 2,
            dilation=2 if spread else 1,
            bias=False,
        )
        self.bn = BatchNormAct(out_channels, act) if act else nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, in_channels, H, W)` to `(N, out_channels, H / stride, W / stride)`."""
        return self.bn(self.conv(x))


class ShortCut(nn.Module):
    """Shortcut of a block: its input, in the `first` block through a 1x1 convolution."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, first: bool) -> None:
        super().__init__()
        self.conv = ConvBNLayer(in_channels, out_channels, 1, stride) if first else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """`(N, in_channels, H, W)` to `(N, out_channels, H / stride, W / stride)`."""
        return self.conv(x)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and the shortcut; the `first` of a stage changes the size."""

    expansion = 1

    def __init__(self, in_channels: int, width: int, stride: int, first: bool) -> None:
        super().__init__()
        spread = first and stride == 1
        self.conv0 = ConvBNLayer(in_channels, width, 3, stride, "relu", spread)
        self.conv1 = ConvBNLayer(width, width, 3)
        self.short = ShortCut(in_channels, width, stride, first)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, in_channels, H, W)` to `(N, width, H / stride, W / stride)`."""
        return F.relu(self.conv1(self.conv0(x)) + self.short(x))


class BottleneckBlock(nn.Module):
    """A 3x3 convolution between two 1x1 ones, and the shortcut; else as `BasicBlock`."""

    expansion = 4

    def __init__(self, in_channels: int, width: int, stride: int, first: bool) -> None:
        super().__init__()
        spread = first and stride == 1
        self.conv0 = ConvBNLayer(in_channels, width, 1, act="relu")
        self.conv1 = ConvBNLayer(width, width, 3, stride, "relu", spread)
        self.conv2 = ConvBNLayer(width, self.expansion * width, 1)
        self.short = ShortCut(in_channels, self.expansion * width, stride, first)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, in_channels, H, W)` to `(N, 4 * width, H / stride, W / stride)`."""
        return F.relu(self.conv2(self.conv1(self.conv0(x))) + self.short(x))


class ResNetFPN(nn.Module):
    """A ResNet of 18, 34, 50, 101 or 152 layers whose last three stages are joined, last first."""

    # In PaddleOCR's names, the stage that joins: the last but one, the one before.
    folds: ClassVar = tuple((f"F_-{n}_base_block_1", f"F_-{n}_base_block_2") for n in (2, 3))

    def __init__(self, in_channels: int = 1, layers: int = 50) -> None:
        super().__init__()
        if layers not in DEPTHS:
            raise ValueError(
                f"ResNetFPN has no variant of {layers} layers; known: {', '.join(map(str, DEPTHS))}"
            )
        block = BottleneckBlock if layers >= 50 else BasicBlock
        self.conv = ConvBNLayer(in_channels, WIDTHS[0], 7, 2, "relu")
        channels = WIDTHS[0]
        self.stages: tuple[tuple[str, ...], ...] = ()
        for stage, (depth, width) in enumerate(zip(DEPTHS[layers], WIDTHS, strict=True)):
            names = []
            for index in range(depth):
                stride = STRIDES[stage] if index == 0 else 1
                names.append(
                    f"bottleneckBlock_{stage}_{index}"
                    if layers >= 50
                    else f"res{stage + 2}{chr(ord('a') + index)}"
                )
                self.add_module(names[-1], block(channels, width, stride, index == 0))
                channels = block.expansion * width
            self.stages += (tuple(names),)
        self.joints = ("F_-2_base_block", "F_-3_base_block")
        for joint in self.joints:
            half = channels // 2
            self.add_module(f"{joint}_0", nn.Conv2d(channels + half, half, 1))
            self.add_module(f"{joint}_1", nn.Conv2d(half, half, 3, padding=1))
            self.add_module(f"{joint}_2", BatchNormAct(half, "relu"))
            channels = half
        self.add_module(f"{self.joints[-1]}_3", nn.Conv2d(channels, OUT_CHANNELS, 1))
        self.out_channels = OUT_CHANNELS

    def forward(self, x: Tensor) -> Tensor:
        """`(N, in_channels, H, W)` to `(N, 512, H / 8, W / 8)`."""
        x = self.conv(x)
        maps = []
        for names in self.stages:
            for name in names:
                x = self.get_submodule(name)(x)
            maps.append(x)
        for joint, finer in zip(self.joints, (maps[2], maps[1]), strict=True):
            x = torch.cat([x, finer], 1)
            for step in range(3):
                x = self.get_submodule(f"{joint}_{step}")(x)
        return self.get_submodule(f"{self.joints[-1]}_3")(x)
