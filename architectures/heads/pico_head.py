"""Heads of PicoDet: class scores and distributions of the distances to the sides of a box.

PP-PicoDet, https://arxiv.org/abs/2111.00902; Generalized Focal Loss,
https://arxiv.org/abs/2006.04388; PaddleDetection: `ppdet/modeling/heads/pico_head.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from architectures.interfaces import OutputPart
from architectures.necks.csp_pan import ACTIVATIONS, DPModule

EPS = 1e-9


class ConvNormLayer(nn.Module):
    """Convolution that keeps the size, BatchNorm, and an activation if named."""

    folds: ClassVar = (("conv", "norm"),)
    activates: ClassVar = (("conv", "act"),)
    chain: ClassVar = ("conv", "norm", "act")

    def __init__(
        self, channels: int, kernel_size: int, groups: int = 1, act: str | None = None
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            channels, channels, kernel_size, padding=kernel_size // 2, groups=groups, bias=False
        )
        self.norm = nn.BatchNorm2d(channels)
        self.act = ACTIVATIONS[act]() if act else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """`(N, channels, H, W)` to the same shape."""
        return self.act(self.norm(self.conv(x)))


class PicoSE(nn.Module):
    """Weighs channels by a sigmoid of their means, then mixes them."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc = nn.Conv2d(channels, channels, 1)
        self.conv = ConvNormLayer(channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, channels, H, W)` to the same shape."""
        return self.conv(x * self.fc(F.adaptive_avg_pool2d(x, 1)).sigmoid())


class PicoFeat(nn.Module):
    """Depthwise and pointwise layers for each level, shared by classes and distances."""

    def __init__(self, channels: int, levels: int, num_convs: int, act: str, use_se: bool) -> None:
        super().__init__()
        for level in range(levels):
            depthwise = (ConvNormLayer(channels, 5, channels, act) for _ in range(num_convs))
            self.add_module(f"cls_conv_dw{level}", nn.ModuleList(depthwise))
            pointwise = (ConvNormLayer(channels, 1, act=act) for _ in range(num_convs))
            self.add_module(f"cls_conv_pw{level}", nn.ModuleList(pointwise))
        self.se = nn.ModuleList(PicoSE(channels) for _ in range(levels if use_se else 0))
        self.act = ACTIVATIONS[act]()

    def forward(self, x: Tensor, level: int) -> tuple[Tensor, Tensor]:
        """`(N, channels, H, W)` to the features of the convolutions, and those after `PicoSE`."""
        layers = (getattr(self, f"cls_conv_{kind}{level}") for kind in ("dw", "pw"))
        for depthwise, pointwise in zip(*layers, strict=True):
            x = pointwise(depthwise(x))
        return x, self.act(self.se[level](x)) if len(self.se) else x


class PicoHead(OutputPart):
    """Version 1: one convolution gives the class logits and the distances of a level.

    Args:
        in_channels: of the maps of the neck, all equal.
        num_classes: number of classes.
        num_convs: depthwise and pointwise layers of each level.
        strides: pixels of the image per cell of each map.
        reg_max: the largest distance in cells; there are `reg_max + 1` bins per side.
        cell_offset: of a cell's centre, in cells.
        act: activation of the layers.
    """

    use_se: ClassVar = False

    def __init__(
        self,
        in_channels: Sequence[int],
        num_classes: int,
        num_convs: int = 4,
        strides: Sequence[int] = (8, 16, 32, 64),
        reg_max: int = 7,
        cell_offset: float = 0.5,
        act: str = "hard_swish",
    ) -> None:
        super().__init__()
        if len(in_channels) != len(strides) or len(set(in_channels)) != 1:
            raise ValueError(
                f"{type(self).__name__} takes {len(strides)} maps of equal channels, not of "
                f"{list(in_channels)}"
            )
        self.num_classes, self.strides = num_classes, tuple(strides)
        self.reg_max, self.cell_offset = reg_max, cell_offset
        self.conv_feat = PicoFeat(in_channels[0], len(strides), num_convs, act, self.use_se)
        levels = range(len(strides))
        # The order of an export without post-processing.
        self.results = (*(f"scores.{n}" for n in levels), *(f"distances.{n}" for n in levels))
        self._make_layers(in_channels[0], act)

    def _make_layers(self, channels: int, _: str) -> None:
        outputs = self.num_classes + 4 * (self.reg_max + 1)
        for level in range(len(self.strides)):
            self.add_module(f"head_cls{level}", nn.Conv2d(channels, outputs, 1))
            self.logits_layers += (f"head_cls{level}",)

    def forward(self, maps: Sequence[Tensor]) -> dict[str, Tensor]:
        """Score and measure every cell.

        Args:
            maps: one per stride, `(N, C, H / stride, W / stride)`.

        Returns:
            For each level K `scores.K` `(N, cells, num_classes)`, 0 to 1, and `distances.K`
            `(N, cells, 4 * (reg_max + 1))`, logits of the bins of left, top, right and bottom.
        """
        results = {}
        for level, x in enumerate(maps):
            scores, distances = self._level(x, level)
            # Maps in channels-last order need not be copied in this way.
            results[f"scores.{level}"] = scores.permute(0, 2, 3, 1).flatten(1, 2)
            results[f"distances.{level}"] = distances.permute(0, 2, 3, 1).flatten(1, 2)
        return results

    def _level(self, x: Tensor, level: int) -> tuple[Tensor, Tensor]:
        both = getattr(self, f"head_cls{level}")(self.conv_feat(x, level)[0])
        scores, distances = both.split([self.num_classes, 4 * (self.reg_max + 1)], 1)
        return scores.sigmoid(), distances


class PicoHeadV2(PicoHead):
    """Version 2: separate convolutions, and scores weighed by an alignment map."""

    use_se = True

    def _make_layers(self, channels: int, act: str) -> None:
        levels = range(len(self.strides))
        bins = 4 * (self.reg_max + 1)
        self.head_cls_list = nn.ModuleList(nn.Conv2d(channels, self.num_classes, 1) for _ in levels)
        self.head_reg_list = nn.ModuleList(nn.Conv2d(channels, bins, 1) for _ in levels)
        self.cls_align = nn.ModuleList(
            DPModule(channels, 1, 5, 1, act, act_at_end=False) for _ in levels
        )
        convolutions = ("head_cls_list", "head_reg_list")
        self.logits_layers = tuple(f"{name}.{n}" for name in convolutions for n in levels)

    def _level(self, x: Tensor, level: int) -> tuple[Tensor, Tensor]:
        features, weighed = self.conv_feat(x, level)
        classes = self.head_cls_list[level](weighed).sigmoid()
        aligned = self.cls_align[level](features).sigmoid()
        return (classes * aligned + EPS).sqrt(), self.head_reg_list[level](weighed)


def decode_boxes(
    distances: Sequence[Tensor],
    sizes: Sequence[tuple[int, int]],
    strides: Sequence[int],
    cell_offset: float = 0.5,
) -> Tensor:
    """Turn the distances of all levels into corners.

    Args:
        distances: one tensor per level, `(N, cells, 4 * bins)` logits.
        sizes: height and width of each level's map.
        strides: pixels per cell of each level.
        cell_offset: of a cell's centre, in cells.

    Returns:
        `(N, all cells, 4)` corners x0, y0, x1, y1 in pixels of the input.
    """
    boxes = []
    for logits, (height, width), stride in zip(distances, sizes, strides, strict=True):
        shares = logits.unflatten(2, (4, -1)).softmax(3)
        bins = torch.arange(shares.shape[3], dtype=logits.dtype, device=logits.device)
        left, top, right, bottom = (shares @ bins).unbind(2)
        y, x = torch.meshgrid(
            torch.arange(height, dtype=logits.dtype, device=logits.device) + cell_offset,
            torch.arange(width, dtype=logits.dtype, device=logits.device) + cell_offset,
            indexing="ij",
        )
        x, y = x.flatten(), y.flatten()
        boxes.append(torch.stack([x - left, y - top, x + right, y + bottom], 2) * stride)
    return torch.cat(boxes, 1)
