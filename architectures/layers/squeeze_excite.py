"""Squeeze-and-excitation with the slope of its hard sigmoid as an option."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class SqueezeExcite(nn.Module):
    """Weighs each channel by a hard sigmoid of two 1x1 convolutions over the channel means.

    Squeeze-and-Excitation Networks, https://arxiv.org/abs/1709.01507; `SEModule` in PaddleOCR's
    `ppocr/modeling/backbones/det_mobilenet_v3.py` has slope 0.2, `SELayer` in `rec_lcnetv3.py` 1/6.
    """

    def __init__(self, channels: int, slope: float, reduction: int = 4) -> None:
        super().__init__()
        self.slope = slope
        self.conv1 = nn.Conv2d(channels, channels // reduction, 1)
        self.conv2 = nn.Conv2d(channels // reduction, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, C, H, W)` to the same shape."""
        return x * self.gate(x)

    def gate(self, x: Tensor) -> Tensor:
        """Map `(N, C, H, W)` to the factor of each channel, `(N, C, 1, 1)`."""
        gate = self.conv2(F.relu(self.conv1(F.adaptive_avg_pool2d(x, 1))))
        return (self.slope * gate + 0.5).clamp(0.0, 1.0)
