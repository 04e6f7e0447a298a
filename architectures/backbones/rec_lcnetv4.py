"""PPLCNetV4, the backbone of the PP-OCRv6 detectors and recognisers; its stem is PP-HGNetV2's.

PaddleOCR: `ppocr/modeling/backbones/rec_lcnetv4.py`.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple, cast

from torch import Tensor, nn

from architectures.backbones import rec_pphgnetv2
from architectures.layers.conv import ConvBNAct
from architectures.layers.onednn import AddedConv2d, has_onednn
from architectures.layers.pooling import avg_pool2d
from architectures.layers.squeeze_excite import SqueezeExcite
from architectures.reparameterize import (
    channel_affine,
    folded,
    merged_into,
    set_branch,
    set_identity,
)

Stride = int | tuple[int, int]


class Stage(NamedTuple):
    """Blocks of one width, one letter each: `s` weighs its channels, `-` does not."""

    channels: int
    stride: Stride  # of the first block
    blocks: str


class Variant(NamedTuple):
    """A network of one size: the channels inside and behind its stem, and its stages."""

    inner: int
    stem: int
    stages: dict[str, Stage]
    plain_stem: bool = False


def _det(inner: int, *channels: int) -> Variant:
    strides, blocks = (1, 2, 2, 2), ("s-", "-s-", "-s-s-", "-s-")
    rows = map(Stage, channels, strides, blocks)
    return Variant(inner, channels[0], {f"blocks_s{i}": row for i, row in enumerate(rows, 1)})


# fmt: off
DET: dict[str, Variant] = {
    #              inner stages
    "tiny":   _det(16,   32,  48,  64,  160),
    "small":  _det(24,   48,  96,  192, 384),
    "medium": _det(64,   128, 256, 512, 896),
}
REC: dict[str, Variant] = {
    #                        channels stride  blocks
    "tiny": Variant(24, 48, {
        "blocks2": Stage(48,  1,      "s"),
        "blocks3": Stage(48,  1,      "-"),
        "blocks4": Stage(96,  (2, 1), "-s-"),
        "blocks5": Stage(160, (2, 1), "-s--"),
    }, plain_stem=True),
    "small": Variant(48, 96, {
        "blocks2": Stage(96,  1,      "s"),
        "blocks3": Stage(96,  1,      "--"),
        "blocks4": Stage(192, (2, 1), "-s-s-s-"),
        "blocks5": Stage(384, (2, 1), "-s-"),
    }),
    "medium": Variant(64, 128, {
        "blocks2": Stage(128, 1,      "s"),
        "blocks3": Stage(256, 1,      "--s"),
        "blocks4": Stage(512, (2, 1), "-s-s-s-"),
        "blocks5": Stage(768, (2, 1), "-s-"),
    }),
}
# fmt: on
KERNEL = 3


class StemBlock(rec_pphgnetv2.StemBlock):
    """PP-HGNetV2's stem, which is folded here when it is exported."""

    folded_in_exports = True


