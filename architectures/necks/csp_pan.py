"""CSP-PAN: a path aggregation network of cross stage partial layers.

PP-PicoDet, https://arxiv.org/abs/2111.00902; PaddleOCR: `ppocr/modeling/necks/csp_pan.py`;
PaddleDetection: `ppdet/modeling/necks/csp_pan.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from architectures.layers.onednn import ActivatedConv2d, AddedConv2d, has_onednn

ACTIVATIONS: dict[str, type[nn.Module]] = {"hard_swish": nn.Hardswish, "leaky_relu": nn.LeakyReLU}


class ConvBNLayer(nn.Module):
    """Convolution that keeps the size at stride 1, BatchNorm and activation."""

    folds: ClassVar = (("conv", "bn"),)
    activates: ClassVar = (("conv", "act"),)
    chain: ClassVar = ("conv", "bn", "act")

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, stride: int, act: str
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            in_channels, out_channels, kernel_size, stride, kernel_size // 2, bias=False
        )
        self.bn = nn.BatchNorm2d(out_channels)
        self.act = ACTIVATIONS[act]()

    def forward(self, x: Tensor) -> Tensor:
        """`(N, in_channels, H, W)` to `(N, out_channels, H / stride, W / stride)`."""
        return self.act(self.bn(self.conv(x)))


class DPModule(nn.Module):
    """Depthwise and pointwise convolution, each with BatchNorm and activation.

    Args:
        in_channels: a multiple of `out_channels`.
        out_channels: also the number of groups of the first convolution.
        kernel_size: of the first convolution.
        stride: of the first convolution.
        act: `hard_swish` or `leaky_relu`.
        act_at_end: whether an activation follows the pointwise convolution.
    """

    folds: ClassVar = (("dwconv", "bn1"), ("pwconv", "bn2"))
    activates: ClassVar = (("dwconv", "act"), ("pwconv", "last_act"))
    chain: ClassVar = ("dwconv", "bn1", "act", "pwconv", "bn2", "last_act")

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int,
        act: str,
        act_at_end: bool = True,
    ) -> None:
        super().__init__()
        self.dwconv = nn.Conv2d(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            kernel_size // 2,
            groups=out_channels,
            bias=False,
        )
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.pwconv = nn.Conv2d(out_channels, out_channels, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.act = ACTIVATIONS[act]()
        self.last_act = ACTIVATIONS[act]() if act_at_end else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """`(N, in_channels, H, W)` to `(N, out_channels, H / stride, W / stride)`."""
        x = self.act(self.bn1(self.dwconv(x)))
        return self.last_act(self.bn2(self.pwconv(x)))


class DarknetBottleneck(nn.Module):
    """A 1x1 and a larger convolution, without a shortcut."""

    def __init__(self, channels: int, kernel_size: int, depthwise: bool, act: str) -> None:
        super().__init__()
        layer = DPModule if depthwise else ConvBNLayer
        self.conv1 = ConvBNLayer(channels, channels, 1, 1, act)
        self.conv2 = layer(channels, channels, kernel_size, 1, act)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, channels, H, W)` to the same shape."""
        return self.conv2(self.conv1(x))


class CSPLayer(nn.Module):
    """Cross stage partial layer: half the channels pass through bottlenecks."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        num_blocks: int,
        depthwise: bool,
        act: str,
    ) -> None:
        super().__init__()
        half = out_channels // 2
        self.main_conv = ConvBNLayer(in_channels, half, 1, 1, act)
        self.short_conv = ConvBNLayer(in_channels, half, 1, 1, act)
        self.final_conv = ConvBNLayer(2 * half, out_channels, 1, 1, act)
        self.blocks = nn.Sequential(
            *(DarknetBottleneck(half, kernel_size, depthwise, act) for _ in range(num_blocks))
        )

    @property
    def is_folded(self) -> bool:
        """Whether no BatchNorm stands between the first convolutions and their activations."""
        return all(isinstance(c.bn, nn.Identity) for c in (self.main_conv, self.short_conv))

    def forward(self, x: Tensor) -> Tensor:
        """`(N, in_channels, H, W)` to `(N, out_channels, H, W)`."""
        short = self.short_conv(x)
        return self.final_conv(torch.cat([self.blocks(self.main_conv(x)), short], 1))


class JoinedCSPLayer(nn.Module):
    """`CSPLayer` of two maps that lie side by side, for inference.

    Each map has a convolution of its own, and the results are added, so that the maps need not be
    joined, and the smaller one is enlarged afterwards. Both halves of the channels are computed at
    once, in the place where the last convolution reads them.

    Args:
        layer: with its BatchNorms folded; half of its channels are those of either map.
    """

    def __init__(self, layer: CSPLayer) -> None:
        super().__init__()
        convs = layer.main_conv.conv, layer.short_conv.conv
        weight = torch.cat([conv.weight.detach() for conv in convs])
        biases = torch.cat([conv.bias.detach() for conv in convs if conv.bias is not None]), None
        self.width, inputs = len(weight) // 2, weight.shape[1] // 2
        first, second = (
            nn.Conv2d(inputs, len(weight), 1, bias=False, device="meta") for _ in biases
        )
        for conv, part, bias in zip((first, second), weight.split(inputs, 1), biases, strict=True):
            conv.weight = nn.Parameter(part.contiguous(), requires_grad=False)
            conv.bias = None if bias is None else nn.Parameter(bias, requires_grad=False)
        self.first, self.second = ActivatedConv2d(first), AddedConv2d(second)
        self.act = layer.main_conv.act
        self.final_conv, self.blocks = layer.final_conv, layer.blocks

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Two maps, the first one as large as the second or smaller, to one like the second."""
        x = self.act(self.second(second, _enlarged(self.first(first), second)))
        main = x[:, : self.width]
        main.copy_(self.blocks(main.contiguous(memory_format=torch.channels_last)))
        return self.final_conv(x)


