"""The blocks of MobileNetV3 and their two tables, shared by detection and recognition.

Searching for MobileNetV3, https://arxiv.org/abs/1905.02244;
PaddleOCR: `ppocr/modeling/backbones/det_mobilenet_v3.py` and `rec_mobilenet_v3.py`, which differ in
the strides only.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn

from architectures.layers.conv import ConvBNAct, make_divisible
from architectures.layers.squeeze_excite import SqueezeExcite


class Row(NamedTuple):
    """One residual unit; channels before scaling."""

    kernel: int
    expanded: int
    out: int
    se: bool
    act: str


# fmt: off
LARGE = (
    #   kernel expanded out  se     act
    Row(3,     16,      16,  False, "relu"),
    Row(3,     64,      24,  False, "relu"),
    Row(3,     72,      24,  False, "relu"),
    Row(5,     72,      40,  True,  "relu"),
    Row(5,     120,     40,  True,  "relu"),
    Row(5,     120,     40,  True,  "relu"),
    Row(3,     240,     80,  False, "hardswish"),
    Row(3,     200,     80,  False, "hardswish"),
    Row(3,     184,     80,  False, "hardswish"),
    Row(3,     184,     80,  False, "hardswish"),
    Row(3,     480,     112, True,  "hardswish"),
    Row(3,     672,     112, True,  "hardswish"),
    Row(5,     672,     160, True,  "hardswish"),
    Row(5,     960,     160, True,  "hardswish"),
    Row(5,     960,     160, True,  "hardswish"),
)
SMALL = (
    #   kernel expanded out  se     act
    Row(3,     16,      16,  True,  "relu"),
    Row(3,     72,      24,  False, "relu"),
    Row(3,     88,      24,  False, "relu"),
    Row(5,     96,      40,  True,  "hardswish"),
    Row(5,     240,     40,  True,  "hardswish"),
    Row(5,     240,     40,  True,  "hardswish"),
    Row(5,     120,     48,  True,  "hardswish"),
    Row(5,     144,     48,  True,  "hardswish"),
    Row(5,     288,     96,  True,  "hardswish"),
    Row(5,     576,     96,  True,  "hardswish"),
    Row(5,     576,     96,  True,  "hardswish"),
)
# fmt: on
VARIANTS = {"large": LARGE, "small": SMALL}
SCALES = (0.35, 0.5, 0.75, 1.0, 1.25)
STEM = 16


def variant(model_name: str, scale: float) -> tuple[Row, ...]:
    """Return the table of that name; ValueError names the known names and scales."""
    if model_name not in VARIANTS:
        raise ValueError(
            f"MobileNetV3 has no model_name {model_name!r}; known: {', '.join(VARIANTS)}"
        )
    if scale not in SCALES:
        raise ValueError(f"MobileNetV3 has no scale {scale}; known: {', '.join(map(str, SCALES))}")
    return VARIANTS[model_name]


def scaled(channels: int, scale: float) -> int:
    """Return a channel count of the tables at the network's scale."""
    return make_divisible(channels * scale, 8)


class ResidualUnit(nn.Module):
    """Expand, filter each channel, weigh channels, project; a shortcut where shapes allow it."""

    def __init__(
        self,
        in_channels: int,
        row: Row,
        scale: float,
        stride: int | tuple[int, int],
        disable_se: bool,
    ) -> None:
        super().__init__()
        expanded, out = scaled(row.expanded, scale), scaled(row.out, scale)
        # A pair is never a shortcut, not even (1, 1): PaddleOCR compares it with the number 1.
        self.shortcut = stride == 1 and in_channels == out
        self.expand_conv = ConvBNAct(in_channels, expanded, 1, act=row.act)
        self.bottleneck_conv = ConvBNAct(
            expanded, expanded, row.kernel, stride, groups=expanded, act=row.act
        )
        use_se = row.se and not disable_se
        self.mid_se = SqueezeExcite(expanded, slope=0.2) if use_se else nn.Identity()
        self.linear_conv = ConvBNAct(expanded, out, 1)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, in_channels, H, W)` to `(N, out, H / stride, W / stride)`."""
        y = self.linear_conv(self.mid_se(self.bottleneck_conv(self.expand_conv(x))))
        return x + y if self.shortcut else y
