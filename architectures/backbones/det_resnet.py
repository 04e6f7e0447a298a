"""ResNet as a detector's backbone: four feature maps at 1/4 to 1/32 of the image.

Deep Residual Learning for Image Recognition, https://arxiv.org/abs/1512.03385;
PaddleOCR: `ppocr/modeling/backbones/det_resnet.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from architectures.backbones._resnet_vd import Stages, StridedShortcut
from architectures.layers.conv import ConvBatchNorm


class ResNet(Stages):
    """ResNet, its units named `res2a`, `res2b`, ..., `res3a`, ..., as in its first release."""

    shortcut = StridedShortcut

    def __init__(
        self,
        in_channels: int = 3,
        layers: int = 50,
        dcn_stage: Sequence[bool] | None = None,
        out_indices: Sequence[int] | None = None,
    ) -> None:
        super().__init__(layers, dcn_stage, out_indices)
        self.conv = ConvBatchNorm(in_channels, 64, 7, stride=2, act="relu")

    def unit_name(self, stage: int, index: int) -> str:
        """The third stage of the deepest networks has more units than there are letters."""
        numbered = self.layers > 100 and stage == 2 and index > 0
        return f"res{stage + 2}" + (f"b{index}" if numbered else "abcdefgh"[index])

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """`(N, 3, H, W)`, sides multiples of 32, to maps of 1/4, 1/8, 1/16 and 1/32 of the size."""
        return self.maps(self.conv(x))
