"""MobileNetV3 as a detector's backbone: four feature maps at 1/4 to 1/32 of the image.

Searching for MobileNetV3, https://arxiv.org/abs/1905.02244;
PaddleOCR: `ppocr/modeling/backbones/det_mobilenet_v3.py`.
"""

from __future__ import annotations

from torch import Tensor, nn

from architectures.backbones._mobilenet_v3 import STEM, ResidualUnit, scaled, variant
from architectures.layers.conv import ConvBNAct

# The units that halve the map, and those of them that open a new stage.
HALVING = {"large": (1, 3, 6, 12), "small": (0, 1, 3, 8)}
OPENING = {"large": (3, 6, 12), "small": (1, 3, 8)}
LAST = {"large": 960, "small": 576}


class MobileNetV3(nn.Module):
    """MobileNetV3 cut into `stage0` to `stage3`."""

    def __init__(
        self,
        in_channels: int = 3,
        model_name: str = "large",
        scale: float = 0.5,
        disable_se: bool = False,
    ) -> None:
        super().__init__()
        rows = variant(model_name, scale)
        channels = scaled(STEM, scale)
        self.conv = ConvBNAct(in_channels, channels, 3, stride=2, act="hardswish")

        stages: list[list[nn.Module]] = [[]]
        self.out_channels: list[int] = []
        for index, row in enumerate(rows):
            if index in OPENING[model_name]:
                stages.append([])
                self.out_channels.append(channels)
            stride = 2 if index in HALVING[model_name] else 1
            stages[-1].append(ResidualUnit(channels, row, scale, stride, disable_se))
            channels = scaled(row.out, scale)
        last = scaled(LAST[model_name], scale)
        stages[-1].append(ConvBNAct(channels, last, 1, act="hardswish"))
        self.out_channels.append(last)
        self.stage0, self.stage1, self.stage2, self.stage3 = (nn.Sequential(*s) for s in stages)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """`(N, 3, H, W)`, sides multiples of 32, to maps of 1/4, 1/8, 1/16 and 1/32 of the size."""
        c2 = self.stage0(self.conv(x))
        c3 = self.stage1(c2)
        c4 = self.stage2(c3)
        return c2, c3, c4, self.stage3(c4)
