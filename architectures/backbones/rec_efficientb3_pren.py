"""EfficientNet-B3 as PREN has it: three maps, each half as large as the one before.

EfficientNet, https://arxiv.org/abs/1905.11946; Primitive Representation Learning for Scene Text
Recognition, https://arxiv.org/abs/2105.04286;
PaddleOCR: `ppocr/modeling/backbones/rec_efficientb3_pren.py`.
"""

from __future__ import annotations

import math
from typing import ClassVar, NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from architectures.layers.conv import make_divisible

WIDTH, DEPTH = 1.2, 1.4  # B3 compared with B0


class Stage(NamedTuple):
    """Blocks that give one size and one number of channels, in B0's numbers."""

    blocks: int
    kernel_size: int
    stride: int
    expansion: int
    out_channels: int


STAGES = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
    Stage(1, 3, 1, 6, 320),
)
# Counted from 0 through all stages: blocks whose maps the neck gets. Its channel counts are those
# of the blocks before them, which have as many.
RESULTS = (7, 17, 25)


def wider(channels: int) -> int:
    """B3's number of channels for B0's."""
    return make_divisible(channels * WIDTH, 8)


class SameConv2d(nn.Conv2d):
    """Paddle's `padding="same"`: with a stride, an odd row or column more is below and right."""

    def forward(self, input: Tensor) -> Tensor:
        """`(N, C, H, W)` to `(N, out_channels, ceil(H / stride), ceil(W / stride))`."""
        edges: list[int] = []
        for size, kernel, stride in zip(
            input.shape[2:], self.kernel_size, self.stride, strict=True
        ):
            missing = max(kernel - stride + -size % stride, 0)
            edges = [missing // 2, missing - missing // 2, *edges]
        return super().forward(F.pad(input, edges))


class MbConvBlock(nn.Module):
    """A depthwise convolution of a widened map, squeeze and excitation, and a narrow result."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, stride: int, expansion: int
    ) -> None:
        super().__init__()
        width, squeezed = in_channels * expansion, max(1, in_channels // 4)
        self.adds = stride == 1 and in_channels == out_channels
        self.expands = expansion != 1
        if self.expands:
            self._expand_conv = nn.Conv2d(in_channels, width, 1, bias=False)
            self._bn0 = nn.BatchNorm2d(width)
        self._depthwise_conv = SameConv2d(
            width, width, kernel_size, stride, groups=width, bias=False
        )
        self._bn1 = nn.BatchNorm2d(width)
        self._se_reduce = nn.Conv2d(width, squeezed, 1)
        self._se_expand = nn.Conv2d(squeezed, width, 1)
        self._project_conv = nn.Conv2d(width, out_channels, 1, bias=False)
        self._bn2 = nn.BatchNorm2d(out_channels)

    @property
    def folds(self) -> tuple[tuple[str, str], ...]:
        """Foldable pairs of convolution and normalisation; blocks without expansion lack one."""
        pairs = (("_depthwise_conv", "_bn1"), ("_project_conv", "_bn2"))
        return (("_expand_conv", "_bn0"), *pairs) if self.expands else pairs

    def forward(self, x: Tensor) -> Tensor:
        """`(N, in_channels, H, W)` to `(N, out_channels, H / stride, W / stride)`."""
        y = F.silu(self._bn0(self._expand_conv(x))) if self.expands else x
        y = F.silu(self._bn1(self._depthwise_conv(y)))
        gate = self._se_expand(F.silu(self._se_reduce(F.adaptive_avg_pool2d(y, 1))))
        y = self._bn2(self._project_conv(y * gate.sigmoid()))
        return x + y if self.adds else y


class EfficientNetb3_PREN(nn.Module):  # noqa: N801, PaddleOCR's name
    """A convolution and seven stages of blocks."""

    folds: ClassVar = (("_conv_stem", "_bn0"),)

    def __init__(self, in_channels: int = 3) -> None:
        super().__init__()
        channels = wider(32)
        self._conv_stem = SameConv2d(in_channels, channels, 3, 2, bias=False)
        self._bn0 = nn.BatchNorm2d(channels)
        self.block_names: list[str] = []
        widths: list[int] = []
        for number, stage in enumerate(STAGES):
            for place in range(math.ceil(stage.blocks * DEPTH)):
                stride, out_channels = 1 if place else stage.stride, wider(stage.out_channels)
                block = MbConvBlock(
                    channels, out_channels, stage.kernel_size, stride, stage.expansion
                )
                self.block_names.append(f"{number}-{place}")
                self.add_module(self.block_names[-1], block)
                channels = out_channels
                widths.append(channels)
        self.out_channels = [widths[index - 1] for index in RESULTS]

    def forward(self, x: Tensor) -> list[Tensor]:
        """`(N, in_channels, H, W)` to maps of an eighth, a sixteenth and a thirty-second of it."""
        x = F.silu(self._bn0(self._conv_stem(x)))
        maps = []
        for index, name in enumerate(self.block_names):
            x = self.get_submodule(name)(x)
            if index in RESULTS:
                maps.append(x)
        return maps
