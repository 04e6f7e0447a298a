"""The head of CentripetalText: cores of text, and the way to them from the pixels around.

CentripetalText, https://arxiv.org/abs/2107.05945; PaddleOCR: `ppocr/modeling/heads/det_ct_head.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from architectures.activations import Activation
from architectures.interfaces import OutputPart


class CT_Head(OutputPart):  # noqa: N801, PaddleOCR's name
    """A convolution with its BatchNorm, and one that gives all maps."""

    folds: ClassVar = (("conv1", "bn1"),)
    logits_layers = ("conv2",)
    activations: Mapping[str, Activation] = {
        "score": Activation("sigmoid", logits_layers, channel=0)
    }
    text_map = ("maps", 0.2)  # what CTPostProcess asks of the logits

    def __init__(self, in_channels: int, hidden_dim: int, num_classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, hidden_dim, 3, padding=1)
        self.bn1 = nn.BatchNorm2d(hidden_dim)
        self.conv2 = nn.Conv2d(hidden_dim, num_classes, 1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """`(N, in_channels, H / 4, W / 4)` to `maps` and `score` of the same size.

        `maps: (N, 3, H / 4, W / 4)` are the logits of cores, and how far to the right and down
        these are; `score: (N, H / 4, W / 4)` is the probability of cores.
        """
        maps = self.conv2(F.relu(self.bn1(self.conv1(x))))
        return {"maps": maps, "score": maps[:, 0].sigmoid()}
