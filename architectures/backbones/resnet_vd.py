"""The two units of ResNet_vd and their numbers, shared by detection and recognition.

Bag of Tricks for Image Classification (ResNet-D), https://arxiv.org/abs/1812.01187;
PaddleOCR: `ppocr/modeling/backbones/det_resnet_vd.py` and `rec_resnet_vd.py`, which differ in the
strides only.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from architectures.layers import ConvBatchNorm

Stride = int | tuple[int, int]

# Units in each of the four stages.
DEPTHS: dict[int, tuple[int, int, int, int]] = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
    200: (3, 12, 48, 3),
}
WIDTHS = (64, 128, 256, 512)


def unit_of(layers: int) -> type[BasicBlock] | type[BottleneckBlock]:
    """The unit of the network with that many layers; ValueError names the known networks."""
    if layers not in DEPTHS:
        raise ValueError(f"ResNet has no {layers!r} layers; known: {', '.join(map(str, DEPTHS))}")
    return BottleneckBlock if layers >= 50 else BasicBlock


class Shortcut(ConvBatchNorm):
    """A 1x1 convolution to other channels; a mean, not a stride, makes the map smaller."""

    def __init__(self, in_channels: int, out_channels: int, stride: Stride) -> None:
        super().__init__(in_channels, out_channels, 1)
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """`(N, in_channels, H, W)` to `(N, out_channels, H / stride, W / stride)`."""
        if self.stride not in (1, (1, 1)):
            x = F.avg_pool2d(x, self.stride, self.stride, ceil_mode=True)
        return super().forward(x)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut, which has its own convolution in the first unit."""

    expansion = 1

    def __init__(self, in_channels: int, width: int, stride: Stride, first: bool) -> None:
        super().__init__()
        self.conv0 = ConvBatchNorm(in_channels, width, 3, stride, act="relu")
        self.conv1 = ConvBatchNorm(width, width, 3)
        self.short = Shortcut(in_channels, width, stride) if first else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """`(N, in_channels, H, W)` to `(N, width, H / stride, W / stride)`."""
        return F.relu(self.short(x) + self.conv1(self.conv0(x)))


class BottleneckBlock(nn.Module):
    """A 3x3 convolution between two 1x1, beside a shortcut as that of `BasicBlock`."""

    expansion = 4

    def __init__(self, in_channels: int, width: int, stride: Stride, first: bool) -> None:
        super().__init__()
        self.conv0 = ConvBatchNorm(in_channels, width, 1, act="relu")
        self.conv1 = ConvBatchNorm(width, width, 3, stride, act="relu")
        self.conv2 = ConvBatchNorm(width, 4 * width, 1)
        self.short = Shortcut(in_channels, 4 * width, stride) if first else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """`(N, in_channels, H, W)` to `(N, 4 * width, H / stride, W / stride)`."""
        return F.relu(self.short(x) + self.conv2(self.conv1(self.conv0(x))))
