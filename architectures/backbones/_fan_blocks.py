"""The residual network of FAN, whose parts ResNet31, ResNet32 and ResNetRFL are made of.

Focusing Attention: Towards Accurate Text Recognition in Natural Images,
https://arxiv.org/abs/1709.02054; PaddleOCR: `ppocr/modeling/backbones/rec_resnet_31.py`,
`rec_resnet_32.py` and `rec_resnet_rfl.py`.
"""

from __future__ import annotations

from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from architectures.layers.pooling import max_pool2d

UNITS = (1, 2, 5, 3)  # in each of the four stages


class Downsample(nn.Sequential):
    """The shortcut of a unit that changes the number of channels."""

    folds: ClassVar = (("0", "1"),)

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__(nn.Conv2d(in_channels, channels, 1, bias=False), nn.BatchNorm2d(channels))


class BasicBlock(nn.Module):
    """A residual unit: two 3x3 convolutions, added to the input."""

    folds: ClassVar = (("conv1", "bn1"), ("conv2", "bn2"))

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        changes = in_channels != channels
        self.downsample = Downsample(in_channels, channels) if changes else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """`(N, in_channels, H, W)` to `(N, channels, H, W)`."""
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + self.downsample(x))


def units(in_channels: int, channels: int, count: int) -> nn.Sequential:
    """`count` units, of which the first may change the number of channels."""
    first, *others = [in_channels, *[channels] * (count - 1)]
    return nn.Sequential(
        BasicBlock(first, channels), *(BasicBlock(width, channels) for width in others)
    )


class LowerStages(nn.Module):
    """Two convolutions, two stages, and a convolution behind each: a quarter of the size."""

    folds: ClassVar[tuple[tuple[str, str], ...]] = (
        ("conv0_1", "bn0_1"), ("conv0_2", "bn0_2"), ("conv1", "bn1"), ("conv2", "bn2"),
    )  # fmt: skip

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        sixteenth, eighth, quarter, half = (out_channels // n for n in (16, 8, 4, 2))
        self.conv0_1 = nn.Conv2d(in_channels, sixteenth, 3, padding=1, bias=False)
        self.bn0_1 = nn.BatchNorm2d(sixteenth)
        self.conv0_2 = nn.Conv2d(sixteenth, eighth, 3, padding=1, bias=False)
        self.bn0_2 = nn.BatchNorm2d(eighth)
        self.layer1 = units(eighth, quarter, UNITS[0])
        self.conv1 = nn.Conv2d(quarter, quarter, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(quarter)
        self.layer2 = units(quarter, half, UNITS[1])
        self.conv2 = nn.Conv2d(half, half, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(half)

    @staticmethod
    def first_act(x: Tensor) -> Tensor:
        """The activation behind the first convolution."""
        return F.relu(x)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, in_channels, H, W)` to `(N, out_channels / 2, H / 4, W / 4)`."""
        x = self.first_act(self.bn0_1(self.conv0_1(x)))
        x = F.relu(self.bn0_2(self.conv0_2(x)))
        x = self.layer1(max_pool2d(x, 2))
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.layer2(max_pool2d(x, 2))
        return F.relu(self.bn2(self.conv2(x)))


# Of the upper two stages: convolutions, each with its BatchNorm.
_UPPER = (("conv3", "bn3"), ("conv4_1", "bn4_1"), ("conv4_2", "bn4_2"))


def upper_folds(prefix: str = "") -> tuple[tuple[str, str], ...]:
    """Pairs of convolution and normalisation of the upper stages that are folded."""
    return tuple((prefix + conv, prefix + norm) for conv, norm in _UPPER)


def add_upper_stages(network: nn.Module, channels: int, prefix: str = "") -> None:
    """Give a network the upper two stages, whose names begin with `prefix`."""
    modules = {
        "layer3": units(channels // 2, channels, UNITS[2]),
        "conv3": nn.Conv2d(channels, channels, 3, padding=1, bias=False),
        "bn3": nn.BatchNorm2d(channels),
        "layer4": units(channels, channels, UNITS[3]),
        "conv4_1": nn.Conv2d(channels, channels, 2, (2, 1), (0, 1), bias=False),
        "bn4_1": nn.BatchNorm2d(channels),
        "conv4_2": nn.Conv2d(channels, channels, 2, bias=False),
        "bn4_2": nn.BatchNorm2d(channels),
    }
    for name, module in modules.items():
        network.add_module(prefix + name, module)


def run_upper_stages(network: nn.Module, x: Tensor, prefix: str = "") -> Tensor:
    """`(N, channels / 2, 8, W)` to `(N, channels, 1, W + 1)`."""

    def run(name: str, x: Tensor) -> Tensor:
        return network.get_submodule(prefix + name)(x)

    x = run("layer3", max_pool2d(x, 2, (2, 1), (0, 1)))
    x = F.relu(run("bn3", run("conv3", x)))
    x = run("layer4", x)
    for conv, norm in _UPPER[1:]:
        x = F.relu(run(norm, run(conv, x)))
    return x
