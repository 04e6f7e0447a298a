"""UVDoc: flattens a photographed page by a grid of the places where its points lie.

Neural Document Unwarping, https://arxiv.org/abs/2302.02887; PaddleX:
`paddlex/inference/models/image_unwarping/modeling/uvdoc.py`.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from architectures.interfaces import OutputPart

WORKING_SIZE = (712, 488)  # height and width at which the grid is predicted
KERNEL = 5
WIDTH = 128
STEM = (32, 32)
# Stages: width of the map, number of units, stride of the first.
STAGES = ((32, 3, 1), (64, 4, 2), (128, 6, 2))
# Parallel bridges: the dilations of their convolutions.
BRIDGES = ((1,), (2,), (5,), (8, 3, 2), (12, 7, 4), (18, 12, 6))
INNER_DILATION = 3  # of all units but the first of a stage


class ConvLayer(nn.Module):
    """Convolution, BatchNorm, and ReLU, PReLU or no activation."""

    folds: ClassVar = (("convolution", "normalization"),)

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        stride: int = 1,
        dilation: int = 1,
        bias: bool = False,
        padding_mode: Literal["zeros", "reflect"] = "zeros",
        activation: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            dilation * (kernel_size // 2),
            dilation,
            bias=bias,
            padding_mode=padding_mode,
        )
        self.normalization = nn.BatchNorm2d(out_channels)
        self.activation = activation or nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """`(N, in_channels, H, W)` to `(N, out_channels, H / stride, W / stride)`."""
        return self.activation(self.normalization(self.convolution(x)))


class ResidualUnit(nn.Module):
    """Two dilated 5x5 convolutions with a shortcut, a convolution where the map shrinks."""

    def __init__(self, in_channels: int, channels: int, stride: int, dilation: int) -> None:
        super().__init__()
        self.conv_down: nn.Module = nn.Identity()
        if in_channels != channels:
            self.conv_down = ConvLayer(in_channels, channels, KERNEL, stride=stride, bias=True)
        self.conv_start = ConvLayer(
            in_channels,
            channels,
            KERNEL,
            stride=stride,
            dilation=dilation,
            bias=True,
            activation=nn.ReLU(),
        )
        self.conv_final = ConvLayer(channels, channels, KERNEL, dilation=dilation, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, in_channels, H, W)` to `(N, channels, H / stride, W / stride)`."""
        return F.relu(self.conv_final(self.conv_start(x)) + self.conv_down(x))


class Stage(nn.Module):
    """Residual units of one width."""

    def __init__(self, in_channels: int, channels: int, count: int, stride: int) -> None:
        super().__init__()
        first = ResidualUnit(in_channels, channels, stride, 1)
        others = (ResidualUnit(channels, channels, 1, INNER_DILATION) for _ in range(1, count))
        self.layers = nn.Sequential(first, *others)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, in_channels, H, W)` to `(N, channels, H / stride, W / stride)`."""
        return self.layers(x)


class ResNet(nn.Module):
    """A stem that halves the image twice, and the stages."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        widths = (in_channels, *STEM)
        self.resnet_head = nn.Sequential(
            *(
                ConvLayer(before, after, KERNEL, stride=2, activation=nn.ReLU())
                for before, after in zip(widths[:-1], STEM, strict=True)
            )
        )
        stages, channels = [], STEM[-1]
        for width, count, stride in STAGES:
            stages.append(Stage(channels, width, count, stride))
            channels = width
        self.resnet_down = nn.Sequential(*stages)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, 3, H, W)` to `(N, 128, H / 16, W / 16)`."""
        return self.resnet_down(self.resnet_head(x))


class BridgeBlock(nn.Module):
    """3x3 convolutions of growing reach."""

    def __init__(self, dilations: tuple[int, ...]) -> None:
        super().__init__()
        self.blocks = nn.Sequential(
            *(ConvLayer(WIDTH, WIDTH, 3, dilation=d, activation=nn.ReLU()) for d in dilations)
        )

    def forward(self, x: Tensor) -> Tensor:
        """`(N, 128, H, W)` to the same shape."""
        return self.blocks(x)


class Bridge(nn.Module):
    """Parallel bridges over one map."""

    def __init__(self) -> None:
        super().__init__()
        self.bridge = nn.ModuleList(BridgeBlock(dilations) for dilations in BRIDGES)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, 128, H, W)` to `(N, 6 * 128, H, W)`."""
        return torch.cat([block(x) for block in self.bridge], 1)


class Backbone(nn.Module):
    """ResNet and bridges."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.resnet = ResNet(in_channels)
        self.bridge = Bridge()

    def forward(self, x: Tensor) -> Tensor:
        """`(N, 3, H, W)` to `(N, 768, H / 16, W / 16)`."""
        return self.bridge(self.resnet(x))


class PointPositions(nn.Module):
    """The coordinates of the grid, by convolutions that mirror the map at its border."""

    def __init__(self) -> None:
        super().__init__()
        self.conv_down = ConvLayer(WIDTH, 32, KERNEL, padding_mode="reflect", activation=nn.PReLU())
        self.conv_up = nn.Conv2d(32, 2, KERNEL, padding=KERNEL // 2, padding_mode="reflect")

    def forward(self, x: Tensor) -> Tensor:
        """`(N, 128, H, W)` to `(N, 2, H, W)`."""
        return self.conv_up(self.conv_down(x))


class Head(nn.Module):
    """Joins the bridges and predicts the grid."""

    def __init__(self) -> None:
        super().__init__()
        self.bridge_connector = ConvLayer(len(BRIDGES) * WIDTH, WIDTH, 1, activation=nn.ReLU())
        self.out_point_positions2D = PointPositions()

    def forward(self, x: Tensor) -> Tensor:
        """`(N, 768, H, W)` to `(N, 2, H, W)`."""
        return self.out_point_positions2D(self.bridge_connector(x))


class UVDoc(OutputPart):
    """The network and the sampling of the page."""

    logits_layers = ("head.out_point_positions2D.conv_up",)
    sr_output = "output"

    def __init__(self, in_channels: int = 3) -> None:
        super().__init__()
        self.out_channels = in_channels
        self.backbone = Backbone(in_channels)
        self.head = Head()

    def forward(self, x: Tensor) -> Tensor:
        """Flatten pages.

        Args:
            x: `(N, 3, H, W) float32`, blue first, 0 to 1.

        Returns:
            `(N, 3, H, W)`, the flat pages; 0 where a page lies outside of its image.
        """
        return unwarp(x, self.grid(x))

    def grid(self, x: Tensor) -> Tensor:
        """Return where points of the flat page lie, x and y from -1 to 1: `(N, 2, 45, 31)`."""
        small = F.interpolate(x, WORKING_SIZE, mode="bilinear", align_corners=True)
        return self.head(self.backbone(small))


def unwarp(image: Tensor, grid: Tensor) -> Tensor:
    """Sample an image at the points of a grid that is enlarged to the image's size.

    Args:
        image: `(N, C, H, W)`.
        grid: x and y from -1 to 1, the centres of the outermost pixels, `(N, 2, h, w)`.

    Returns:
        `(N, C, H, W)`.
    """
    size = (image.shape[2], image.shape[3])
    points = F.interpolate(grid, size, mode="bilinear", align_corners=True)
    return F.grid_sample(image, points.permute(0, 2, 3, 1), align_corners=True)
