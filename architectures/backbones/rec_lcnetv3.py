"""PPLCNetV3, the backbone of the PP-OCRv4 and PP-OCRv5 mobile detectors and recognisers.

After PP-LCNet, https://arxiv.org/abs/2109.15099, with RepVGG's parallel branches,
https://arxiv.org/abs/2101.03697; PaddleOCR: `ppocr/modeling/backbones/rec_lcnetv3.py`.
"""

from __future__ import annotations

from functools import partial
from typing import ClassVar, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from architectures.layers.affine import LearnableAffine
from architectures.layers.conv import ConvBNAct, make_divisible
from architectures.layers.pooling import avg_pool2d
from architectures.layers.squeeze_excite import SqueezeExcite
from architectures.reparameterize import channel_affine, folded, set_branch, set_convolution

Stride = int | tuple[int, int]


class Row(NamedTuple):
    """One block: a depthwise and a pointwise layer; channels before scaling."""

    kernel: int
    in_channels: int
    out_channels: int
    det_stride: Stride
    rec_stride: Stride
    se: bool


# fmt: off
STAGES: dict[str, tuple[Row, ...]] = {
    #       kernel in   out  det  rec     se
    "blocks2": (
        Row(3,     16,  32,  1,   1,      False),
    ),
    "blocks3": (
        Row(3,     32,  64,  2,   1,      False),
        Row(3,     64,  64,  1,   1,      False),
    ),
    "blocks4": (
        Row(3,     64,  128, 2,   (2, 1), False),
        Row(3,     128, 128, 1,   1,      False),
    ),
    "blocks5": (
        Row(3,     128, 256, 2,   (1, 2), False),
        Row(5,     256, 256, 1,   1,      False),
        Row(5,     256, 256, 1,   1,      False),
        Row(5,     256, 256, 1,   1,      False),
        Row(5,     256, 256, 1,   1,      False),
    ),
    "blocks6": (
        Row(5,     256, 512, 2,   (2, 1), True),
        Row(5,     512, 512, 1,   1,      True),
        Row(5,     512, 512, 1,   (2, 1), False),
        Row(5,     512, 512, 1,   1,      False),
    ),
}
# fmt: on
STEM = 16
DET_CHANNELS = (16, 24, 56, 480)


def scaled(channels: int, scale: float) -> int:
    """A channel count of the table at the network's scale."""
    return make_divisible(channels * scale, 16)


class Act(nn.Module):
    """Hard swish, then one learnable scale and bias."""

    inplace = False

    def __init__(self) -> None:
        super().__init__()
        self.lab = LearnableAffine()

    def forward(self, x: Tensor) -> Tensor:
        """`x` and the result have one shape."""
        return self.lab(F.hardswish(x, inplace=self.inplace))


class DeployedRepLayer(nn.Module):
    """A `LearnableRepLayer` whose branches are one convolution."""

    folds: ClassVar = (("reparam_conv", "lab"),)

    def __init__(self, conv: nn.Conv2d, lab: nn.Module, act: nn.Module) -> None:
        super().__init__()
        self.reparam_conv = conv
        self.lab = lab
        self.act = act

    def forward(self, x: Tensor) -> Tensor:
        """As `LearnableRepLayer.forward`."""
        return self.act(self.lab(self.reparam_conv(x)))

    @property
    def is_folded(self) -> bool:
        """Whether the activation comes right after the convolution, and is none or an `Act`."""
        return isinstance(self.lab, nn.Identity) and isinstance(self.act, (Act, nn.Identity))

    def layers(self) -> list[nn.Module]:
        """The layers of the folded form, in the order in which they are applied."""
        if isinstance(self.act, Act):
            return [self.reparam_conv, nn.Hardswish(inplace=True), self.act.lab]
        return [self.reparam_conv]


