"""PPHGNetV2: the backbone of the PP-OCRv5 server models (B4) and of PP-FormulaNet (B4, B6).

PP-HGNetV2 has no paper of its own; RT-DETR, https://arxiv.org/abs/2304.08069, describes its use;
PaddleOCR: `ppocr/modeling/backbones/rec_pphgnetv2.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from architectures.layers.conv import ConvBNAct
from architectures.layers.onednn import AddedConv2d, has_onednn, split_inputs
from architectures.layers.pooling import avg_pool2d

Stride = int | tuple[int, int]


class Stage(NamedTuple):
    """One stage; a stride of None leaves the map as it comes, without a layer."""

    mid_channels: int
    out_channels: int
    blocks: int
    light: bool
    kernel: int
    det_stride: Stride | None
    rec_stride: Stride | None


class Variant(NamedTuple):
    """One network: channels inside and after the stem, layers of a block, the stages."""

    stem: tuple[int, int]
    layers: int
    stages: tuple[Stage, ...]

    def narrowed(self, width: float) -> Variant:
        """The same network with that share of the channels."""
        stem = (round(self.stem[0] * width), round(self.stem[1] * width))
        stages = tuple(
            stage._replace(
                mid_channels=round(stage.mid_channels * width),
                out_channels=round(stage.out_channels * width),
            )
            for stage in self.stages
        )
        return self._replace(stem=stem, stages=stages)


# fmt: off
B4 = Variant(stem=(32, 48), layers=6, stages=(
    #     mid  out   blocks light  kernel det   rec
    Stage(48,  128,  1,     False, 3,     None, (2, 1)),
    Stage(96,  512,  1,     False, 3,     2,    (1, 2)),
    Stage(192, 1024, 3,     True,  5,     2,    (2, 1)),
    Stage(384, 2048, 1,     True,  5,     2,    (2, 1)),
))
B6 = Variant(stem=(48, 96), layers=6, stages=(
    Stage(96,  192,  2,     False, 3,     None, None),
    Stage(192, 512,  3,     False, 3,     2,    None),
    Stage(384, 1024, 6,     True,  5,     2,    None),
    Stage(768, 2048, 3,     True,  5,     2,    None),
))
# fmt: on
LAYOUT = {"L": B4, "H": B6}


def pad_after(x: Tensor) -> Tensor:
    """Zeros on the right and at the bottom, as Paddle's "SAME" pads for 2x2 windows."""
    return F.pad(x, (0, 1, 0, 1))


class StemBlock(nn.Module):
    """Stem that halves the map twice (recognition: once), with a 2x2 branch parallel to pooling."""

    def __init__(
        self, in_channels: int, mid_channels: int, out_channels: int, text_rec: bool
    ) -> None:
        super().__init__()
        half = mid_channels // 2
        self.stem1 = ConvBNAct(in_channels, mid_channels, 3, stride=2, act="relu")
        self.stem2a = ConvBNAct(mid_channels, half, 2, act="relu", padding=0)
        self.stem2b = ConvBNAct(half, mid_channels, 2, act="relu", padding=0)
        stride = 1 if text_rec else 2
        self.stem3 = ConvBNAct(2 * mid_channels, mid_channels, 3, stride, act="relu")
        self.stem4 = ConvBNAct(mid_channels, out_channels, 1, act="relu")

    def forward(self, x: Tensor) -> Tensor:
        """`(N, in_channels, H, W)` to `(N, out_channels, H / 4, W / 4)`, for recognition H / 2."""
        # After the ReLU no value is below 0, so zeros at the border never win in the pooling.
        x = pad_after(self.stem1(x))
        convolved = self.stem2b(pad_after(self.stem2a(x)))
        pooled = F.max_pool2d(x, 2, stride=1)
        return self.stem4(self.stem3(torch.cat([pooled, convolved], 1)))

    def joined(self) -> nn.Module:
        """Return the same block without maps side by side, if it is folded and oneDNN can."""
        is_folded = isinstance(self.stem3.bn, nn.Identity)
        return JoinedStemBlock(self) if is_folded and has_onednn() else self


