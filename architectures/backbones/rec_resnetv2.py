"""ResNetV2: the convolutions before LaTeX-OCR's transformer, their weights standardised.

Big Transfer, https://arxiv.org/abs/1912.11370; weight standardisation,
https://arxiv.org/abs/1903.10520; PaddleOCR: `ppocr/modeling/backbones/rec_resnetv2.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

GROUPS = 32
STEM = 64
CHANNELS = (256, 512, 1024)


def pad_same(x: Tensor, kernel_size: int, stride: int, value: float = 0.0) -> Tensor:
    """As many values around `x (N, C, H, W)` as its size over `stride`, rounded up, takes.

    An odd amount puts one more on the right or at the bottom (TensorFlow's `SAME`).
    """
    height, width = (max(kernel_size - stride + -side % stride, 0) for side in x.shape[2:])
    sides = (width // 2, width - width // 2, height // 2, height - height // 2)
    return F.pad(x, sides, value=value)


class StdConv2dSame(nn.Module):
    """A convolution whose weight is normalised, each output channel by itself, when it runs.

    A BatchNorm in training mode standardises the weight as a batch of one.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, stride: int = 1
    ) -> None:
        super().__init__()
        conv = nn.Conv2d(in_channels, out_channels, kernel_size, bias=False)
        self.weight = conv.weight
        self.batch_norm = nn.BatchNorm1d(out_channels, track_running_stats=False)
        self.kernel_size = kernel_size
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """`(N, in_channels, H, W)` to `(N, out_channels, H / stride, W / stride)`, rounded up."""
        weight = self.batch_norm(self.weight.flatten(1)[None]).view_as(self.weight)
        return F.conv2d(pad_same(x, self.kernel_size, self.stride), weight, stride=self.stride)


class GroupNormAct(nn.GroupNorm):
    """GroupNorm followed by ReLU, unless `apply_act` is False."""

    def __init__(self, channels: int, apply_act: bool = True) -> None:
        super().__init__(GROUPS, channels)
        self.act = nn.ReLU() if apply_act else nn.Identity()

    def forward(self, input: Tensor) -> Tensor:
        """`(N, C, H, W)` to the same shape."""
        return self.act(super().forward(input))


class MaxPool2dSame(nn.Module):
    """A 3x3 pooling that halves the map, rounded up."""

    def forward(self, x: Tensor) -> Tensor:
        """`(N, C, H, W)` to `(N, C, H / 2, W / 2)`, rounded up."""
        return F.max_pool2d(pad_same(x, 3, 2, float("-inf")), 3, 2)


class DownsampleConv(nn.Module):
    """Pointwise shortcut of a block that changes the shape."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.conv = StdConv2dSame(in_channels, out_channels, 1, stride)
        self.norm = GroupNormAct(out_channels, apply_act=False)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, in_channels, H, W)` to `(N, out_channels, H / stride, W / stride)`."""
        return self.norm(self.conv(x))


class Bottleneck(nn.Module):
    """Bottleneck of three convolutions with a shortcut; the inner width is a quarter."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, first: bool) -> None:
        super().__init__()
        mid = out_channels // 4
        self.downsample = (
            DownsampleConv(in_channels, out_channels, stride) if first else nn.Identity()
        )
        self.conv1 = StdConv2dSame(in_channels, mid, 1)
        self.norm1 = GroupNormAct(mid)
        self.conv2 = StdConv2dSame(mid, mid, 3, stride)
        self.norm2 = GroupNormAct(mid)
        self.conv3 = StdConv2dSame(mid, out_channels, 1)
        self.norm3 = GroupNormAct(out_channels, apply_act=False)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, in_channels, H, W)` to `(N, out_channels, H / stride, W / stride)`."""
        y = self.norm2(self.conv2(self.norm1(self.conv1(x))))
        return F.relu(self.norm3(self.conv3(y)) + self.downsample(x))


class ResNetStage(nn.Module):
    """Blocks, the first of which makes the map smaller."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, depth: int) -> None:
        super().__init__()
        self.blocks = nn.Sequential(
            Bottleneck(in_channels, out_channels, stride, first=True),
            *(Bottleneck(out_channels, out_channels, 1, first=False) for _ in range(depth - 1)),
        )

    def forward(self, x: Tensor) -> Tensor:
        """`(N, in_channels, H, W)` to `(N, out_channels, H / stride, W / stride)`."""
        return self.blocks(x)


class ResNetV2(nn.Module):
    """The stem and up to three stages; `layers` counts the blocks of each."""

    def __init__(self, in_channels: int, layers: Sequence[int]) -> None:
        super().__init__()
        self.stem = nn.Sequential()
        self.stem.add_module("conv", StdConv2dSame(in_channels, STEM, 7, stride=2))
        self.stem.add_module("norm", GroupNormAct(STEM))
        self.stem.add_module("pool", MaxPool2dSame())
        ins = (STEM, *CHANNELS)
        self.stages = nn.Sequential(
            *(
                ResNetStage(ins[stage], CHANNELS[stage], 2 if stage else 1, depth)
                for stage, depth in enumerate(layers)
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        """`(N, in_channels, H, W)` to `(N, 1024, H / 16, W / 16)`, sides rounded up."""
        return self.stages(self.stem(x))
