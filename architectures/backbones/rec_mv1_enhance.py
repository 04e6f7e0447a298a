"""MobileNetV1Enhance, the backbone of the mobile recognisers of PP-OCRv2 and PP-OCRv3.

After PP-LCNet, https://arxiv.org/abs/2109.15099, and MobileNets, https://arxiv.org/abs/1704.04861;
PaddleOCR: `ppocr/modeling/backbones/rec_mv1_enhance.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor, nn

from architectures.layers.conv import ConvBatchNorm
from architectures.layers.pooling import AvgPool2d, MaxPool2d
from architectures.layers.squeeze_excite import SqueezeExcite

Stride = int | tuple[int, int]


class Row(NamedTuple):
    """One block: a depthwise and a pointwise layer; channels before scaling."""

    kernel: int
    in_channels: int
    out_channels: int
    stride: Stride
    se: bool = False


# fmt: off
BLOCKS = (
    #   kernel in    out   stride  se
    Row(3,     32,   64,   1),
    Row(3,     64,   128,  1),
    Row(3,     128,  128,  1),
    Row(3,     128,  256,  (2, 1)),
    Row(3,     256,  256,  1),
    Row(3,     256,  512,  (2, 1)),
    Row(5,     512,  512,  1),
    Row(5,     512,  512,  1),
    Row(5,     512,  512,  1),
    Row(5,     512,  512,  1),
    Row(5,     512,  512,  1),
    Row(5,     512,  1024, (2, 1), True),
)
# fmt: on
STEM, LAST = 32, 1024


class DepthwiseSeparable(nn.Module):
    """A depthwise layer, channel weights in some blocks, a pointwise layer."""

    def __init__(self, row: Row, scale: float) -> None:
        super().__init__()
        channels, out_channels = int(row.in_channels * scale), int(row.out_channels * scale)
        self._depthwise_conv = ConvBatchNorm(
            channels, channels, row.kernel, row.stride, groups=channels, act="hardswish"
        )
        self._se = SqueezeExcite(channels, slope=1 / 6) if row.se else nn.Identity()
        self._pointwise_conv = ConvBatchNorm(channels, out_channels, 1, act="hardswish")

    def forward(self, x: Tensor) -> Tensor:
        """`(N, in_channels, H, W)` to `(N, out_channels, H / stride, W / stride)`."""
        return self._pointwise_conv(self._se(self._depthwise_conv(x)))


class MobileNetV1Enhance(nn.Module):
    """MobileNetV1Enhance; `last_conv_stride` is that of its last block.

    It ends in a mean over windows of `last_pool_kernel_size` where `last_pool_type` is `avg`, and
    otherwise in the maximum of windows of 2x2.
    """

    def __init__(
        self,
        in_channels: int = 3,
        scale: float = 0.5,
        last_conv_stride: int | Sequence[int] = 1,
        last_pool_type: str = "max",
        last_pool_kernel_size: int | Sequence[int] = (3, 2),
    ) -> None:
        super().__init__()
        self.conv1 = ConvBatchNorm(in_channels, int(STEM * scale), 3, stride=2, act="hardswish")
        last = Row(5, LAST, LAST, pair(last_conv_stride), se=True)
        self.block_list = nn.Sequential(
            *(DepthwiseSeparable(row, scale) for row in (*BLOCKS, last))
        )
        self.pool: nn.Module = MaxPool2d(2)
        if last_pool_type == "avg":
            self.pool = AvgPool2d(pair(last_pool_kernel_size))
        self.out_channels = int(LAST * scale)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, 3, H, W)` to `(N, out_channels, 1, W / 4)`, H of 32, or 48 with a pooling of 3.

        With the last stride (1, 2) and a pooling of (2, 2), W / 8.
        """
        return self.pool(self.block_list(self.conv1(x)))


def pair(value: int | Sequence[int]) -> Stride:
    """A number, or two of a list, as PyTorch takes them."""
    if isinstance(value, int):
        return value
    height, width = value
    return height, width