class JoinedStemBlock(nn.Module):
    """`StemBlock` whose third convolution adds up those of its two inputs, for inference.

    The maximum of four neighbours is that of two maxima of two, which are taken in less time.

    Args:
        block: with its BatchNorms folded.
    """

    def __init__(self, block: StemBlock) -> None:
        super().__init__()
        self.stem1, self.stem2a, self.stem2b = block.stem1, block.stem2a, block.stem2b
        pooled, convolved = split_inputs(block.stem3.conv, 2)
        self.stem3_pooled, self.stem3_convolved = pooled, AddedConv2d(convolved, relu=True)
        self.stem4 = block.stem4

    def forward(self, x: Tensor) -> Tensor:
        """`(N, in_channels, H, W)` to `(N, out_channels, H / 4, W / 4)`, for recognition H / 2."""
        x = _padded_after(self.stem1(x))
        convolved = self.stem2b(_padded_after(self.stem2a(x)))
        wide = torch.maximum(x[..., :-1], x[..., 1:])
        pooled = torch.maximum(wide[:, :, :-1], wide[:, :, 1:])
        return self.stem4(self.stem3_convolved(convolved, self.stem3_pooled(pooled)))


def _padded_after(x: Tensor) -> Tensor:
    """`pad_after` of a map in channels-last order, which writes each value once."""
    count, channels, height, width = x.shape
    padded = x.new_empty(count, height + 1, width + 1, channels).permute(0, 3, 1, 2)
    padded[:, :, :height, :width] = x
    padded[:, :, height] = 0
    padded[:, :, :height, width] = 0
    return padded


class LightConvBNAct(nn.Module):
    """A pointwise layer without activation, then a depthwise one."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int) -> None:
        super().__init__()
        self.conv1 = ConvBNAct(in_channels, out_channels, 1)
        self.conv2 = ConvBNAct(
            out_channels, out_channels, kernel_size, groups=out_channels, act="relu"
        )

    def forward(self, x: Tensor) -> Tensor:
        """`(N, in_channels, H, W)` to `(N, out_channels, H, W)`."""
        return self.conv2(self.conv1(x))


class HGV2Block(nn.Module):
    """A chain of layers; its input and all their outputs are gathered, squeezed and widened."""

    def __init__(self, in_channels: int, stage: Stage, layers: int, identity: bool) -> None:
        super().__init__()
        self.identity = identity
        mid, out, kernel = stage.mid_channels, stage.out_channels, stage.kernel
        self.layers = nn.ModuleList(
            LightConvBNAct(channels, mid, kernel)
            if stage.light
            else ConvBNAct(channels, mid, kernel, act="relu")
            for channels in (in_channels, *[mid] * (layers - 1))
        )
        gathered = in_channels + layers * mid
        self.aggregation_squeeze_conv = ConvBNAct(gathered, out // 2, 1, act="relu")
        self.aggregation_excitation_conv = ConvBNAct(out // 2, out, 1, act="relu")

    def forward(self, x: Tensor) -> Tensor:
        """`(N, in_channels, H, W)` to `(N, out_channels, H, W)`."""
        outputs = [x]
        for layer in self.layers:
            outputs.append(layer(outputs[-1]))
        y = self.aggregation_squeeze_conv(torch.cat(outputs, 1))
        y = self.aggregation_excitation_conv(y)
        return x + y if self.identity else y


class HGV2Stage(nn.Module):
    """A depthwise layer that makes the map smaller, then blocks."""

    def __init__(self, in_channels: int, stage: Stage, stride: Stride | None, layers: int) -> None:
        super().__init__()
        self.downsample = (
            ConvBNAct(in_channels, in_channels, 3, stride, groups=in_channels)
            if stride
            else nn.Identity()
        )
        ins = (in_channels, *[stage.out_channels] * (stage.blocks - 1))
        self.blocks = nn.Sequential(
            *(
                HGV2Block(channels, stage, layers, identity=index > 0)
                for index, channels in enumerate(ins)
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        """`(N, in_channels, H, W)` to `(N, out_channels, H / stride, W / stride)`."""
        return self.blocks(self.downsample(x))


class PPHGNetV2(nn.Module):
    """PPHGNetV2 for detection (`det`: four maps) or recognition (`text_rec`: a map of height 1).

    Checkpoints also hold unused image classification layers, which are not built.
    """

    def __init__(self, in_channels: int, variant: Variant, det: bool, text_rec: bool) -> None:
        super().__init__()
        if det == text_rec:
            raise ValueError("PPHGNetV2 is built with det: true or with text_rec: true")
        self.det = det
        self.stem = StemBlock(in_channels, *variant.stem, text_rec)
        outs = [stage.out_channels for stage in variant.stages]
        ins = (variant.stem[-1], *outs[:-1])
        self.stages = nn.ModuleList(
            HGV2Stage(
                channels, stage, stage.det_stride if det else stage.rec_stride, variant.layers
            )
            for channels, stage in zip(ins, variant.stages, strict=True)
        )
        self.out_channels: int | list[int] = outs if det else outs[-1]

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Map an image `(N, 3, H, W)` to the features for the neck.

        Detection: maps of 1/4, 1/8, 1/16 and 1/32 of the size, sides multiples of 32.
        Recognition: `(N, 3, 48, W)` to `(N, out_channels, 1, W / 8)`.
        """
        x = self.stem(x)
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return tuple(maps) if self.det else avg_pool2d(x, (3, 2))


