"""PPHGNet_small, the backbone of the PP-OCRv4 server detectors and recognisers.

PP-HGNet has no paper of its own; its blocks gather the outputs of all their layers, as VoVNet's do,
https://arxiv.org/abs/1911.06667; PaddleOCR: `ppocr/modeling/backbones/rec_hgnet.py`.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from architectures.layers.conv import ConvBNAct
from architectures.layers.pooling import avg_pool2d

Stride = int | tuple[int, int]


class Stage(NamedTuple):
    """One stage; a stride of None leaves the map as it comes, without a layer."""

    mid_channels: int
    out_channels: int
    blocks: int
    det_stride: Stride | None
    rec_stride: Stride | None


class Variant(NamedTuple):
    """One network: channels of the stem, layers of a block, the stages."""

    stem: tuple[int, ...]
    layers: int
    stages: tuple[Stage, ...]


# fmt: off
SMALL = Variant(stem=(64, 64, 128), layers=6, stages=(
    #     mid  out   blocks det   rec
    Stage(128, 256,  1,     None, (2, 1)),
    Stage(160, 512,  1,     2,    (1, 2)),
    Stage(192, 768,  2,     2,    (2, 1)),
    Stage(224, 1024, 1,     2,    (2, 1)),
))
# fmt: on


class ESEModule(nn.Module):
    """Weighs each channel by the sigmoid of one 1x1 convolution over the channel means."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, C, H, W)` to the same shape."""
        return x * self.conv(F.adaptive_avg_pool2d(x, 1)).sigmoid()


class HGBlock(nn.Module):
    """A chain of 3x3 layers; its input and all their outputs are gathered and weighed."""

    def __init__(
        self, in_channels: int, mid_channels: int, out_channels: int, layers: int, identity: bool
    ) -> None:
        super().__init__()
        self.identity = identity
        ins = (in_channels, *[mid_channels] * (layers - 1))
        self.layers = nn.ModuleList(ConvBNAct(i, mid_channels, 3, act="relu") for i in ins)
        gathered = in_channels + layers * mid_channels
        self.aggregation_conv = ConvBNAct(gathered, out_channels, 1, act="relu")
        self.att = ESEModule(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, in_channels, H, W)` to `(N, out_channels, H, W)`."""
        outputs = [x]
        for layer in self.layers:
            outputs.append(layer(outputs[-1]))
        y = self.att(self.aggregation_conv(torch.cat(outputs, 1)))
        return x + y if self.identity else y


class HGStage(nn.Module):
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
                HGBlock(channels, stage.mid_channels, stage.out_channels, layers, index > 0)
                for index, channels in enumerate(ins)
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        """`(N, in_channels, H, W)` to `(N, out_channels, H / stride, W / stride)`."""
        return self.blocks(self.downsample(x))


class PPHGNet(nn.Module):
    """PPHGNet for detection (`det=True`: four maps) or recognition (one map of height 1)."""

    def __init__(self, in_channels: int, variant: Variant, det: bool) -> None:
        super().__init__()
        self.det = det
        ins = (in_channels, *variant.stem[:-1])
        self.stem = nn.Sequential(
            *(
                ConvBNAct(*channels, 3, stride=1 if index else 2, act="relu")
                for index, channels in enumerate(zip(ins, variant.stem, strict=True))
            )
        )
        outs = [stage.out_channels for stage in variant.stages]
        ins = (variant.stem[-1], *outs[:-1])
        self.stages = nn.ModuleList(
            HGStage(channels, stage, stage.det_stride if det else stage.rec_stride, variant.layers)
            for channels, stage in zip(ins, variant.stages, strict=True)
        )
        self.out_channels: int | list[int] = outs if det else outs[-1]

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Map an image `(N, 3, H, W)` to the features for the neck.

        Detection: maps of 1/4, 1/8, 1/16 and 1/32 of the size, sides multiples of 32.
        Recognition: `(N, 3, 48, W)` to `(N, out_channels, 1, W / 8)`.
        """
        x = self.stem(x)
        if self.det:
            x = F.max_pool2d(x, 3, stride=2, padding=1)
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return tuple(maps) if self.det else avg_pool2d(x, (3, 2))


class PPHGNet_small(PPHGNet):  # noqa: N801, PaddleOCR's name
    """PPHGNet in its small size."""

    def __init__(self, in_channels: int = 3, det: bool = False) -> None:
        super().__init__(in_channels, SMALL, det)
