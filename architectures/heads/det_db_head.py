"""The head of the DB detectors.

Real-time Scene Text Detection with Differentiable Binarization, https://arxiv.org/abs/1911.08947;
PaddleOCR: `ppocr/modeling/heads/det_db_head.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor, nn

from architectures.layers import BatchNormAct


class Head(nn.Module):
    """One map of probabilities, four times as large as the features."""

    folds: ClassVar = (("conv1", "conv_bn1"), ("conv2", "conv_bn2"))

    def __init__(self, in_channels: int, kernel_list: Sequence[int]) -> None:
        super().__init__()
        channels = in_channels // 4
        first, second, third = kernel_list
        self.conv1 = nn.Conv2d(in_channels, channels, first, padding=first // 2, bias=False)
        self.conv_bn1 = BatchNormAct(channels, "relu")
        self.conv2 = nn.ConvTranspose2d(channels, channels, second, stride=2)
        self.conv_bn2 = BatchNormAct(channels, "relu")
        self.conv3 = nn.ConvTranspose2d(channels, 1, third, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, in_channels, H, W)` to `(N, 1, 4 * H, 4 * W)`."""
        x = self.conv_bn1(self.conv1(x))
        x = self.conv_bn2(self.conv2(x))
        return self.conv3(x).sigmoid()


class DBHead(nn.Module):
    """The map of text probabilities, `binarize`; `thresh`, the thresholds, is for training."""

    logits_layer = "binarize.conv3"

    def __init__(self, in_channels: int, kernel_list: Sequence[int] = (3, 2, 2)) -> None:
        super().__init__()
        self.binarize = Head(in_channels, kernel_list)
        self.thresh = Head(in_channels, kernel_list)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, in_channels, H / 4, W / 4)` to `(N, 1, H, W)`."""
        return self.binarize(x)

    def deployed(self) -> nn.Module:
        """The head without `thresh`."""
        del self.thresh
        return self
