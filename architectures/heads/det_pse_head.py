"""The head of PSENet: the text at several scales.

Shape Robust Text Detection with Progressive Scale Expansion Network,
https://arxiv.org/abs/1903.12473; PaddleOCR: `ppocr/modeling/heads/det_pse_head.py`.
"""

from __future__ import annotations

from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from architectures.interfaces import OutputPart


class PSEHead(OutputPart):
    """A convolution with its BatchNorm, and one that gives a map for each scale."""

    folds: ClassVar = (("conv1", "bn1"),)
    logits_layers = ("conv2",)
    text_map = ("output", 0.0)  # PSEPostProcess's `thresh`, which is one of logits

    def __init__(self, in_channels: int, hidden_dim: int = 256, out_channels: int = 7) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, hidden_dim, 3, padding=1)
        self.bn1 = nn.BatchNorm2d(hidden_dim)
        self.conv2 = nn.Conv2d(hidden_dim, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, in_channels, H / 4, W / 4)` to logits of text `(N, out_channels, H / 4, W / 4)`.

        The first map is of whole lines; each next one is of smaller cores of them.
        """
        return self.conv2(F.relu(self.bn1(self.conv1(x))))
