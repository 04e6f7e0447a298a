"""Blocks that several networks share; differences between Paddle and PyTorch, each explained once.

Hard sigmoid
    `min(max(slope * x + 1/2, 0), 1)`. PyTorch's has the fixed slope 1/6, which is also the default
    of Paddle's layer; PaddleOCR's MobileNetV3 and its RSEFPN call Paddle's function with slope 0.2
    instead (`SqueezeExcite`).
Hard swish
    `x * min(max(x + 3, 0), 6) / 6` in both frameworks.
BatchNorm
    eps is 1e-5 in both. Paddle's older class can hold an activation, `BatchNorm(act="relu")`, which
    is then part of the layer's output (`BatchNormAct`). Paddle has no `num_batches_tracked`.
Embedding
    Paddle's gives zeros for `padding_idx`, whatever that row of its weight holds; PyTorch's only
    keeps the row out of training (`PaddedEmbedding`).
Linear
    Paddle stores `[in, out]`, PyTorch `[out, in]`; the modules here hold PyTorch's layout.
Grid sample
    -1 and 1 mean the middles of the outermost pixels in Paddle, their outer edges in PyTorch: both
    call it `align_corners`, but its default is True in the one, False in the other.
LSTM
    Gate order and tensor names agree; Paddle lists every tensor a second time under `0.cell_fw.…`.
"""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "hardswish": nn.Hardswish,
    "swish": nn.SiLU,
    "gelu": nn.GELU,
}


def make_divisible(value: float, divisor: int) -> int:
    """Round a channel count to the nearest multiple of `divisor`, never more than 10 % down."""
    rounded = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * value else rounded


class LearnableAffine(nn.Module):
    """`scale * x + bias` with one scale and one bias for the whole map (LAB in PaddleOCR)."""

    inplace = False

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))
        self.bias = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        """`x` and the result have one shape, any."""
        if self.inplace:
            return x.mul_(self.scale).add_(self.bias)
        return self.scale * x + self.bias


class BatchNormAct(nn.BatchNorm2d):
    """Paddle's `BatchNorm(act="relu")`: a BatchNorm whose output is that of the activation."""

    def __init__(self, num_features: int, act: str) -> None:
        super().__init__(num_features)
        self.act = ACTIVATIONS[act]()

    def forward(self, input: Tensor) -> Tensor:
        """`(N, C, H, W)` to the same shape."""
        return self.act(super().forward(input))


class ConvBNAct(nn.Module):
    """Convolution that keeps the size at stride 1, BatchNorm, and an activation if named."""

    folds: ClassVar = (("conv", "bn"),)

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int | tuple[int, int] = 1,
        groups: int = 1,
        act: str | None = None,
        padding: int | None = None,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding=kernel_size // 2 if padding is None else padding,
            groups=groups,
            bias=False,
        )
        self.bn = nn.BatchNorm2d(out_channels)
        self.act = ACTIVATIONS[act]() if act else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """`(N, in_channels, H, W)` to `(N, out_channels, H / stride, W / stride)`."""
        return self.act(self.bn(self.conv(x)))


class ConvBatchNorm(nn.Module):
    """The block of PaddleOCR's older networks: as `ConvBNAct`, the activation in the BatchNorm."""

    folds: ClassVar = (("_conv", "_batch_norm"),)

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int | tuple[int, int] = 1,
        groups: int = 1,
        act: str | None = None,
    ) -> None:
        super().__init__()
        self._conv = nn.Conv2d(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding=kernel_size // 2,
            groups=groups,
            bias=False,
        )
        self._batch_norm = BatchNormAct(out_channels, act) if act else nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, in_channels, H, W)` to `(N, out_channels, H / stride, W / stride)`."""
        return self._batch_norm(self._conv(x))


class ConvBNLayer(nn.Module):
    """`ConvBatchNorm` under the names that it has in EAST, SAST and PGNet."""

    folds: ClassVar = (("conv", "bn"),)

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        act: str | None = None,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            in_channels, out_channels, kernel_size, stride, padding=kernel_size // 2, bias=False
        )
        self.bn = BatchNormAct(out_channels, act) if act else nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, in_channels, H, W)` to `(N, out_channels, H / stride, W / stride)`."""
        return self.bn(self.conv(x))


class DeConvBNLayer(nn.Module):
    """A transposed convolution that doubles the size, and its BatchNorm, as `ConvBNLayer`."""

    folds: ClassVar = (("deconv", "bn"),)

    def __init__(self, in_channels: int, out_channels: int, act: str | None = None) -> None:
        super().__init__()
        self.deconv = nn.ConvTranspose2d(
            in_channels, out_channels, 4, stride=2, padding=1, bias=False
        )
        self.bn = BatchNormAct(out_channels, act) if act else nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, in_channels, H, W)` to `(N, out_channels, 2 * H, 2 * W)`."""
        return self.bn(self.deconv(x))


class PaddedEmbedding(nn.Embedding):
    """Classes as vectors, and zeros for the class `padding`."""

    def __init__(self, num_embeddings: int, embedding_dim: int, padding: int) -> None:
        super().__init__(num_embeddings, embedding_dim)
        self.padding = padding

    def forward(self, input: Tensor) -> Tensor:
        """`(N, T)` int64 to `(N, T, embedding_dim)`."""
        return super().forward(input) * input.ne(self.padding).unsqueeze(-1)


class SqueezeExcite(nn.Module):
    """Weighs each channel by a hard sigmoid of two 1x1 convolutions over the channel means.

    Squeeze-and-Excitation Networks, https://arxiv.org/abs/1709.01507; `SEModule` in PaddleOCR's
    `ppocr/modeling/backbones/det_mobilenet_v3.py` has slope 0.2, `SELayer` in `rec_lcnetv3.py` 1/6.
    """

    def __init__(self, channels: int, slope: float, reduction: int = 4) -> None:
        super().__init__()
        self.slope = slope
        self.conv1 = nn.Conv2d(channels, channels // reduction, 1)
        self.conv2 = nn.Conv2d(channels // reduction, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, C, H, W)` to the same shape."""
        return x * self.gate(x)

    def gate(self, x: Tensor) -> Tensor:
        """`(N, C, H, W)` to what each channel is multiplied by, `(N, C, 1, 1)`."""
        gate = self.conv2(F.relu(self.conv1(F.adaptive_avg_pool2d(x, 1))))
        return (self.slope * gate + 0.5).clamp(0.0, 1.0)
