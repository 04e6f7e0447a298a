"""Pooling with the output size of Paddle.

Where a map is smaller than the kernel and the stride is above 1, Paddle still computes one row or
column, from the pixels that exist; PyTorch refuses. Recognisers rely on it for lines of a height
below that of the release (16, 24 or 32 pixels).
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

Pair = tuple[int, int]


def avg_pool2d(x: Tensor, kernel_size: int | Pair) -> Tensor:
    """Average windows that do not overlap.

    Args:
        x: `(N, C, H, W)`.
        kernel_size: height and width of a window, and the stride.

    Returns:
        `(N, C, max(H // height, 1), max(W // width, 1))`.
    """
    return F.avg_pool2d(x, _clipped(x, kernel_size))


def max_pool2d(
    x: Tensor, kernel_size: int | Pair, stride: int | Pair | None = None, padding: int | Pair = 0
) -> Tensor:
    """Take the maxima of windows.

    Args:
        x: `(N, C, H, W)`.
        kernel_size: height and width of a window.
        stride: by default the kernel size.
        padding: rows and columns on each side that no maximum comes from.

    Returns:
        `(N, C, h, w)`, where h and w are at least 1.
    """
    clipped = _clipped(x, kernel_size, padding)
    return F.max_pool2d(x, clipped, kernel_size if stride is None else stride, padding)


class MaxPool2d(nn.Module):
    """`max_pool2d` as a layer."""

    def __init__(self, kernel_size: int | Pair) -> None:
        super().__init__()
        self.kernel_size = kernel_size

    def forward(self, x: Tensor) -> Tensor:
        """`(N, C, H, W)` to `(N, C, max(H // height, 1), max(W // width, 1))`."""
        return max_pool2d(x, self.kernel_size)


class AvgPool2d(nn.Module):
    """`avg_pool2d` as a layer."""

    def __init__(self, kernel_size: int | Pair) -> None:
        super().__init__()
        self.kernel_size = kernel_size

    def forward(self, x: Tensor) -> Tensor:
        """`(N, C, H, W)` to `(N, C, max(H // height, 1), max(W // width, 1))`."""
        return avg_pool2d(x, self.kernel_size)


def _clipped(x: Tensor, kernel_size: int | Pair, padding: int | Pair = 0) -> Pair:
    """Return the kernel size, no larger than the padded map."""
    height, width = _pair(kernel_size)
    rows, columns = _pair(padding)
    # Compared, not passed to min(): sizes may be symbolic while the network is exported.
    if x.shape[2] + 2 * rows < height:
        height = x.shape[2] + 2 * rows
    if x.shape[3] + 2 * columns < width:
        width = x.shape[3] + 2 * columns
    return height, width


def _pair(value: int | Pair) -> Pair:
    return value if isinstance(value, tuple) else (value, value)
