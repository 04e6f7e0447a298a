"""The block that lets the characters of a word strengthen each other in a pyramid's maps.

I3CL, https://arxiv.org/abs/2108.01343; PaddleOCR: `ppocr/modeling/necks/intracl.py`.
"""

from __future__ import annotations

import copy
from typing import ClassVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class IntraCLBlock(nn.Module):
    """Adds square, tall and wide convolutions of decreasing size to a map, on fewer channels."""

    folds: ClassVar = (("conv1x1_return_channel", "bn"),)

    def __init__(self, channels: int, reduce_factor: int) -> None:
        super().__init__()
        narrow = channels // reduce_factor
        self.conv1x1_reduce_channel = nn.Conv2d(channels, narrow, 1)
        self.conv1x1_return_channel = nn.Conv2d(narrow, channels, 1)
        self.v_layer_7x1, self.v_layer_5x1, self.v_layer_3x1 = (
            nn.Conv2d(narrow, narrow, (size, 1), padding=(size // 2, 0)) for size in (7, 5, 3)
        )
        self.q_layer_1x7, self.q_layer_1x5, self.q_layer_1x3 = (
            nn.Conv2d(narrow, narrow, (1, size), padding=(0, size // 2)) for size in (7, 5, 3)
        )
        self.c_layer_7x7, self.c_layer_5x5, self.c_layer_3x3 = (
            nn.Conv2d(narrow, narrow, size, padding=size // 2) for size in (7, 5, 3)
        )
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, channels, H, W)` to the same shape."""
        z = self.conv1x1_reduce_channel(x)
        z = self.c_layer_7x7(z) + self.v_layer_7x1(z) + self.q_layer_1x7(z)
        z = self.c_layer_5x5(z) + self.v_layer_5x1(z) + self.q_layer_1x5(z)
        z = self.c_layer_3x3(z) + self.v_layer_3x1(z) + self.q_layer_1x3(z)
        return x + F.relu(self.bn(self.conv1x1_return_channel(z)))

    def joined(self) -> nn.Module:
        """Return the same block with one convolution for three, if its BatchNorm is folded."""
        return JoinedIntraCLBlock(self) if isinstance(self.bn, nn.Identity) else self


class JoinedIntraCLBlock(nn.Module):
    """`IntraCLBlock` for inference: tall and wide kernels are parts of the square ones.

    Args:
        block: with its BatchNorm folded.
    """

    def __init__(self, block: IntraCLBlock) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            block.conv1x1_reduce_channel,
            _sum(block.c_layer_7x7, block.v_layer_7x1, block.q_layer_1x7),
            _sum(block.c_layer_5x5, block.v_layer_5x1, block.q_layer_1x5),
            _sum(block.c_layer_3x3, block.v_layer_3x1, block.q_layer_1x3),
            block.conv1x1_return_channel,
            nn.ReLU(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """`(N, channels, H, W)` to the same shape."""
        return self.layers(x).add_(x)


@torch.no_grad()
def _sum(square: nn.Conv2d, *flat: nn.Conv2d) -> nn.Conv2d:
    """Return the one convolution that computes the sum of a square one and of flat ones."""
    weight, bias = square.weight.double(), cast("Tensor", square.bias).double()
    for conv in flat:
        sides = zip(square.kernel_size, conv.kernel_size, strict=True)
        rows, columns = ((large - small) // 2 for large, small in sides)
        weight = weight + F.pad(conv.weight.double(), (columns, columns, rows, rows))
        bias = bias + cast("Tensor", conv.bias).double()
    result = copy.copy(square)
    result._parameters = {
        "weight": nn.Parameter(weight.to(square.weight.dtype), requires_grad=False),
        "bias": nn.Parameter(bias.to(square.weight.dtype), requires_grad=False),
    }
    return result
