"""Thin-plate spline warping: control points of the image move to their target positions.

Principal Warps: Thin-Plate Splines, https://ieeexplore.ieee.org/document/24792;
PaddleOCR: `ppocr/modeling/transforms/tps_spatial_transformer.py`, and the `GridGenerator` of
`tps.py`, which does the same in other words.
"""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def control_points(
    count: int, margins: tuple[float, float] = (0.0, 0.0), device: torch.device | None = None
) -> Tensor:
    """`(count, 2) float64`, x and y in 0..1: half of them along the top, half along the bottom."""
    (side, top), half = margins, count // 2
    x = torch.linspace(side, 1 - side, half, dtype=torch.float64, device=device)
    rows = [torch.stack([x, torch.full_like(x, y)], 1) for y in (top, 1 - top)]
    return torch.cat(rows)


def _bending(a: Tensor, b: Tensor, eps: float = 0.0) -> Tensor:
    """`r ** 2 * log(r)` of the distances, which is 0 where the distance is."""
    distance = torch.linalg.vector_norm(a.unsqueeze(1) - b, dim=2)
    return torch.special.xlogy(distance**2, distance + eps)


class ThinPlate(nn.Module):
    """A plate of which some points are held: where it lies at other places.

    `eps` is added to the distances from those whose logarithm is taken.
    """

    # The bending coefficients are large and cancel out, so single precision results differ by this
    # between linear algebra libraries.
    rounding: ClassVar = 2e-5

    def __init__(self, eps: float = 0.0) -> None:
        super().__init__()
        self.eps = eps

    def forward(self, held: Tensor, control: Tensor, places: Tensor) -> Tensor:
        """`held: (N, K + 3, 2)` to `(N, P, 2)`, where it lies at the `places: (P, 2) float64`.

        The first K are where it is held at the points `control: (K, 2) float64`; then come the sums
        of the bending forces weighed by x, by y and by nothing, zeros if the plate is free.
        """
        ones = torch.ones_like(control[:, :1])
        bent = torch.cat([ones, control, _bending(control, control)], 1)
        sums = torch.cat([control.new_zeros(3, 3), torch.cat([control, ones], 1).T], 1)
        forces = torch.linalg.inv(torch.cat([bent, sums])).to(held.dtype) @ held
        bending = _bending(places, control, self.eps)
        seen = torch.cat([torch.ones_like(places[:, :1]), places, bending], 1)
        # Two products as in PaddleOCR: their joint matrix would be nearer the truth than it is.
        return seen.to(held.dtype) @ forces


class TPSSpatialTransformer(nn.Module):
    """Takes an image from where its control points are; beyond the image it repeats the margin."""

    def __init__(
        self,
        output_image_size: tuple[int, int],
        num_control_points: int,
        margins: tuple[float, float],
    ) -> None:
        super().__init__()
        self.output_image_size = output_image_size
        self.num_control_points = num_control_points
        self.margins = margins
        self.plate = ThinPlate()

    def forward(self, image: Tensor, points: Tensor) -> Tensor:
        """`(N, C, H, W)` and `(N, num_control_points, 2)` to `(N, C, *output_image_size)`."""
        height, width = self.output_image_size
        control = control_points(self.num_control_points, self.margins, image.device)
        y, x = (
            torch.linspace(0, 1, n, dtype=control.dtype, device=control.device)
            for n in (height, width)
        )
        places = torch.cartesian_prod(y, x).flip(1)
        free = F.pad(points, (0, 0, 0, 3))
        grid = self.plate(free, control, places).clamp(0, 1).unflatten(1, (height, width))
        return F.grid_sample(image, 2 * grid - 1, align_corners=True)
