"""ResNet_vd as a detector's backbone: four feature maps at 1/4 to 1/32 of the image.

Bag of Tricks for Image Classification (ResNet-D), https://arxiv.org/abs/1812.01187;
PaddleOCR: `ppocr/modeling/backbones/det_resnet_vd.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from architectures.backbones._resnet_vd import Stages
from architectures.layers.conv import ConvBatchNorm


class ResNet_vd(Stages):  # noqa: N801, PaddleOCR's name
    """ResNet_vd, its units named `bb_{stage}_{index}`."""

    moved_groups = 2

    def __init__(
        self,
        in_channels: int = 3,
        layers: int = 50,
        dcn_stage: Sequence[bool] | None = None,
        out_indices: Sequence[int] | None = None,
    ) -> None:
        super().__init__(layers, dcn_stage, out_indices)
        self.conv1_1 = ConvBatchNorm(in_channels, 32, 3, stride=2, act="relu")
        self.conv1_2 = ConvBatchNorm(32, 32, 3, act="relu")
        self.conv1_3 = ConvBatchNorm(32, 64, 3, act="relu")

    def unit_name(self, stage: int, index: int) -> str:
        """The stages count from 0, and so do their units."""
        return f"bb_{stage}_{index}"

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """`(N, 3, H, W)`, sides multiples of 32, to maps of 1/4, 1/8, 1/16 and 1/32 of the size."""
        return self.maps(self.conv1_3(self.conv1_2(self.conv1_1(x))))


class LayoutResNet(ResNet_vd):
    """ResNet_vd as the backbone of PP-YOLOv2, with the options of PaddleDetection.

    PaddleDetection: `ppdet/modeling/backbones/resnet.py`.

    Args:
        in_channels: of the image.
        depth: number of layers; 50 and more have units of three convolutions.
        return_idx: the stages, counted from 0, whose maps are returned.
        dcn_v2_stages: the stages whose 3x3 convolutions are deformable.
    """

    moved_groups = 1

    def __init__(
        self,
        in_channels: int = 3,
        depth: int = 50,
        return_idx: Sequence[int] = (0, 1, 2, 3),
        dcn_v2_stages: Sequence[int] = (),
    ) -> None:
        if depth < 50 and any(stage >= 0 for stage in dcn_v2_stages):
            raise ValueError("units of two convolutions that deform are not mirrored")
        deformable = [stage in dcn_v2_stages for stage in range(4)]
        super().__init__(in_channels, depth, deformable, return_idx)
