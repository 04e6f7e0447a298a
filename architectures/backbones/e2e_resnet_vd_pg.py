"""ResNet50 as PGNet's backbone: a fifth stage, and maps from the image itself down to 1/64.

Deep Residual Learning for Image Recognition, https://arxiv.org/abs/1512.03385;
PaddleOCR: `ppocr/modeling/backbones/e2e_resnet_vd_pg.py`.
"""

from __future__ import annotations

from torch import Tensor

from architectures.backbones._resnet_vd import StridedShortcut
from architectures.backbones.det_resnet_vd_sast import FiveStages
from architectures.layers.conv import ConvBatchNorm


class ResNet(FiveStages):
    """The five stages behind the stem of the first ResNet, whose shortcuts have strides too.

    Only the file's name speaks of ResNet_vd: PaddleOCR's class holds that one's means and stem
    nowhere.
    """

    shortcut = StridedShortcut
    broken = (18, 34)  # PaddleOCR's units of two 3x3 convolutions have no stride in the shortcut

    def __init__(self, in_channels: int = 3, layers: int = 50) -> None:
        super().__init__(in_channels, layers)
        self.conv1_1 = ConvBatchNorm(in_channels, 64, 7, stride=2, act="relu")

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """`(N, 3, H, W)`, sides multiples of 64, to the image and its maps of 1/2 to 1/64."""
        return self.maps(x, self.conv1_1(x))
