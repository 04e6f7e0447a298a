"""The pyramids of PP-OCRv6, whose large kernels are re-parameterisable.

UniRepLKNet, https://arxiv.org/abs/2311.15599; PaddleOCR: `ppocr/modeling/necks/db_fpn.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, cast

import torch
from torch import Tensor, nn

from architectures.layers.squeeze_excite import SqueezeExcite
from architectures.necks.db_fpn import MAP_FACTORS, RSELayer, add_down, join
from architectures.necks.lk_pan import PathAggregation
from architectures.reparameterize import folded, merged_into, set_branch

# Kernel size and dilation of the branches parallel to a large kernel, by its size.
DILATED = {
    5: ((3, 1), (3, 2)),
    7: ((5, 1), (3, 2), (3, 3)),
    9: ((5, 1), (5, 2), (3, 3), (3, 4)),
    11: ((5, 1), (5, 2), (3, 3), (3, 4), (3, 5)),
    13: ((5, 1), (7, 2), (3, 3), (3, 4), (3, 5)),
}


class DilatedReparamBlock(nn.Module):
    """The sum of a large depthwise kernel and smaller dilated ones, a BatchNorm after each."""

    def __init__(self, channels: int, kernel_size: int) -> None:
        super().__init__()
        if kernel_size not in DILATED:
            raise ValueError(
                f"there are no dilated branches for a kernel of {kernel_size}; there are for "
                f"{', '.join(map(str, DILATED))}"
            )
        self.lk_origin = depthwise(channels, kernel_size)
        self.origin_bn = nn.BatchNorm2d(channels)
        self.branches = [f"k{size}_{dilation}" for size, dilation in DILATED[kernel_size]]
        for name, (size, dilation) in zip(self.branches, DILATED[kernel_size], strict=True):
            self.add_module(f"dil_conv_{name}", depthwise(channels, size, dilation))
            self.add_module(f"dil_bn_{name}", nn.BatchNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        """`(N, channels, H, W)` to the same shape."""
        total = self.origin_bn(self.lk_origin(x))
        for conv, norm in self._dilated():
            total = total + norm(conv(x))
        return total

    def deployed(self) -> nn.Module:
        """The same layer with its branches merged into one convolution."""
        return merged_into(self.lk_origin, self._merged)

    def restore(self, conv: nn.Conv2d) -> None:
        """Let the large kernel compute `conv`; the dilated ones are zero."""
        set_branch(self.lk_origin, self.origin_bn, conv)

    def _dilated(self) -> list[tuple[nn.Conv2d, nn.BatchNorm2d]]:
        return [
            (getattr(self, f"dil_conv_{name}"), getattr(self, f"dil_bn_{name}"))
            for name in self.branches
        ]

    def _merged(self) -> tuple[Tensor, Tensor]:
        """Weight and bias, float64, of the convolution that computes the sum of the branches."""
        weight, bias = folded(self.lk_origin, self.origin_bn)
        for conv, norm in self._dilated():
            kernel, shift = folded(conv, norm)
            step, reach = conv.dilation[0], int(conv.padding[0])
            border = weight.shape[-1] // 2 - reach
            places = slice(border, border + 2 * reach + 1, step)
            weight[:, :, places, places] += kernel
            bias = bias + shift
        return weight, bias


def depthwise(channels: int, kernel_size: int, dilation: int = 1) -> nn.Conv2d:
    """A convolution of each channel by itself that keeps the size, without bias."""
    padding = dilation * (kernel_size // 2)
    return nn.Conv2d(
        channels,
        channels,
        kernel_size,
        padding=padding,
        dilation=dilation,
        groups=channels,
        bias=False,
    )


class RepLKFPN(nn.Module):
    """RSEFPN with each 3x3 convolution split into a large depthwise and a pointwise one."""

    inplace = False
    separate = False
    map_factors = MAP_FACTORS

    def __init__(
        self,
        in_channels: Sequence[int],
        out_channels: int,
        shortcut: bool = True,
        dilated_kernel_size: int = 7,
    ) -> None:
        super().__init__()
        self.out_channels = out_channels
        self.shortcut = shortcut
        narrow = out_channels // 4
        self.ins_conv = nn.ModuleList(
            RSELayer(channels, out_channels, 1, shortcut) for channels in in_channels
        )
        self.inp_conv_dw = nn.ModuleList(
            DilatedReparamBlock(out_channels, dilated_kernel_size) for _ in in_channels
        )
        self.inp_conv_pw = nn.ModuleList(
            nn.Conv2d(out_channels, narrow, 1, bias=False) for _ in in_channels
        )
        self.inp_conv_se = nn.ModuleList(SqueezeExcite(narrow, slope=0.2) for _ in in_channels)

    def forward(
        self, features: tuple[Tensor, Tensor, Tensor, Tensor]
    ) -> Tensor | tuple[Tensor, ...]:
        """Maps of 1/4, 1/8, 1/16 and 1/32 of the image to `(N, out_channels, H / 4, W / 4)`."""
        in2, in3, in4, in5 = (conv(c) for conv, c in zip(self.ins_conv, features, strict=True))
        maps = []
        for place, x in enumerate((*add_down(in2, in3, in4, in5, self.inplace), in5)):
            x = self.inp_conv_pw[place](self.inp_conv_dw[place](x))
            weighed = self.inp_conv_se[place](x)
            maps.append(x + weighed if self.shortcut else weighed)
        p2, p3, p4, p5 = maps
        return join(p2, p3, p4, p5, self.separate)


class DilatedReparamConv(nn.Module):
    """A large kernel as a re-parameterisable depthwise and a pointwise layer, and a BatchNorm."""

    folds: ClassVar = (("pw", "bn"),)
    folded_in_exports = True

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.dw = DilatedReparamBlock(in_channels, 9)
        self.pw = nn.Conv2d(in_channels, out_channels, 1, bias=False)
        self.bn = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, in_channels, H, W)` to `(N, out_channels, H, W)`."""
        return self.bn(self.pw(self.dw(x)))

    @torch.no_grad()
    def as_convolution(self) -> nn.Conv2d:
        """Return the one convolution that computes the same; PaddleX builds the neck of those."""
        dw = self.dw.deployed() if isinstance(self.dw, DilatedReparamBlock) else self.dw
        large = dw.get_submodule("reparam_conv")
        weight, bias = large.get_parameter("weight").double(), large.get_parameter("bias").double()
        pointwise, shift = folded(self.pw, self.bn)
        pointwise = pointwise[:, :, 0, 0]
        size = weight.shape[-1]
        whole = nn.Conv2d(self.pw.in_channels, self.pw.out_channels, size, padding=size // 2)
        whole.weight.copy_(torch.einsum("oi,ihw->oihw", pointwise, weight[:, 0]))
        cast("Tensor", whole.bias).copy_(pointwise @ bias + shift)
        return whole


class RepLKPAN(PathAggregation):
    """LKPAN with re-parameterisable 9x9 kernels."""

    def __init__(
        self, in_channels: Sequence[int], out_channels: int, intracl: bool = False
    ) -> None:
        super().__init__(in_channels, out_channels, intracl, DilatedReparamConv)
