"""A network that finds the control points of a line of text, so that the line is made straight.

ASTER, https://ieeexplore.ieee.org/document/8395027; PaddleOCR: `ppocr/modeling/transforms/stn.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from architectures.transforms.tps_spatial_transformer import (
    TPSSpatialTransformer,
    control_points,
)

WIDTHS = (32, 64, 128, 256, 256, 256)
MARGIN = 0.01  # where the points are before any training
ACTIVATIONS = ("none", "sigmoid")


class Conv3x3Block(nn.Sequential):
    """A 3x3 convolution that keeps the size, BatchNorm, ReLU."""

    folds: ClassVar = (("0", "1"),)

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(
            nn.Conv2d(in_channels, out_channels, 3, padding=1),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(),
        )


class LinearBlock(nn.Sequential):
    """A linear layer, BatchNorm, ReLU."""

    folds: ClassVar = (("0", "1"),)

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(
            nn.Linear(in_features, out_features), nn.BatchNorm1d(out_features), nn.ReLU()
        )


class STN(nn.Module):
    """The control points of an image of 32 x 64, in fractions of its width and height.

    With `activation` `sigmoid` they stay within the image.
    """

    def __init__(self, in_channels: int, num_ctrlpoints: int, activation: str = "none") -> None:
        super().__init__()
        if activation not in ACTIVATIONS:
            raise ValueError(
                f"STN has no activation {activation!r}; known: {', '.join(ACTIVATIONS)}"
            )
        self.num_ctrlpoints = num_ctrlpoints
        self.activation = activation
        layers: list[nn.Module] = []
        for pair in pairwise((in_channels, *WIDTHS)):
            layers += [Conv3x3Block(*pair), nn.MaxPool2d(2)]
        self.stn_convnet = nn.Sequential(*layers[:-1])
        self.stn_fc1 = LinearBlock(2 * WIDTHS[-1], 512)
        self.stn_fc2 = nn.Linear(512, 2 * num_ctrlpoints)
        start = control_points(num_ctrlpoints, (MARGIN, MARGIN)).flatten()
        if activation == "sigmoid":
            start = start.logit()
        self.stn_fc2.bias = nn.Parameter(start.to(self.stn_fc2.weight.dtype))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """`(N, in_channels, 32, 64)` to features `(N, 512)` and `(N, num_ctrlpoints, 2)`."""
        features = self.stn_fc1(self.stn_convnet(x).flatten(1))
        points = self.stn_fc2(0.1 * features)
        if self.activation == "sigmoid":
            points = points.sigmoid()
        return features, points.unflatten(1, (self.num_ctrlpoints, 2))


class STN_ON(nn.Module):  # noqa: N801, PaddleOCR's name
    """Finds the points in the image at `tps_inputsize`, straightens it into `tps_outputsize`."""

    def __init__(
        self,
        in_channels: int,
        tps_inputsize: Sequence[int],
        tps_outputsize: Sequence[int],
        num_control_points: int,
        tps_margins: Sequence[float],
        stn_activation: str,
    ) -> None:
        super().__init__()
        height, width = tps_outputsize
        side, top = tps_margins
        self.tps_inputsize = tuple(tps_inputsize)
        self.tps = TPSSpatialTransformer((height, width), num_control_points, (side, top))
        self.stn_head = STN(in_channels, num_control_points, stn_activation)
        self.out_channels = in_channels

    def forward(self, image: Tensor) -> Tensor:
        """`(N, in_channels, H, W)` to `(N, in_channels, *tps_outputsize)`."""
        size = list(self.tps_inputsize)
        small = F.interpolate(image, size, mode="bilinear", align_corners=True)
        _, points = self.stn_head(small)
        return self.tps(image, points)
