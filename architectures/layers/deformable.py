"""Deformable convolution: every element of the kernel looks where an offset moves it to.

Deformable ConvNets v2, https://arxiv.org/abs/1811.11168. In Paddle, torchvision and here alike,
offsets are (y, x) of each kernel element in turn, one group of channels after the other; between
pixels the map is interpolated, and outside of it there is zero.

torchvision's compiled operator is used where torchvision is installed. It has no build for every
machine, so the same is written here in PyTorch: the values at all places are gathered into columns,
then multiplied with the kernel.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import cache
from typing import ClassVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import handle_torch_function, has_torch_function

from architectures.layers.conv import BatchNormAct

Pair = tuple[int, int]


def deform_conv2d(
    x: Tensor,
    offset: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Pair = (1, 1),
    padding: Pair = (0, 0),
    dilation: Pair = (1, 1),
    mask: Tensor | None = None,
) -> Tensor:
    """A convolution of `x` with `weight` that is `offset` and weighed by `mask`.

    `x: (N, C, H, W)`, `weight: (D, C / groups, K, L)`, `offset: (N, 2 * G * K * L, P, Q)`,
    `mask: (N, G * K * L, P, Q)` or None for ones, to `(N, D, P, Q)`. The channels of `x` move in
    G groups, `deformable_groups` in Paddle.
    """
    arguments = (x, offset, weight, bias, stride, padding, dilation, mask)
    # As PyTorch's own functions do: who watches the calls (torch.overrides) sees this as one.
    if has_torch_function((x, offset, weight)):
        result: Tensor = handle_torch_function(deform_conv2d, (x, offset, weight), *arguments)
        return result
    return implementation()(*arguments)


@cache
def implementation() -> Callable[..., Tensor]:
    """torchvision's operator where it is installed and works, else the one below."""
    try:
        operator: Callable[..., Tensor] = importlib.import_module("torchvision.ops").deform_conv2d
    except (ImportError, OSError, RuntimeError, AttributeError):  # absent, or for another PyTorch
        return gathered
    return operator


def gathered(
    x: Tensor,
    offset: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    mask: Tensor | None,
) -> Tensor:
    """Deformable convolution (`deform_conv2d`) in plain PyTorch."""
    n, channels, height, width = x.shape
    kernel = weight.shape[2] * weight.shape[3]
    moved = offset.shape[1] // (2 * kernel)  # groups of channels that move together
    rows, columns = offset.shape[2:]

    # (N, moved, rows, columns, kernel): where each element of the kernel looks, and how it weighs.
    moves = offset.reshape(n, moved, kernel, 2, rows, columns).permute(0, 1, 4, 5, 2, 3)
    grid = _grid(weight.shape[2:], (rows, columns), stride, padding, dilation, offset)
    y, x_ = (grid + moves).unbind(-1)
    scale = None
    if mask is not None:
        scale = mask.reshape(n, moved, kernel, rows, columns).permute(0, 1, 3, 4, 2)

    places, shares = _corners(y, x_, height, width, scale)
    # Each pixel of each group is one row of a table; a place is the weighted sum of four rows.
    table = x.reshape(n * moved, channels // moved, height * width).transpose(1, 2)
    first = torch.arange(n * moved, device=x.device).reshape(n, moved, 1, 1, 1, 1) * height * width
    values = F.embedding_bag(
        (places + first).reshape(-1, 4),
        table.reshape(-1, channels // moved),
        mode="sum",
        per_sample_weights=shares.reshape(-1, 4),
    )

    groups = channels // weight.shape[1]
    values = values.reshape(n, moved, rows * columns, kernel, -1).permute(0, 2, 3, 1, 4)
    values = values.reshape(n, rows * columns, kernel, groups, channels // groups)
    matrix = weight.reshape(groups, -1, channels // groups, kernel)
    result = torch.einsum("npkgc,gdck->ngdp", values, matrix).reshape(n, -1, rows, columns)
    return result if bias is None else result + bias.reshape(1, -1, 1, 1)


def _grid(
    kernel: torch.Size, size: Pair, stride: Pair, padding: Pair, dilation: Pair, like: Tensor
) -> Tensor:
    """`(rows, columns, kernel, 2)`: y and x of each element of the kernel where nothing moves."""
    starts, steps = (
        [torch.arange(count, device=like.device, dtype=like.dtype) for count in counts]
        for counts in (size, kernel)
    )
    y, x = (
        (start * stride[axis] - padding[axis]).reshape(-1, 1) + step * dilation[axis]
        for axis, (start, step) in enumerate(zip(starts, steps, strict=True))
    )
    shape = (*size, *kernel)
    y, x = y[:, None, :, None].expand(shape), x[None, :, None, :].expand(shape)
    return torch.stack([y, x], -1).flatten(2, 3)


def _corners(
    y: Tensor, x: Tensor, height: int, width: int, scale: Tensor | None
) -> tuple[Tensor, Tensor]:
    """`(..., 4)` each: the four pixels around each place, as numbers, and their shares of it."""
    top, left = y.floor(), x.floor()
    down, right = y - top, x - left
    if scale is not None:
        # The shares of the two rows carry the mask.
        above, below = (1 - down) * scale, down * scale
    else:
        above, below = 1 - down, down
    places, shares = [], []
    for row, of_row in ((top, above), (top + 1, below)):
        for column, of_column in ((left, 1 - right), (left + 1, right)):
            inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
            places.append(torch.where(inside, row * width + column, 0).long())
            shares.append(torch.where(inside, of_row * of_column, 0))
    return torch.stack(places, -1), torch.stack(shares, -1)


class DeformConv2D(nn.Conv2d):
    """Paddle's layer: a convolution without bias that takes the offsets and the mask as well."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int | Pair,
        padding: int,
    ) -> None:
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding=padding, bias=False
        )

    def forward(self, input: Tensor, offset: Tensor, mask: Tensor) -> Tensor:  # type: ignore[override]
        """`(N, in_channels, H, W)` to `(N, out_channels, H / stride, W / stride)`."""
        pairs = cast("tuple[Pair, Pair, Pair]", (self.stride, self.padding, self.dilation))
        return deform_conv2d(input, offset, self.weight, self.bias, *pairs, mask)


class DeformableConvV2(nn.Module):
    """A deformable convolution whose offsets and mask are computed from its own input.

    `groups` groups of channels move apart from each other.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, stride: int | Pair, groups: int
    ) -> None:
        super().__init__()
        padding = (kernel_size - 1) // 2
        self.sizes = [2 * groups * kernel_size**2, groups * kernel_size**2]
        self.conv_dcn = DeformConv2D(in_channels, out_channels, kernel_size, stride, padding)
        self.conv_offset = nn.Conv2d(in_channels, sum(self.sizes), kernel_size, stride, padding)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, in_channels, H, W)` to `(N, out_channels, H / stride, W / stride)`."""
        offset, mask = self.conv_offset(x).split(self.sizes, 1)
        return self.conv_dcn(x, offset, mask.sigmoid())


class DeformableConvBatchNorm(nn.Module):
    """`ConvBatchNorm` with a deformable convolution."""

    folds: ClassVar = (("_conv.conv_dcn", "_batch_norm"),)

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int | Pair,
        groups: int,
        act: str,
    ) -> None:
        super().__init__()
        self._conv = DeformableConvV2(in_channels, out_channels, kernel_size, stride, groups)
        self._batch_norm = BatchNormAct(out_channels, act)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, in_channels, H, W)` to `(N, out_channels, H / stride, W / stride)`."""
        return self._batch_norm(self._conv(x))