class PPHGNetV2_B4(PPHGNetV2):  # noqa: N801, PaddleOCR's name
    """PPHGNetV2 in its size B4."""

    def __init__(self, in_channels: int = 3, det: bool = False, text_rec: bool = False) -> None:
        super().__init__(in_channels, B4, det, text_rec)


class LayoutPPHGNetV2(nn.Module):
    """PPHGNetV2 as the backbone of RT-DETR: the maps of `return_idx`, 0 to 3 (1/4 to 1/32).

    PaddleDetection: `ppdet/modeling/backbones/hgnet_v2.py`.
    """

    def __init__(
        self, in_channels: int = 3, arch: str = "L", return_idx: Sequence[int] = (1, 2, 3)
    ) -> None:
        super().__init__()
        if arch not in LAYOUT:
            raise ValueError(f"PPHGNetV2 has no arch {arch!r}; known: {', '.join(LAYOUT)}")
        variant = LAYOUT[arch]
        network = PPHGNetV2(in_channels, variant, det=True, text_rec=False)
        self.stem, self.stages = network.stem, network.stages
        self.return_idx = tuple(return_idx)
        self.out_channels = [variant.stages[index].out_channels for index in self.return_idx]

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """`(N, 3, H, W)`, sides multiples of 32, to maps of `out_channels`, fine to coarse."""
        x = self.stem(x)
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return tuple(maps[index] for index in self.return_idx)


class _Formula(nn.Module):
    """A PPHGNetV2 for images of formulas, of one channel or three, as a sequence."""

    network: str
    variant: Variant

    def __init__(self, in_channels: int = 3, width: float = 1.0) -> None:
        super().__init__()
        variant = self.variant if width == 1 else self.variant.narrowed(width)
        self.add_module(self.network, PPHGNetV2(in_channels, variant, det=True, text_rec=False))
        self.out_channels = variant.stages[-1].out_channels

    def forward(self, x: Tensor) -> Tensor:
        """`(N, 1 or 3, H, W)` to `(N, H * W / 1024, out_channels)`."""
        if x.shape[1] == 1:
            x = x.expand(-1, 3, -1, -1)
        return self.get_submodule(self.network)(x)[-1].flatten(2).transpose(1, 2)


class PPHGNetV2_B4_Formula(_Formula):  # noqa: N801, PaddleOCR's name
    """The backbone of PP-FormulaNet-S; `width` is the share of the channels, 1 in PaddleOCR."""

    network, variant = "pphgnet_b4", B4


class PPHGNetV2_B6_Formula(_Formula):  # noqa: N801, PaddleOCR's name
    """The backbone of PP-FormulaNet_plus-M; `width` as above."""

    network, variant = "pphgnet_b6", B6
