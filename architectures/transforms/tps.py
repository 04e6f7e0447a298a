"""A small network that finds the control points of a line of text, and the bending of the image.

RARE, https://arxiv.org/abs/1603.03915; PaddleOCR: `ppocr/modeling/transforms/tps.py`.
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from architectures.layers.conv import ConvBNLayer
from architectures.transforms.tps_spatial_transformer import ThinPlate, control_points

# Channels of the four convolutions, features of the first linear layer.
SIZES = {"large": ((64, 128, 256, 512), 256), "small": ((16, 32, 64, 128), 64)}
EPS = 1e-6


class LocalizationNetwork(nn.Module):
    """The control points of an image, in -1..1 from edge to edge."""

    def __init__(self, in_channels: int, num_fiducial: int, model_name: str) -> None:
        super().__init__()
        if model_name not in SIZES:
            raise ValueError(f"TPS has no model_name {model_name!r}; known: {', '.join(SIZES)}")
        widths, features = SIZES[model_name]
        self.num_fiducial = num_fiducial
        self.depth = len(widths)
        for index, pair in enumerate(pairwise((in_channels, *widths))):
            self.add_module(f"loc_conv{index}", ConvBNLayer(*pair, 3, act="relu"))
        self.fc1 = nn.Linear(widths[-1], features)
        self.fc2 = nn.Linear(features, 2 * num_fiducial)
        start = 2 * control_points(num_fiducial).flatten() - 1
        self.fc2.bias = nn.Parameter(start.to(self.fc2.weight.dtype))

    def forward(self, x: Tensor) -> Tensor:
        """`(N, in_channels, H, W)`, sides of 8 at least, to `(N, num_fiducial, 2)`."""
        for index in range(self.depth):
            x = self.get_submodule(f"loc_conv{index}")(x)
            x = F.max_pool2d(x, 2) if index < self.depth - 1 else F.adaptive_avg_pool2d(x, 1)
        points = self.fc2(F.relu(self.fc1(x.flatten(1))))
        return points.unflatten(1, (self.num_fiducial, 2))


class GridGenerator(nn.Module):
    """Where each pixel of the straightened image comes from."""

    def __init__(self, in_channels: int, num_fiducial: int) -> None:
        super().__init__()
        self.num_fiducial = num_fiducial
        self.fc = nn.Linear(in_channels, 6)
        self.plate = ThinPlate(EPS)

    def forward(self, points: Tensor, height: int, width: int) -> Tensor:
        """`(N, num_fiducial, 2)` to `(N, height, width, 2)`, in -1..1 from edge to edge."""
        control = 2 * control_points(self.num_fiducial, device=points.device) - 1
        y, x = (
            torch.arange(1 - n, n, 2, dtype=control.dtype, device=control.device) / n
            for n in (height, width)
        )
        places = torch.cartesian_prod(y, x).flip(1)
        sums = self.fc(points.flatten(1)).unflatten(1, (3, 2))
        grid = self.plate(torch.cat([points, sums], 1), control, places)
        return grid.unflatten(1, (height, width))


class TPS(nn.Module):
    """Rectifies a text line by a thin-plate spline; same size, zeros outside the image."""

    def __init__(self, in_channels: int, num_fiducial: int, model_name: str) -> None:
        super().__init__()
        self.loc_net = LocalizationNetwork(in_channels, num_fiducial, model_name)
        self.grid_generator = GridGenerator(2 * num_fiducial, num_fiducial)
        self.out_channels = in_channels

    def forward(self, image: Tensor) -> Tensor:
        """`(N, in_channels, H, W)` to the same shape."""
        grid = self.grid_generator(self.loc_net(image), *image.shape[2:])
        return F.grid_sample(image, grid, align_corners=True)
