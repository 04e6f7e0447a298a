"""The head of the direction classifier.

PaddleOCR: `ppocr/modeling/heads/cls_head.py`.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from architectures.activations import Activation
from architectures.interfaces import OutputPart


class ClsHead(OutputPart):
    """The mean over the map, one linear layer, and the softmax over the classes."""

    logits_layers = ("fc",)
    activations: Mapping[str, Activation] = {"output": Activation("softmax", ("fc",), axis=1)}

    def __init__(self, in_channels: int, class_dim: int) -> None:
        super().__init__()
        self.fc = nn.Linear(in_channels, class_dim)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, in_channels, H, W)` to `(N, class_dim)`."""
        return self.fc(x.mean((2, 3))).softmax(1)