class RepDWConv(nn.Module):
    """A BatchNorm over the sum of a kxk depthwise branch, a 1x1 one and the map itself."""

    def __init__(self, channels: int, kernel_size: int) -> None:
        super().__init__()
        self.conv = ConvBNAct(channels, channels, kernel_size, groups=channels)
        self.conv1 = nn.Conv2d(channels, channels, 1, groups=channels, bias=False)
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, channels, H, W)` to the same shape."""
        return self.bn(self.conv(x) + self.conv1(x) + x)

    def deployed(self) -> nn.Module:
        """The same layer with its branches merged into one convolution."""
        return merged_into(self.conv.conv, self._merged)

    def restore(self, conv: nn.Conv2d) -> None:
        """Let the first branch compute `conv`; the 1x1 one takes away what the map itself adds."""
        set_branch(self.conv.conv, self.conv.bn, conv)
        self.conv1.weight.fill_(-1)
        set_identity(self.bn)

    def _merged(self) -> tuple[Tensor, Tensor]:
        """Weight and bias, float64, of the convolution that computes all of it."""
        weight, bias = folded(self.conv.conv, self.conv.bn)
        centre = weight.shape[-1] // 2
        weight[:, :, centre, centre] += self.conv1.weight.double()[:, :, 0, 0] + 1
        scale, shift = channel_affine(self.bn)
        return weight * scale.reshape(-1, 1, 1, 1), bias * scale + shift


class LCNetV4Block(nn.Module):
    """Mixes neighbours by a depthwise layer, then channels by two pointwise ones, twice as wide.

    Where the shape stays, the depthwise layer is re-parameterisable and the channels' mix is added.
    """

    folded_in_exports = True

    def __init__(self, in_channels: int, out_channels: int, stride: Stride, se: bool) -> None:
        super().__init__()
        self.residual = stride == 1 and in_channels == out_channels
        tokens: OrderedDict[str, nn.Module] = OrderedDict()
        if self.residual:
            tokens["rep_dw"] = RepDWConv(in_channels, KERNEL)
        else:
            tokens["dw_conv"] = ConvBNAct(in_channels, in_channels, KERNEL, stride, in_channels)
        if se:
            tokens["se"] = SqueezeExcite(in_channels, slope=1 / 6)
        self.token_mixer = nn.Sequential(tokens)
        self.channel_mixer = nn.Sequential(
            OrderedDict(
                expand=ConvBNAct(in_channels, 2 * in_channels, 1),
                act=nn.GELU(),
                compress=ConvBNAct(2 * in_channels, out_channels, 1),
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        """`(N, in_channels, H, W)` to `(N, out_channels, H / stride, W / stride)`."""
        x = self.token_mixer(x)
        mixed = self.channel_mixer(x)
        return x + mixed if self.residual else mixed

    def joined(self) -> nn.Module:
        """Return the same block in fewer operations, if it adds, and oneDNN can."""
        is_folded = isinstance(self.channel_mixer.get_submodule("compress.bn"), nn.Identity)
        return JoinedBlock(self) if self.residual and is_folded and has_onednn() else self


class JoinedBlock(nn.Module):
    """`LCNetV4Block` whose last convolution is added to the map in one operation, for inference.

    Args:
        block: with its BatchNorms folded.
    """

    def __init__(self, block: LCNetV4Block) -> None:
        super().__init__()
        self.token_mixer = block.token_mixer
        self.expand = block.channel_mixer[:2]
        self.compress = AddedConv2d(cast("nn.Conv2d", block.channel_mixer[2].conv))

    def forward(self, x: Tensor) -> Tensor:
        """`(N, C, H, W)` to the same shape."""
        x = self.token_mixer(x)
        return self.compress(self.expand(x), x)


class PPLCNetV4(nn.Module):
    """PPLCNetV4 for detection (`det=True`: four maps) or recognition (one map of height 1)."""

    def __init__(self, in_channels: int = 3, det: bool = False, model_size: str = "small") -> None:
        super().__init__()
        variants = DET if det else REC
        if model_size not in variants:
            raise ValueError(
                f"PPLCNetV4 has no model_size {model_size!r}; known: {', '.join(variants)}"
            )
        variant = variants[model_size]
        self.det = det
        # PaddleOCR names the stem differently in its two branches.
        self.stem_name = "stem" if det else "conv1"
        self.add_module(self.stem_name, _stem(in_channels, variant))
        channels = variant.stem
        for name, stage in variant.stages.items():
            blocks = []
            for place, letter in enumerate(stage.blocks):
                stride = 1 if place else stage.stride
                blocks.append(LCNetV4Block(channels, stage.channels, stride, letter == "s"))
                channels = stage.channels
            self.add_module(name, nn.Sequential(*blocks))
        self.stage_names = tuple(variant.stages)
        widths = [stage.channels for stage in variant.stages.values()]
        self.out_channels: int | list[int] = widths if det else widths[-1]

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Map an image `(N, 3, H, W)` to the features for the neck.

        Detection: maps of 1/4, 1/8, 1/16 and 1/32 of the size, sides multiples of 32.
        Recognition: `(N, 3, 48, W)` to `(N, out_channels, 1, W / 8)`.
        """
        x = self.get_submodule(self.stem_name)(x)
        maps = []
        for name in self.stage_names:
            x = self.get_submodule(name)(x)
            maps.append(x)
        return tuple(maps) if self.det else avg_pool2d(x, (3, 2))


def _stem(in_channels: int, variant: Variant) -> nn.Module:
    """The stem; PaddleOCR's export does not fold the plain one."""
    if not variant.plain_stem:
        return StemBlock(in_channels, variant.inner, variant.stem, text_rec=False)
    return nn.Sequential(
        ConvBNAct(in_channels, variant.inner, 3, 2),
        nn.GELU(),
        ConvBNAct(variant.inner, variant.stem, 3, 2),
    )
