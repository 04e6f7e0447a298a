"""PP-LCNetV2 as the backbone of table networks: four maps, at 1/4 to 1/32 of the image.

PaddleOCR: `ppocr/modeling/backbones/det_pp_lcnet_v2.py`.
"""

from __future__ import annotations

from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from architectures.layers.conv import ConvBNAct, make_divisible


class Row(NamedTuple):
    """One stage; `channels` is its input width before scaling, the output has twice as many."""

    channels: int
    kernel: int
    depth: int
    split_pointwise: bool = False
    branches: bool = False
    se: bool = False
    shortcut: bool = False


# fmt: off
STAGES = (
    #   channels kernel depth split  branches se     shortcut
    Row(64,      3,     2),
    Row(128,     3,     2),
    Row(256,     5,     6,    True,  True,    True),
    Row(512,     5,     2,    False, True,    False, True),
)
# fmt: on
STEM = (32, 64)


class SqueezeExcite(nn.Module):
    """Weighs each channel by a sigmoid of two 1x1 convolutions over the channel means."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels // 4, 1)
        self.conv2 = nn.Conv2d(channels // 4, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, C, H, W)` to the same shape."""
        return x * self.conv2(F.relu(self.conv1(F.adaptive_avg_pool2d(x, 1)))).sigmoid()


class RepDepthwiseSeparable(nn.Module):
    """A depthwise layer, in some stages the sum of several kernel sizes, and a pointwise layer.

    PaddleOCR's exports keep the parallel kernels, so the deploy form does too.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int, row: Row) -> None:
        super().__init__()
        self.shortcut = row.shortcut and stride == 1 and in_channels == out_channels
        self.branches = row.branches

        def depthwise(kernel: int, act: str | None) -> ConvBNAct:
            return ConvBNAct(in_channels, in_channels, kernel, stride, in_channels, act)

        if row.branches:
            kernels = [k for k in range(row.kernel, 0, -2) if k > 1 or stride == 1]
            self.dw_conv_list = nn.ModuleList(depthwise(kernel, None) for kernel in kernels)
        else:
            self.dw_conv = depthwise(row.kernel, "relu")
        self.se = SqueezeExcite(in_channels) if row.se else nn.Identity()
        self.split_pointwise = row.split_pointwise
        if row.split_pointwise:
            self.pw_conv_1 = ConvBNAct(in_channels, out_channels // 2, 1, act="relu")
            self.pw_conv_2 = ConvBNAct(out_channels // 2, out_channels, 1, act="relu")
        else:
            self.pw_conv = ConvBNAct(in_channels, out_channels, 1, act="relu")

    def forward(self, x: Tensor) -> Tensor:
        """`(N, in_channels, H, W)` to `(N, out_channels, H / stride, W / stride)`."""
        y = self.se(self._depthwise(x))
        y = self.pw_conv_2(self.pw_conv_1(y)) if self.split_pointwise else self.pw_conv(y)
        return x + y if self.shortcut else y

    def _depthwise(self, x: Tensor) -> Tensor:
        if not self.branches:
            return self.dw_conv(x)
        first, *others = self.dw_conv_list
        y = first(x)
        for branch in others:
            y = y + branch(x)
        return F.relu(y)


class PPLCNetV2_base(nn.Module):  # noqa: N801, PaddleOCR's name
    """PP-LCNetV2 at its base size."""

    def __init__(self, in_channels: int = 3, scale: float = 1.0) -> None:
        super().__init__()
        first, second = (make_divisible(width * scale, 8) for width in STEM)
        self.stem = nn.Sequential(
            ConvBNAct(in_channels, first, 3, stride=2, act="relu"),
            RepDepthwiseSeparable(first, second, 1, Row(STEM[0], 3, 1)),
        )
        self.stages = nn.ModuleList()
        self.out_channels: list[int] = []
        for row in STAGES:
            width, wider = (make_divisible(n * row.channels * scale, 8) for n in (1, 2))
            self.stages.append(
                nn.Sequential(
                    RepDepthwiseSeparable(width, wider, 2, row),
                    *(RepDepthwiseSeparable(wider, wider, 1, row) for _ in range(1, row.depth)),
                )
            )
            self.out_channels.append(wider)

    def forward(self, x: Tensor) -> list[Tensor]:
        """`(N, 3, H, W)` to maps of `out_channels` at 1/4, 1/8, 1/16 and 1/32 of the size."""
        x = self.stem(x)
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps
