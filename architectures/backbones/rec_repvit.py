"""RepViT, the backbone of RepSVTR: convolutions laid out as a transformer's blocks.

RepViT: Revisiting Mobile CNN From ViT Perspective, https://arxiv.org/abs/2307.09283;
PaddleOCR: `ppocr/modeling/backbones/rec_repvit.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from architectures.layers.conv import make_divisible
from architectures.layers.pooling import avg_pool2d
from architectures.reparameterize import (
    channel_affine,
    folded,
    merged_into,
    set_branch,
    set_identity,
)


class Row(NamedTuple):
    """One block."""

    out_channels: int
    se: bool
    stride: int | tuple[int, int]


# fmt: off
DET = (
    #   out  se     stride
    Row(48,  True,  1),
    Row(48,  False, 1),
    Row(96,  False, 2),
    Row(96,  True,  1),
    Row(96,  False, 1),
    Row(192, False, 2),
    Row(192, True,  1),
    Row(192, False, 1),
    Row(192, True,  1),
    Row(192, False, 1),
    Row(384, False, 2),
    Row(384, True,  1),
    Row(384, False, 1),
)
REC = (
    #   out  se     stride
    Row(96,  True,  1),
    Row(96,  False, 1),
    Row(96,  False, 1),
    Row(192, False, (2, 1)),
    Row(192, True,  1),
    Row(192, False, 1),
    Row(192, True,  1),
    Row(192, False, 1),
    Row(192, True,  1),
    Row(192, False, 1),
    Row(384, False, (2, 1)),
    Row(384, True,  1),
    Row(384, False, 1),
)
# fmt: on


class Conv2D_BN(nn.Module):  # noqa: N801, PaddleOCR's name
    """A convolution that keeps the size at stride 1, and its BatchNorm."""

    folds: ClassVar = (("c", "bn"),)
    folded_in_exports = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int | tuple[int, int] = 1,
        groups: int = 1,
    ) -> None:
        super().__init__()
        self.c = nn.Conv2d(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding=kernel_size // 2,
            groups=groups,
            bias=False,
        )
        self.bn = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, in_channels, H, W)` to `(N, out_channels, H / stride, W / stride)`."""
        return self.bn(self.c(x))


class RepVGGDW(nn.Module):
    """The sum of a 3x3 branch, a 1x1 branch and the input, each channel by itself; a BatchNorm."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = Conv2D_BN(channels, channels, 3, groups=channels)
        self.conv1 = nn.Conv2d(channels, channels, 1, groups=channels)
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, C, H, W)` to the same shape."""
        return self.bn(self.conv(x) + self.conv1(x) + x)

    def deployed(self) -> nn.Module:
        """The branches and the BatchNorm after them as one convolution."""
        return merged_into(self.conv.c, self.merged)

    def restore(self, conv: nn.Conv2d) -> None:
        """Let the first branch compute `conv`; the 1x1 one takes away what the map itself adds."""
        set_branch(self.conv.c, self.conv.bn, conv)
        self.conv1.weight.fill_(-1)
        set_identity(self.bn)

    def merged(self) -> tuple[Tensor, Tensor]:
        """Weight and bias, float64, of that convolution."""
        weight, bias = folded(self.conv.c, self.conv.bn)
        # The other two branches see the middle of the 3x3 window only.
        weight[:, :, 1, 1] += self.conv1.weight[:, :, 0, 0].double() + 1.0
        scale, shift = channel_affine(self.bn)
        bias = bias + self.conv1.get_parameter("bias").double()
        return weight * scale.reshape(-1, 1, 1, 1), bias * scale + shift


class SEModule(nn.Module):
    """Weighs each channel by a sigmoid of two 1x1 convolutions over the channel means."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        reduced = make_divisible(channels / 4, 8)
        self.fc1 = nn.Conv2d(channels, reduced, 1)
        self.fc2 = nn.Conv2d(reduced, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, C, H, W)` to the same shape."""
        return x * self.fc2(F.relu(self.fc1(F.adaptive_avg_pool2d(x, 1)))).sigmoid()


class Residual(nn.Module):
    """Residual connection: the output of a module added to its input."""

    def __init__(self, m: nn.Module) -> None:
        super().__init__()
        self.m = m

    def forward(self, x: Tensor) -> Tensor:
        """`x` and the result have one shape."""
        return x + self.m(x)


class RepViTBlock(nn.Module):
    """Filters each channel (`token_mixer`), then mixes the channels (`channel_mixer`)."""

    def __init__(self, in_channels: int, row: Row) -> None:
        super().__init__()
        out = row.out_channels
        weighed = SEModule(in_channels) if row.se else nn.Identity()
        if row.stride == 1:
            self.token_mixer = nn.Sequential(RepVGGDW(in_channels), weighed)
        else:
            self.token_mixer = nn.Sequential(
                Conv2D_BN(in_channels, in_channels, 3, row.stride, groups=in_channels),
                weighed,
                Conv2D_BN(in_channels, out, 1),
            )
        self.channel_mixer = Residual(
            nn.Sequential(Conv2D_BN(out, 2 * out, 1), nn.GELU(), Conv2D_BN(2 * out, out, 1))
        )

    def forward(self, x: Tensor) -> Tensor:
        """`(N, in_channels, H, W)` to `(N, out_channels, H / stride, W / stride)`."""
        return self.channel_mixer(self.token_mixer(x))


def features(in_channels: int, rows: Sequence[Row]) -> nn.ModuleList:
    """The stem, which quarters both sides, and the blocks after it."""
    channels = rows[0].out_channels
    layers: list[nn.Module] = [
        nn.Sequential(
            Conv2D_BN(in_channels, channels // 2, 3, 2),
            nn.GELU(),
            Conv2D_BN(channels // 2, channels, 3, 2),
        )
    ]
    for row in rows:
        layers.append(RepViTBlock(channels, row))
        channels = row.out_channels
    return nn.ModuleList(layers)


class RepSVTR(nn.Module):
    """RepViT as a recogniser's backbone: after the stem only the height shrinks."""

    def __init__(self, in_channels: int = 3) -> None:
        super().__init__()
        self.features = features(in_channels, REC)
        self.out_channels = REC[-1].out_channels

    def forward(self, x: Tensor) -> Tensor:
        """`(N, 3, H, W)`, heights multiples of 16, to `(N, out_channels, 1, W / 8)`."""
        for block in self.features:
            x = block(x)
        return avg_pool2d(x, (x.shape[2], 2))


class RepSVTR_det(nn.Module):  # noqa: N801, PaddleOCR's name
    """RepViT as a detector's backbone; the stem is `features.0`, the blocks follow it."""

    def __init__(self, in_channels: int = 3, out_indices: Sequence[int] = (2, 5, 10, 13)) -> None:
        super().__init__()
        self.features = features(in_channels, DET)
        self.out_indices = tuple(out_indices)
        self.out_channels = [DET[index - 1].out_channels for index in out_indices]

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """`(N, 3, H, W)`, sides multiples of 32, to maps of 1/4, 1/8, 1/16 and 1/32 of the size."""
        maps = []
        for index, block in enumerate(self.features):
            x = block(x)
            if index in self.out_indices:
                maps.append(x)
        return tuple(maps)
