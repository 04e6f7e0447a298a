"""ResNet45, the backbone of ABINet and VisionLAN: five stages behind one convolution.

Read Like Humans: Autonomous, Bidirectional and Iterative Language Modeling for Scene Text
Recognition, https://arxiv.org/abs/2103.06495;
PaddleOCR: `ppocr/modeling/backbones/rec_resnet_45.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

WIDTHS = (32, 64, 128, 256, 512)


class Downsample(nn.Sequential):
    """The shortcut of a unit that changes the shape: a 1x1 convolution with the stride."""

    folds: ClassVar = (("0", "1"),)

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__(
            nn.Conv2d(in_channels, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)
        )


class BasicBlock(nn.Module):
    """A 1x1 and a 3x3 convolution, the stride in the second, added to the input."""

    folds: ClassVar = (("conv1", "bn1"), ("conv2", "bn2"))

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        changes = stride != 1 or in_channels != channels
        self.downsample = Downsample(in_channels, channels, stride) if changes else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """`(N, in_channels, H, W)` to `(N, channels, H / stride, W / stride)`."""
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + self.downsample(x))


class ResNet45(nn.Module):
    """Stages of so many `layers` (units), whose first units have the `strides`."""

    folds: ClassVar = (("conv1", "bn1"),)

    def __init__(
        self,
        in_channels: int = 3,
        layers: Sequence[int] = (3, 4, 6, 6, 3),
        strides: Sequence[int] = (2, 1, 2, 1, 1),
    ) -> None:
        super().__init__()
        self.out_channels = WIDTHS[-1]
        self.conv1 = nn.Conv2d(in_channels, WIDTHS[0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(WIDTHS[0])
        stages = []
        channels = WIDTHS[0]
        for width, count, stride in zip(WIDTHS, layers, strides, strict=True):
            units = [BasicBlock(channels, width, stride)]
            units += [BasicBlock(width, width, 1) for _ in range(count - 1)]
            stages.append(nn.Sequential(*units))
            channels = width
        self.layer1, self.layer2, self.layer3, self.layer4, self.layer5 = stages

    def forward(self, x: Tensor) -> Tensor:
        """`(N, in_channels, H, W)` to `(N, 512, H / s, W / s)`, s the product of the strides."""
        x = F.relu(self.bn1(self.conv1(x)))
        return self.layer5(self.layer4(self.layer3(self.layer2(self.layer1(x)))))
