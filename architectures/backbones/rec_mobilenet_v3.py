"""MobileNetV3 as a recogniser's or the direction classifier's backbone: the height shrinks most.

Searching for MobileNetV3, https://arxiv.org/abs/1905.02244;
PaddleOCR: `ppocr/modeling/backbones/rec_mobilenet_v3.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from architectures.backbones._mobilenet_v3 import STEM, ResidualUnit, scaled, variant
from architectures.layers.conv import ConvBNAct
from architectures.layers.pooling import max_pool2d

# The units whose strides the options set.
STRIDED = {"large": (0, 1, 3, 12), "small": (0, 1, 3, 8)}
LAST = {"large": 960, "small": 576}


class MobileNetV3(nn.Module):
    """MobileNetV3 whose units stride vertically; the stem and the last pooling halve both sides.

    `large_stride` and `small_stride` are the four vertical strides of the table in use.
    """

    def __init__(
        self,
        in_channels: int = 3,
        model_name: str = "small",
        scale: float = 0.5,
        large_stride: Sequence[int] = (1, 2, 2, 2),
        small_stride: Sequence[int] = (2, 2, 2, 2),
        disable_se: bool = False,
    ) -> None:
        super().__init__()
        rows = variant(model_name, scale)
        strides = large_stride if model_name == "large" else small_stride
        if len(strides) != 4:
            raise ValueError(f"MobileNetV3 takes four strides, not {list(strides)}")
        channels = scaled(STEM, scale)
        self.conv1 = ConvBNAct(in_channels, channels, 3, stride=2, act="hardswish")

        by_unit: dict[int, int | tuple[int, int]] = {
            unit: (stride, 1) for unit, stride in zip(STRIDED[model_name], strides, strict=True)
        }
        if model_name == "large":
            by_unit[0] = strides[0]  # PaddleOCR applies this one, and only this one, to both sides
        blocks = []
        for index, row in enumerate(rows):
            blocks.append(ResidualUnit(channels, row, scale, by_unit.get(index, 1), disable_se))
            channels = scaled(row.out, scale)
        self.blocks = nn.Sequential(*blocks)
        self.out_channels = scaled(LAST[model_name], scale)
        self.conv2 = ConvBNAct(channels, self.out_channels, 1, act="hardswish")

    def forward(self, x: Tensor) -> Tensor:
        """`(N, 3, 32, W)` to `(N, out_channels, 1, W / 4)` with the strides 1, 2, 2, 2."""
        return max_pool2d(self.conv2(self.blocks(self.conv1(x))), 2)
