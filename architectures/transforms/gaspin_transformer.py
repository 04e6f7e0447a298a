"""Makes a line of text straight, and its colours plain: dark or light from where they came.

SPIN: Structure-Preserving Inner Offset Network for Scene Text Recognition,
https://arxiv.org/abs/2005.13117; PaddleOCR: `ppocr/modeling/transforms/gaspin_transformer.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import log
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from architectures.transforms.tps import GridGenerator
from architectures.transforms.tps_spatial_transformer import control_points

POINTS = 20  # control points of the bending


def exponents(pairs: int) -> list[float]:
    """So many pairs of powers, each the inverse of the other, and 1; two decimals as published."""
    found = []
    for index in range(1, pairs + 1):
        share = 0.5 / (pairs + 1) * index
        power = round(log(1 - share) / log(share), 2)
        found += [power, round(1 / power, 2)]
    return [*found, 1.0]


class SP_TransformerNetwork(nn.Module):  # noqa: N801, PaddleOCR's name
    """A weighted sum of powers of each pixel, normalised over the image."""

    def __init__(self, channels: int, default_type: int) -> None:
        super().__init__()
        self.powers = exponents(default_type)
        self.bn = nn.InstanceNorm2d(channels, affine=True)

    def forward(self, image: Tensor, weights: Tensor) -> Tensor:
        """`image: (N, C, H, W)` in 0..1, `weights: (N, powers)`, to the same shape in -1..1."""
        powers = torch.stack([image**power for power in self.powers], 1)
        total = (powers * weights[..., None, None, None]).sum(1)
        return self.bn(total).sigmoid() * 2 - 1


class Convolutions(nn.Sequential):
    """Convolutions that keep the size, each with BatchNorm and ReLU, and a pooling between two."""

    folds: ClassVar[tuple[tuple[str, str], ...]] = (("0", "1"), ("4", "5"), ("8", "9"))

    def __init__(self, widths: Sequence[int], *behind: nn.Module) -> None:
        layers: list[nn.Module] = []
        for before, width in pairwise(widths):
            conv = nn.Conv2d(before, width, 3, padding=1, bias=False)
            layers += [conv, nn.BatchNorm2d(width), nn.ReLU(), nn.MaxPool2d(2)]
        super().__init__(*layers[:-1], *behind)


class Structure(Convolutions):
    """Three convolutions, the mean of the map, and a linear layer with BatchNorm and ReLU."""

    folds: ClassVar = (*Convolutions.folds, ("13", "14"))

    def __init__(self, widths: Sequence[int], features: int) -> None:
        super().__init__(
            widths,
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(1),
            nn.Linear(widths[-1], features),
            nn.BatchNorm1d(features),
            nn.ReLU(),
        )


class Offsets(nn.Sequential):
    """A convolution, BatchNorm, ReLU."""

    folds: ClassVar = (("0", "1"),)

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(
            nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(),
        )


class GA_SPIN_Transformer(nn.Module):  # noqa: N801, PaddleOCR's name
    """Colours by powers, with `offsets` mixed with a small map before; with `stn` also bent.

    `default_type` is the number of pairs of powers. Images are of the size `I_r_size`.
    """

    def __init__(
        self,
        in_channels: int = 1,
        I_r_size: Sequence[int] = (32, 100),  # noqa: N803, PaddleOCR's name
        offsets: bool = False,
        default_type: int = 6,
        stn: bool = True,
    ) -> None:
        super().__init__()
        self.out_channels = in_channels
        self.size = (I_r_size[0], I_r_size[1])
        self.offsets = offsets
        self.stn = stn
        self.sp_net = SP_TransformerNetwork(in_channels, default_type)
        self.spt_convnet = Convolutions((in_channels, 32, 64, 128), nn.MaxPool2d(2))
        self.stucture_fc1 = Structure((128, 256, 256, 512), 256)
        start = [torch.tensor([0.0] * (2 * default_type) + [5.0] + [-5.0] * offsets)]
        if stn:
            start.append(2 * control_points(POINTS).flatten() - 1)
            self.GridGenerator = GridGenerator(2 * POINTS, POINTS)
        self.parts = [len(self.sp_net.powers), int(offsets), 2 * POINTS * stn]
        self.stucture_fc2 = nn.Linear(256, sum(self.parts))
        self.stucture_fc2.bias = nn.Parameter(torch.cat(start).to(self.stucture_fc2.weight.dtype))
        if offsets:
            self.offset_fc1 = Offsets(128, 16)
            self.offset_fc2 = nn.Conv2d(16, in_channels, 3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        """`(N, in_channels, *I_r_size)` in -1..1 to the same shape."""
        features = self.spt_convnet(image)
        weights, share, points = self.stucture_fc2(self.stucture_fc1(features)).split(self.parts, 1)
        colours = (image + 1) * 0.5
        if self.offsets:
            small = F.max_pool2d(self.offset_fc2(self.offset_fc1(features)), 2).sigmoid()
            added = F.interpolate(small, self.size, mode="bilinear")
            share = share.sigmoid()[..., None, None]
            colours = colours * (1 - share) + added * share
        result = self.sp_net(colours, weights)
        if self.stn:
            grid = self.GridGenerator(points.unflatten(1, (POINTS, 2)), *self.size)
            result = F.grid_sample(result, grid, padding_mode="border", align_corners=True)
        return result
