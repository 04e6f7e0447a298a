"""PP-LCNet, a classifier of page orientation and text line direction.

PP-LCNet, https://arxiv.org/abs/2109.15099; PaddleClas:
`ppcls/arch/backbone/legendary_models/pp_lcnet.py`; PaddleOCR has the same blocks in
`ppocr/modeling/backbones/det_pp_lcnet.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from architectures.layers.conv import ConvBNAct, make_divisible
from architectures.layers.dropping import drop_unscaled
from architectures.layers.squeeze_excite import SqueezeExcite

Stride = int | tuple[int, int]


class Row(NamedTuple):
    """One block; channels before scaling."""

    kernel: int
    in_channels: int
    out_channels: int
    se: bool = False


# fmt: off
STAGES: dict[str, tuple[Row, ...]] = {
    #       kernel in   out  se
    "blocks2": (
        Row(3,     16,  32),
    ),
    "blocks3": (
        Row(3,     32,  64),
        Row(3,     64,  64),
    ),
    "blocks4": (
        Row(3,     64,  128),
        Row(3,     128, 128),
    ),
    "blocks5": (
        Row(3,     128, 256),
        Row(5,     256, 256),
        Row(5,     256, 256),
        Row(5,     256, 256),
        Row(5,     256, 256),
        Row(5,     256, 256),
    ),
    "blocks6": (
        Row(5,     256, 512, True),
        Row(5,     512, 512, True),
    ),
}
# fmt: on
STEM = 16


def scaled(channels: int, scale: float) -> int:
    """A channel count of the table at the network's scale."""
    return make_divisible(channels * scale, 8)


class DepthwiseSeparable(nn.Module):
    """A depthwise layer, channel weights in some blocks, a pointwise layer."""

    chain: ClassVar = ("dw_conv", "se", "pw_conv")

    def __init__(self, row: Row, stride: Stride, scale: float) -> None:
        super().__init__()
        channels = scaled(row.in_channels, scale)
        self.dw_conv = ConvBNAct(
            channels, channels, row.kernel, stride, groups=channels, act="hardswish"
        )
        self.se = SqueezeExcite(channels, slope=1 / 6) if row.se else nn.Identity()
        self.pw_conv = ConvBNAct(channels, scaled(row.out_channels, scale), 1, act="hardswish")

    def forward(self, x: Tensor) -> Tensor:
        """`(N, in_channels, H, W)` to `(N, out_channels, H / stride, W / stride)`."""
        return self.pw_conv(self.se(self.dw_conv(x)))


class Stages(nn.Module):
    """The stem and five stages; `strides` are those of the stem and of `blocks3` to `blocks6`."""

    def __init__(self, in_channels: int, scale: float, strides: Sequence[Stride]) -> None:
        super().__init__()
        stem, *others = strides
        self.conv1 = ConvBNAct(in_channels, scaled(STEM, scale), 3, stem, act="hardswish")
        self.blocks2, self.blocks3, self.blocks4, self.blocks5, self.blocks6 = (
            nn.Sequential(
                *(
                    DepthwiseSeparable(row, stride if index == 0 else 1, scale)
                    for index, row in enumerate(rows)
                )
            )
            for rows, stride in zip(STAGES.values(), (1, *others), strict=True)
        )

    def maps(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Map an image `(N, 3, H, W)` to the maps of `blocks3` to `blocks6`."""
        c3 = self.blocks3(self.blocks2(self.conv1(x)))
        c4 = self.blocks4(c3)
        c5 = self.blocks5(c4)
        return c3, c4, c5, self.blocks6(c5)


class PPLCNet(Stages):
    """PP-LCNet up to its last linear layer, which is the head; the options are PaddleClas'.

    `stride_list` has the stride of the stem and those of the stages `blocks3` to `blocks6`.
    """

    def __init__(
        self,
        in_channels: int = 3,
        scale: float = 1.0,
        stride_list: Sequence[int | Sequence[int]] = (2, 2, 2, 2, 2),
        class_expand: int = 1280,
        dropout_prob: float = 0.2,
    ) -> None:
        if len(stride_list) != 5:
            raise ValueError(f"PPLCNet takes five strides, not {list(stride_list)}")
        strides = [s if isinstance(s, int) else (s[0], s[1]) for s in stride_list]
        super().__init__(in_channels, scale, strides)
        self.dropout_prob = dropout_prob
        self.out_channels = class_expand
        last = scaled(STAGES["blocks6"][-1].out_channels, scale)
        self.last_conv = nn.Conv2d(last, class_expand, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, 3, H, W)` to `(N, class_expand, 1, 1)`."""
        x = self.maps(x)[-1]
        x = F.hardswish(self.last_conv(F.adaptive_avg_pool2d(x, 1)))
        return drop_unscaled(x, self.dropout_prob, self.training)


class PPLCNetMaps(Stages):
    """PP-LCNet as the backbone of table networks: four maps, at 1/4 to 1/32 of the image."""

    def __init__(self, in_channels: int = 3, scale: float = 1.0) -> None:
        super().__init__(in_channels, scale, (2, 2, 2, 2, 2))
        names = ("blocks3", "blocks4", "blocks5", "blocks6")
        self.out_channels = [int(STAGES[name][-1].out_channels * scale) for name in names]

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """`(N, 3, H, W)` to maps of `out_channels` at 1/4, 1/8, 1/16 and 1/32 of the size."""
        return self.maps(x)


class LCNet(Stages):
    """PP-LCNet as the backbone of PicoDet: the maps of `feature_maps`, 2 to 5 (1/4 to 1/32).

    PaddleDetection: `ppdet/modeling/backbones/lcnet.py`.
    """

    def __init__(
        self, in_channels: int = 3, scale: float = 1.0, feature_maps: Sequence[int] = (3, 4, 5)
    ) -> None:
        super().__init__(in_channels, scale, (2, 2, 2, 2, 2))
        names = ("blocks3", "blocks4", "blocks5", "blocks6")
        if not feature_maps or not set(feature_maps) <= {2, 3, 4, 5}:
            raise ValueError(f"feature_maps of LCNet are of 2 to 5, not {list(feature_maps)}")
        self.levels = [n for n in range(len(names)) if n + 2 in feature_maps]
        widths = [scaled(STAGES[name][-1].out_channels, scale) for name in names]
        self.out_channels = [widths[level] for level in self.levels]

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """`(N, 3, H, W)` to maps of `out_channels`, from fine to coarse."""
        maps = self.maps(x)
        return tuple(maps[level] for level in self.levels)
