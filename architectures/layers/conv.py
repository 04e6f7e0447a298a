"""Convolution, BatchNorm and activation in one block, under the names of PaddleOCR's networks."""

from __future__ import annotations

from typing import ClassVar

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
    activates: ClassVar = (("conv", "act"),)
    chain: ClassVar = ("conv", "bn", "act")

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
