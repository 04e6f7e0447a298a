"""The pyramid with large kernels: coarse maps added to fine ones, then fine ones to coarse ones.

PP-OCRv3, https://arxiv.org/abs/2206.03001; path aggregation, https://arxiv.org/abs/1803.01534;
PaddleOCR: `ppocr/modeling/necks/db_fpn.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from architectures.necks.db_fpn import MAP_FACTORS, add_down, join
from architectures.necks.intracl import IntraCLBlock


class DSConv(nn.Module):
    """A 9x9 convolution of each channel, four times the channels, then `out_channels`."""

    folds: ClassVar = (("conv1", "bn1"), ("conv2", "bn2"))

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        inner = 4 * in_channels
        self.conv1 = nn.Conv2d(
            in_channels, in_channels, 9, padding=4, groups=in_channels, bias=False
        )
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv2 = nn.Conv2d(in_channels, inner, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(inner)
        self.conv3 = nn.Conv2d(inner, out_channels, 1, bias=False)
        # PaddleOCR has no shortcut, not even a plain one, where the channels stay the same.
        shortcut = in_channels != out_channels
        self.conv_end = nn.Conv2d(in_channels, out_channels, 1, bias=False) if shortcut else None

    def forward(self, x: Tensor) -> Tensor:
        """`(N, in_channels, H, W)` to `(N, out_channels, H, W)`."""
        y = self.bn1(self.conv1(x))
        y = self.conv3(F.relu(self.bn2(self.conv2(y))))
        return y if self.conv_end is None else y + self.conv_end(x)


def plain(in_channels: int, out_channels: int) -> nn.Module:
    """A 9x9 convolution."""
    return nn.Conv2d(in_channels, out_channels, 9, padding=4, bias=False)


def merged(in_channels: int, out_channels: int) -> nn.Module:
    """A 9x9 convolution with a bias, which stems from a BatchNorm."""
    return nn.Conv2d(in_channels, out_channels, 9, padding=4)


class PathAggregation(nn.Module):
    """The pyramid around its large kernels: `large` makes one for these numbers of channels."""

    inplace = False
    separate = False
    map_factors = MAP_FACTORS

    def __init__(
        self,
        in_channels: Sequence[int],
        out_channels: int,
        intracl: bool,
        large: Callable[[int, int], nn.Module],
    ) -> None:
        super().__init__()
        self.out_channels = out_channels
        narrow = out_channels // 4
        self.ins_conv = nn.ModuleList(
            nn.Conv2d(channels, out_channels, 1, bias=False) for channels in in_channels
        )
        self.inp_conv = nn.ModuleList(large(out_channels, narrow) for _ in in_channels)
        self.pan_head_conv = nn.ModuleList(
            nn.Conv2d(narrow, narrow, 3, stride=2, padding=1, bias=False) for _ in in_channels[1:]
        )
        self.pan_lat_conv = nn.ModuleList(large(narrow, narrow) for _ in in_channels)
        self.incl1, self.incl2, self.incl3, self.incl4 = (
            IntraCLBlock(narrow, reduce_factor=2) if intracl else nn.Identity() for _ in range(4)
        )

    def forward(
        self, features: tuple[Tensor, Tensor, Tensor, Tensor]
    ) -> Tensor | tuple[Tensor, ...]:
        """Maps of 1/4, 1/8, 1/16 and 1/32 of the image to `(N, out_channels, H / 4, W / 4)`."""
        in2, in3, in4, in5 = (conv(c) for conv, c in zip(self.ins_conv, features, strict=True))
        summed = (*add_down(in2, in3, in4, in5, self.inplace), in5)
        finest, *coarser = (conv(m) for conv, m in zip(self.inp_conv, summed, strict=True))
        maps = [finest]
        for down, m in zip(self.pan_head_conv, coarser, strict=True):
            maps.append(m + down(maps[-1]))
        p2, p3, p4, p5 = (conv(m) for conv, m in zip(self.pan_lat_conv, maps, strict=True))
        p2, p3, p4, p5 = self.incl1(p2), self.incl2(p3), self.incl3(p4), self.incl4(p5)
        return join(p2, p3, p4, p5, self.separate)


class LKPAN(PathAggregation):
    """The pyramid of 9x9 convolutions, `large` plain ones or `lite` ones.

    PaddleX has RepLKPAN in a third mode, `merged`: each large kernel is one plain convolution.
    """

    MODES: ClassVar[dict[str, Callable[[int, int], nn.Module]]] = {
        "large": plain,
        "lite": DSConv,
        "merged": merged,
    }

    def __init__(
        self,
        in_channels: Sequence[int],
        out_channels: int,
        mode: str = "large",
        intracl: bool = False,
    ) -> None:
        if mode not in self.MODES:
            raise ValueError(f"LKPAN has no mode {mode!r}; known: {', '.join(self.MODES)}")
        super().__init__(in_channels, out_channels, intracl, self.MODES[mode])
