"""ASTER's backbone: residual units down to a map of height 1, and a BiLSTM along it.

ASTER: An Attentional Scene Text Recognizer with Flexible Rectification,
https://ieeexplore.ieee.org/document/8395027;
PaddleOCR: `ppocr/modeling/backbones/rec_resnet_aster.py`.
"""

from __future__ import annotations

from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from architectures.necks.rnn import image_to_sequence

Stride = tuple[int, int]

STEM = 32
# Units, channels and stride of each stage.
STAGES = (
    (3, 32, (2, 2)), (4, 64, (2, 2)), (6, 128, (2, 1)), (6, 256, (2, 1)), (3, 512, (2, 1)),
)  # fmt: skip


class ConvNorm(nn.Sequential):
    """A convolution and BatchNorm; with `relu`, that behind."""

    folds: ClassVar = (("0", "1"),)

    def __init__(
        self, in_channels: int, channels: int, kernel_size: int, stride: Stride, relu: bool = False
    ) -> None:
        padding = kernel_size // 2
        layers: list[nn.Module] = [
            nn.Conv2d(in_channels, channels, kernel_size, stride, padding, bias=False),
            nn.BatchNorm2d(channels),
        ]
        super().__init__(*layers, *([nn.ReLU()] if relu else []))


class AsterBlock(nn.Module):
    """A 1x1 convolution with the stride and a 3x3, added to the input; `first` to a shortcut."""

    folds: ClassVar = (("conv1", "bn1"), ("conv2", "bn2"))

    def __init__(self, in_channels: int, channels: int, stride: Stride, first: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 1, stride, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample = ConvNorm(in_channels, channels, 1, stride) if first else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """`(N, in_channels, H, W)` to `(N, channels, H / stride, W / stride)`."""
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + self.downsample(x))


class ResNet_ASTER(nn.Module):  # noqa: N801, PaddleOCR's name
    """One convolution, five stages, and two layers of BiLSTM unless `with_lstm` is False."""

    def __init__(self, in_channels: int = 3, with_lstm: bool = True) -> None:
        super().__init__()
        self.layer0 = ConvNorm(in_channels, STEM, 3, (1, 1), relu=True)
        before = STEM
        for number, (count, width, stride) in enumerate(STAGES, start=1):
            blocks = [AsterBlock(before, width, stride, first=True)]
            blocks += [AsterBlock(width, width, (1, 1), first=False) for _ in range(count - 1)]
            self.add_module(f"layer{number}", nn.Sequential(*blocks))
            before = width
        self.out_channels = before
        self.rnn: nn.LSTM | None = None
        if with_lstm:
            self.rnn = nn.LSTM(before, before // 2, 2, batch_first=True, bidirectional=True)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, in_channels, 32, W)` to `(N, W / 4, 512)`."""
        for number in range(len(STAGES) + 1):
            x = self.get_submodule(f"layer{number}")(x)
        columns = image_to_sequence(x)
        return columns if self.rnn is None else self.rnn(columns)[0]