class LearnableRepLayer(nn.Module):
    """The sum of `num_conv_branches` kxk branches, a 1x1 branch and an identity branch.

    Each ends in a BatchNorm; larger kernels also have a 1x1 branch, and an identity branch
    where the shapes allow it.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: Stride = 1,
        groups: int = 1,
        num_conv_branches: int = 1,
    ) -> None:
        super().__init__()
        # PaddleOCR skips the activation where `stride == 2`, which no pair equals: so in the
        # detector's strided layers, not in the recogniser's. Checkpoints hold the unused `act.lab`.
        self.activated = stride != 2
        has_identity = out_channels == in_channels and stride == 1
        self.identity = nn.BatchNorm2d(in_channels) if has_identity else None
        self.conv_kxk = nn.ModuleList(
            ConvBNAct(in_channels, out_channels, kernel_size, stride, groups)
            for _ in range(num_conv_branches)
        )
        has_1x1 = kernel_size > 1
        self.conv_1x1 = ConvBNAct(in_channels, out_channels, 1, stride, groups) if has_1x1 else None
        self.lab = LearnableAffine()
        self.act = Act()

    def forward(self, x: Tensor) -> Tensor:
        """`(N, in_channels, H, W)` to `(N, out_channels, H / stride, W / stride)`."""
        total = self.conv_kxk[0](x)
        for branch in (self.identity, self.conv_1x1, *self.conv_kxk[1:]):
            if branch is not None:
                total = total + branch(x)
        total = self.lab(total)
        return self.act(total) if self.activated else total

    def deployed(self) -> nn.Module:
        """The same layer with its branches merged into one convolution."""
        conv = self._branches()[0].conv  # already of the merged kernel's shape
        set_convolution(conv, self._merged)
        return DeployedRepLayer(conv, self.lab, self.act if self.activated else nn.Identity())

    def restore(self, conv: nn.Conv2d) -> None:
        """Let the first branch compute `conv`; the others are zero."""
        first = self._branches()[0]
        set_branch(first.conv, first.bn, conv)

    def _branches(self) -> list[ConvBNAct]:
        """The branches with a convolution, the larger kernels first."""
        return [module for module in self.modules() if isinstance(module, ConvBNAct)]

    def _merged(self) -> tuple[Tensor, Tensor]:
        """Weight and bias, float64, of the convolution that computes the sum of the branches."""
        first, *others = self._branches()
        weight, bias = folded(first.conv, first.bn)
        for branch in others:
            kernel, shift = folded(branch.conv, branch.bn)
            border = (weight.shape[-1] - kernel.shape[-1]) // 2
            weight, bias = weight + F.pad(kernel, [border] * 4), bias + shift
        if self.identity is not None:
            scale, shift = channel_affine(self.identity)
            # The identity's kernel is 1 at the centre, from each channel to itself.
            channel, centre = torch.arange(len(weight)), weight.shape[-1] // 2
            weight[channel, channel % weight.shape[1], centre, centre] += scale
            bias = bias + shift
        return weight, bias


class LCNetV3Block(nn.Module):
    """A depthwise layer, channel weights in some blocks, a pointwise layer."""

    def __init__(self, row: Row, stride: Stride, scale: float, conv_kxk_num: int) -> None:
        super().__init__()
        channels = scaled(row.in_channels, scale)
        self.dw_conv = LearnableRepLayer(
            channels, channels, row.kernel, stride, channels, conv_kxk_num
        )
        self.se = SqueezeExcite(channels, slope=1 / 6) if row.se else nn.Identity()
        self.pw_conv = LearnableRepLayer(
            channels, scaled(row.out_channels, scale), 1, num_conv_branches=conv_kxk_num
        )

    def forward(self, x: Tensor) -> Tensor:
        """`(N, in_channels, H, W)` to `(N, out_channels, H / stride, W / stride)`."""
        return self.pw_conv(self.se(self.dw_conv(x)))

    def joined(self) -> nn.Module:
        """Return the layers in a row, with an affine map in the pointwise convolution after it."""
        parts = self.dw_conv, self.pw_conv
        if not all(isinstance(part, DeployedRepLayer) and part.is_folded for part in parts):
            return self
        first, second = (cast("DeployedRepLayer", part).layers() for part in parts)
        if not isinstance(self.se, nn.Identity):
            first.append(self.se)
        elif isinstance(affine := first[-1], LearnableAffine):
            conv = cast("nn.Conv2d", second[0])
            set_convolution(conv, partial(_after, affine, conv))
            first.pop()
        return nn.Sequential(*first, *second)


def _after(affine: LearnableAffine, conv: nn.Conv2d) -> tuple[Tensor, Tensor]:
    """Weight and bias, float64, of the 1x1 convolution that computes `conv(affine(x))`."""
    weight, bias = conv.weight.double(), cast("Tensor", conv.bias).double()
    scale, shift = channel_affine(affine)
    return weight * scale, bias + shift * weight.sum((1, 2, 3))


class PPLCNetV3(nn.Module):
    """PPLCNetV3 for detection (`det=True`: four maps) or recognition (one map of height 1)."""

    def __init__(
        self, in_channels: int = 3, scale: float = 1.0, conv_kxk_num: int = 4, det: bool = False
    ) -> None:
        super().__init__()
        self.det = det
        self.conv1 = ConvBNAct(in_channels, scaled(STEM, scale), 3, stride=2)
        self.blocks2, self.blocks3, self.blocks4, self.blocks5, self.blocks6 = (
            nn.Sequential(
                *(
                    LCNetV3Block(
                        row, row.det_stride if det else row.rec_stride, scale, conv_kxk_num
                    )
                    for row in rows
                )
            )
            for rows in STAGES.values()
        )
        outs = [scaled(rows[-1].out_channels, scale) for rows in STAGES.values()]
        self.out_channels: int | list[int] = outs[-1]
        if det:
            self.out_channels = [int(channels * scale) for channels in DET_CHANNELS]
            self.layer_list = nn.ModuleList(
                nn.Conv2d(*pair, 1) for pair in zip(outs[1:], self.out_channels, strict=True)
            )

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Map an image `(N, 3, H, W)` to the features for the neck.

        Detection: maps of 1/4, 1/8, 1/16 and 1/32 of the size, sides multiples of 32.
        Recognition: `(N, 3, 48, W)` to `(N, out_channels, 1, W / 8)`.
        """
        c2 = self.blocks3(self.blocks2(self.conv1(x)))
        c3 = self.blocks4(c2)
        c4 = self.blocks5(c3)
        c5 = self.blocks6(c4)
        if self.det:
            return tuple(conv(c) for conv, c in zip(self.layer_list, (c2, c3, c4, c5), strict=True))
        return avg_pool2d(c5, (3, 2))
