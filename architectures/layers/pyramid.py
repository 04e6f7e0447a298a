"""A convolution over maps of several sizes, none of which is enlarged first: for inference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeGuard

import torch.nn.functional as F
from torch import Tensor, nn

from architectures.layers.onednn import AddedConv2d, split_inputs


def is_separable(conv: nn.Module) -> TypeGuard[nn.Conv2d]:
    """Return whether `PyramidConv2d` can compute a layer."""
    return (
        type(conv) is nn.Conv2d
        and (conv.groups, conv.stride, conv.dilation) == (1, (1, 1), (1, 1))
        and conv.padding == tuple(size // 2 for size in conv.kernel_size)
        and conv.padding_mode == "zeros"
        and conv.kernel_size[0] == conv.kernel_size[1]
    )


class PyramidConv2d(nn.Module):
    """The convolution, and its ReLU, of maps that repeat the values of smaller ones.

    Where a value is repeated, weights that it is multiplied by can be added first: the convolution
    of a map enlarged by two is a transposed convolution of the small map with kernels of 4x4 and
    stride 2, so that four weights take the place of nine.

    Args:
        conv: which `is_separable`; its input are the maps, enlarged, side by side.
        channels: the channels of each map.
        factors: how many times as large its sides become; of the last one 1, of the others more.
        relu: whether negative values become 0.
    """

    def __init__(
        self, conv: nn.Conv2d, channels: Sequence[int], factors: Sequence[int], relu: bool
    ) -> None:
        super().__init__()
        *coarse, finest = split_inputs(conv, channels)
        self.factors = tuple(factors[:-1])
        self.padding = conv.kernel_size[0] // 2
        self.coarse = nn.ParameterList(
            nn.Parameter(_enlarging(part.weight, factor), requires_grad=False)
            for part, factor in zip(coarse, self.factors, strict=True)
        )
        self.finest = AddedConv2d(finest, relu)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps `(N, channels, H / factor, W / factor)` to `(N, out_channels, H, W)`."""
        *coarse, finest = maps
        first, *others = (
            F.conv_transpose2d(x, weight, stride=factor, padding=self.padding)
            for x, weight, factor in zip(coarse, self.coarse, self.factors, strict=True)
        )
        for other in others:
            first += other
        result: Tensor = self.finest(finest, first)
        return result


def _enlarging(weight: Tensor, factor: int) -> Tensor:
    """Return the weights of the transposed convolution with stride `factor`."""
    outs, ins, *size = weight.shape
    kernels = weight.double().flip(2, 3).transpose(0, 1).reshape(ins * outs, 1, *size)
    sums = F.conv_transpose2d(kernels, kernels.new_ones(1, 1, factor, factor))
    return sums.reshape(ins, outs, *sums.shape[2:]).to(weight.dtype)
