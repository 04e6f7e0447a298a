"""Convolutions with large kernels, computed by their Fourier coefficients: for inference.

A map is cut into tiles that overlap by the size of the kernel. Among frequencies a convolution is a
product, so for each pixel and pair of channels some five multiplications do what takes 81 with a
9x9 kernel. The transforms are products with small matrices, which processors compute faster than
`torch.fft` does for tiles of this size. This is the overlap-save method: Oppenheim and Schafer,
Discrete-Time Signal Processing, section 8.7.
"""

from __future__ import annotations

import functools
import math
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

TILE = 24
"""The side of a tile, even. The coefficients of 9x9 weights take 7.7 times the memory of these."""
MOST_TILES = 128
"""How many tiles are computed at once, which bounds the memory that large maps take."""
SMALLEST_KERNEL = 7
SMALLEST_CHANNELS = 32
"""Fewer channels do not pay for the transforms."""
SMALLEST_MAP = 40 * 40
"""The pixels of the smallest map that is transformed; others do not pay for the memory."""


def is_faster(conv: nn.Conv2d) -> bool:
    """Return whether `FourierConv2d` is faster for large maps than a convolution."""
    return (
        min(conv.kernel_size) >= SMALLEST_KERNEL
        and max(conv.kernel_size) <= TILE // 2
        and min(conv.in_channels, conv.out_channels) >= SMALLEST_CHANNELS
        and (conv.groups, conv.stride, conv.dilation) == (1, (1, 1), (1, 1))
        and conv.weight.dtype == torch.float32
    )


class FourierConv2d(nn.Module):
    """A convolution that multiplies Fourier coefficients; of small maps a plain one.

    The results are those of the convolution up to rounding, which is less than that of the plain
    one. Its weights are transformed for the first map that is large enough.

    Args:
        conv: padded with zeros, of one group, without strides and dilation.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.direct = conv
        self.kernel = conv.kernel_size
        self.padding = cast("tuple[int, int]", conv.padding)
        self.step = TILE - self.kernel[0] + 1, TILE - self.kernel[1] + 1
        self.weight = conv.weight.detach()
        self.bias = None if conv.bias is None else conv.bias.detach()
        self._coefficients: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        """`(N, in_channels, H, W)` to `(N, out_channels, H', W')`."""
        size = [
            side + 2 * padding - kernel + 1
            for side, padding, kernel in zip(x.shape[2:], self.padding, self.kernel, strict=True)
        ]
        if math.prod(size) < SMALLEST_MAP:
            result: Tensor = self.direct(x)
            return result
        return self._transformed(x, *size)

    def _transformed(self, x: Tensor, height: int, width: int) -> Tensor:
        tall, wide = self.step
        rows, columns = -(-height // tall), -(-width // wide)
        above, left = self.padding
        below = (rows - 1) * tall + TILE - above - x.shape[2]
        right = (columns - 1) * wide + TILE - left - x.shape[3]
        padded = F.pad(x.permute(0, 2, 3, 1), (0, 0, left, right, above, below))
        result = x.new_empty(x.shape[0], rows * tall, columns * wide, len(self.weight))
        at_once = max(1, MOST_TILES // columns)
        for image, target in zip(padded, result, strict=True):
            for first in range(0, rows, at_once):
                last = min(first + at_once, rows)
                part = image[first * tall : (last - 1) * tall + TILE]
                target[first * tall : last * tall].view(
                    last - first, tall, columns, wide, -1
                ).copy_(self._of_tiles(part.unfold(0, TILE, tall).unfold(1, TILE, wide)))
        result = result[:, :height, :width].contiguous()
        if self.bias is not None:
            result += self.bias
        return result.permute(0, 3, 1, 2)

    def _of_tiles(self, tiles: Tensor) -> Tensor:
        """Return the convolution of tiles.

        Args:
            tiles: `(rows, columns, in_channels, TILE, TILE)`.

        Returns:
            `(rows, pixels, columns, pixels, out_channels)`.
        """
        rows, columns, channels = tiles.shape[:3]
        count = rows * columns
        tall, wide = self.step
        down, across, back_across, back_down = _matrices(tall, wide)
        # Comments name axes: u and v are frequencies, c is the real and the imaginary part.
        values = down @ tiles.permute(3, 4, 0, 1, 2).reshape(TILE, -1)
        values = values.view(-1, 2 * TILE, count * channels)  # u, (c, x), (tiles, channels)
        values = torch.matmul(across, values)  # u, (v, c), (tiles, channels)
        if self._coefficients is None:
            self._coefficients = _coefficients(self.weight)
        products = torch.bmm(values.view(-1, 2 * count, channels), self._coefficients)
        products = products.view(-1, 2, count, 2, len(self.weight))  # (u, v), c, tiles, c, channels
        values = products.new_empty(len(products), 2, count, len(self.weight))
        torch.sub(products[:, 0, :, 0], products[:, 1, :, 1], out=values[:, 0])
        torch.add(products[:, 0, :, 1], products[:, 1, :, 0], out=values[:, 1])
        values = torch.matmul(back_across, values.view(-1, 2 * TILE, count * len(self.weight)))
        values = back_down @ values.view(back_down.shape[1], -1)  # y, (x, tiles, channels)
        return values.view(tall, wide, rows, columns, -1).permute(2, 0, 3, 1, 4)


def _coefficients(weight: Tensor) -> Tensor:
    """Return the conjugate Fourier coefficients of kernels.

    Args:
        weight: `(out_channels, in_channels, height, width)`.

    Returns:
        `(frequencies, in_channels, 2 * out_channels)`, the real parts before the imaginary ones.
    """
    # Half of the frequencies along the height are enough, as the values are real.
    spectrum = torch.fft.rfftn(weight.double(), s=(TILE, TILE), dim=(3, 2)).conj()
    spectrum = spectrum.permute(2, 3, 1, 0).flatten(0, 1)
    return torch.cat([spectrum.real, spectrum.imag], 2).to(weight.dtype)


@functools.cache
def _matrices(tall: int, wide: int) -> tuple[Tensor, ...]:
    """Return the matrices of the transforms of a tile, float32.

    Args:
        tall: how many rows of a tile are results.
        wide: how many columns.

    Returns:
        `(2 * half, TILE)`, `(2 * TILE, 2 * TILE)` and, for the way back, `(2 * wide, 2 * TILE)` and
        `(tall, 2 * half)`, where `half` is the number of frequencies from 0 to TILE / 2.
    """
    steps = torch.arange(TILE, dtype=torch.float64)
    angles = torch.outer(steps, steps) * (2 * math.pi / TILE)
    cos, sin = angles.cos(), angles.sin()
    half = TILE // 2 + 1
    down = torch.stack([cos[:half], -sin[:half]], 1).flatten(0, 1)
    across = torch.stack([torch.cat([cos, sin], 1), torch.cat([-sin, cos], 1)], 1).flatten(0, 1)
    real = torch.stack([cos[:wide], -sin[:wide]], 2).flatten(1)
    imaginary = torch.stack([sin[:wide], cos[:wide]], 2).flatten(1)
    # All frequencies but the first and the last stand for a second one with the same real part.
    weights = torch.full((half,), 2.0, dtype=torch.float64)
    weights[[0, -1]] = 1
    back_down = torch.stack([cos[:tall, :half] * weights, -sin[:tall, :half] * weights], 2)
    matrices = down, across, torch.cat([real, imaginary]) / TILE, back_down.flatten(1) / TILE
    return tuple(matrix.float() for matrix in matrices)
