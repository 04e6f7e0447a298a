"""ResNet32, the backbone of SPIN: FAN's residual network as it is.

Focusing Attention: Towards Accurate Text Recognition in Natural Images,
https://arxiv.org/abs/1709.02054; PaddleOCR: `ppocr/modeling/backbones/rec_resnet_32.py`.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from architectures.backbones._fan_blocks import (
    LowerStages,
    add_upper_stages,
    run_upper_stages,
    upper_folds,
)


class ResNet(LowerStages):
    """All four stages."""

    folds: ClassVar = (*LowerStages.folds, *upper_folds())

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels)
        add_upper_stages(self, out_channels)

    @staticmethod
    def first_act(x: Tensor) -> Tensor:
        """ReLU as Paddle's, which makes 0 of NaN: powers of an image beyond -1..1 give NaN."""
        return torch.where(x > 0, x, 0)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, in_channels, 32, W)` to `(N, out_channels, 1, W / 4 + 1)`."""
        return run_upper_stages(self, super().forward(x))


class ResNet32(nn.Module):
    """The network under the name that it has in checkpoints."""

    def __init__(self, in_channels: int, out_channels: int = 512) -> None:
        super().__init__()
        self.out_channels = out_channels
        self.ConvNet = ResNet(in_channels, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, in_channels, 32, W)` to `(N, out_channels, 1, W / 4 + 1)`."""
        return self.ConvNet(x)
