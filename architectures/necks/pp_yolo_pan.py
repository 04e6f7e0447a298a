"""PP-YOLOv2's neck: from coarse to fine and back, with blocks of two branches.

PP-YOLOv2, https://arxiv.org/abs/2104.10419; PaddleDetection: `ppdet/modeling/necks/yolo_fpn.py`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

WIDTH = 512  # of the blocks of the coarsest map; each finer map has half of it
POOLS = (5, 9, 13)


class ConvBNLayer(nn.Module):
    """Convolution that keeps the size at stride 1, BatchNorm and Mish."""

    folds: ClassVar = (("conv", "batch_norm"),)

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, stride: int = 1
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            in_channels, out_channels, kernel_size, stride, kernel_size // 2, bias=False
        )
        self.batch_norm = nn.BatchNorm2d(out_channels)
        self.act = nn.Mish()

    def forward(self, x: Tensor) -> Tensor:
        """`(N, in_channels, H, W)` to `(N, out_channels, H / stride, W / stride)`."""
        return self.act(self.batch_norm(self.conv(x)))


class SPP(nn.Module):
    """The map and its maxima in three windows, mixed by a pointwise layer.

    Spatial Pyramid Pooling, https://arxiv.org/abs/1406.4729.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = ConvBNLayer(channels * (1 + len(POOLS)), channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, channels, H, W)` to the same shape."""
        pooled = [F.max_pool2d(x, size, 1, size // 2) for size in POOLS]
        return self.conv(torch.cat([x, *pooled], 1))


class PPYOLODetBlockCSP(nn.Module):
    """Two pointwise branches, one of them through pairs of layers, joined and mixed."""

    def __init__(self, in_channels: int, width: int, pairs: int, spp: bool) -> None:
        super().__init__()
        self.conv1 = ConvBNLayer(in_channels, width, 1)
        self.conv2 = ConvBNLayer(in_channels, width, 1)
        self.conv3 = ConvBNLayer(2 * width, 2 * width, 1)
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        for number in range(pairs):
            pair = [ConvBNLayer(width, width, 1), ConvBNLayer(width, width, 3)]
            pooled = spp and number == 1  # in place of the pair's second layer
            layers[str(number)] = nn.Sequential(*pair[: 1 if pooled else 2])
            if pooled:
                layers["spp"] = SPP(width)
        self.conv_module = nn.Sequential(layers)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, in_channels, H, W)` to `(N, 2 * width, H, W)`."""
        return self.conv3(torch.cat([self.conv_module(self.conv1(x)), self.conv2(x)], 1))


class PPYOLOPAN(nn.Module):
    """Fuses maps from coarse to fine, then from fine to coarse.

    Args:
        in_channels: of the maps, from fine to coarse.
        conv_block_num: pairs of layers in each block; two or more with `spp`.
        spp: whether the first block pools in several windows.
    """

    def __init__(
        self, in_channels: Sequence[int], conv_block_num: int = 3, spp: bool = False
    ) -> None:
        super().__init__()
        if spp and conv_block_num < 2:
            raise ValueError("spp needs blocks of two pairs at least")
        widths = [WIDTH // 2**level for level in range(len(in_channels))]
        routed = [0, *widths]  # channels that come from the coarser map
        self.fpn = nn.ModuleList(
            PPYOLODetBlockCSP(channels + extra, width, conv_block_num, spp and not extra)
            for channels, extra, width in zip(in_channels[::-1], routed[:-1], widths, strict=True)
        )
        self.fpn_transition = nn.ModuleList(ConvBNLayer(2 * w, w, 1) for w in widths[:-1])
        self.pan = nn.ModuleList(
            PPYOLODetBlockCSP(2 * width + 2 * finer, width, conv_block_num, False)
            for width, finer in pairwise(widths)
        )
        self.pan_transition = nn.ModuleList(ConvBNLayer(2 * w, 2 * w, 3, 2) for w in widths[1:])
        self.out_channels = [2 * width for width in widths]

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Maps of `in_channels`, fine to coarse, to maps of `out_channels`, coarse to fine."""
        fused: list[Tensor] = []
        for block, x in zip(self.fpn, maps[::-1], strict=True):
            if fused:
                route = self.fpn_transition[len(fused) - 1](fused[-1])
                x = torch.cat([F.interpolate(route, scale_factor=2.0, mode="nearest"), x], 1)
            fused.append(block(x))
        results = fused[-1:]
        for block, transition, x in zip(
            self.pan[::-1], self.pan_transition[::-1], fused[-2::-1], strict=True
        ):
            results.insert(0, block(torch.cat([transition(results[0]), x], 1)))
        return results