def _enlarged(x: Tensor, other: Tensor) -> Tensor:
    """Return a map in the size of another one, by its nearest values."""
    size = other.shape[2:]
    return x if x.shape[2:] == size else F.interpolate(x, size=size, mode="nearest")


def _fused(block: nn.Module, first: Tensor, second: Tensor) -> Tensor:
    """Apply a block to two maps side by side, the first one as large as the second or smaller."""
    if isinstance(block, JoinedCSPLayer):
        return block(first, second)
    return block(torch.cat([_enlarged(first, second), second], 1))


class ChannelAdapters(nn.Module):
    """One 1x1 convolution per map, to a common number of channels."""

    def __init__(self, in_channels: Sequence[int], out_channels: int, act: str) -> None:
        super().__init__()
        self.convs = nn.ModuleList(
            ConvBNLayer(channels, out_channels, 1, 1, act) for channels in in_channels
        )

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Maps of `in_channels` to maps of `out_channels`, sizes unchanged."""
        return [conv(x) for conv, x in zip(self.convs, maps, strict=True)]


class PathAggregation(nn.Module):
    """Fuses maps from coarse to fine and back; the subclass supplies the fusing block.

    Args:
        in_channels: of the maps, from fine to coarse, each half as large as the one before.
        out_channels: of every fused map.
        kernel_size: of the larger convolutions.
        use_depthwise: whether the larger convolutions are depthwise and pointwise.
        act: `hard_swish` or `leaky_relu`.
        num_features: number of results; one more than `in_channels` adds a coarser map.
        block: makes a layer from `2 * out_channels` to `out_channels`.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        out_channels: int,
        kernel_size: int,
        use_depthwise: bool,
        act: str,
        num_features: int | None,
        block: Callable[[], nn.Module],
    ) -> None:
        super().__init__()
        levels = len(in_channels)
        extra = (levels if num_features is None else num_features) - levels
        if extra not in (0, 1):
            name = type(self).__name__
            raise ValueError(f"{name} makes {levels} or {levels + 1} maps, not {num_features}")
        self.out_channels = [out_channels] * (levels + extra)
        self.conv_t = ChannelAdapters(in_channels, out_channels, act)
        layer = DPModule if use_depthwise else ConvBNLayer
        if extra:
            self.first_top_conv = layer(out_channels, out_channels, kernel_size, 2, act)
            self.second_top_conv = layer(out_channels, out_channels, kernel_size, 2, act)
        self.extra = bool(extra)
        self.top_down_blocks = nn.ModuleList(block() for _ in range(levels - 1))
        self.downsamples = nn.ModuleList(
            layer(out_channels, out_channels, kernel_size, 2, act) for _ in range(levels - 1)
        )
        self.bottom_up_blocks = nn.ModuleList(block() for _ in range(levels - 1))

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Maps of `in_channels`, fine to coarse, to maps of `out_channels`."""
        adapted = self.conv_t(maps)
        fused = [adapted[-1]]
        for block, finer in zip(self.top_down_blocks, adapted[-2::-1], strict=True):
            fused.insert(0, _fused(block, fused[0], finer))
        results = [fused[0]]
        for downsample, block, coarser in zip(
            self.downsamples, self.bottom_up_blocks, fused[1:], strict=True
        ):
            results.append(_fused(block, downsample(results[-1]), coarser))
        if self.extra:
            top = self.first_top_conv(adapted[-1])
            results.append(top + self.second_top_conv(results[-1]))
        return tuple(results)


class CSPPAN(PathAggregation):
    """Path aggregation by CSP layers of `num_csp_blocks` bottlenecks; see `PathAggregation`."""

    def __init__(
        self,
        in_channels: Sequence[int],
        out_channels: int,
        kernel_size: int = 5,
        num_csp_blocks: int = 1,
        use_depthwise: bool = True,
        act: str = "hard_swish",
        num_features: int | None = None,
    ) -> None:
        def block() -> nn.Module:
            return CSPLayer(
                2 * out_channels, out_channels, kernel_size, num_csp_blocks, use_depthwise, act
            )

        super().__init__(
            in_channels, out_channels, kernel_size, use_depthwise, act, num_features, block
        )

    def joined(self) -> nn.Module:
        """Let each block convolve the maps that it fuses on their own, if oneDNN can add them."""
        if has_onednn():
            for blocks in (self.top_down_blocks, self.bottom_up_blocks):
                for number, block in enumerate(blocks):
                    if isinstance(block, CSPLayer) and block.is_folded:
                        blocks[number] = JoinedCSPLayer(block)
        return self
