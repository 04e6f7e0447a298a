"""PREN's head: which character each vector is.

Primitive Representation Learning for Scene Text Recognition, https://arxiv.org/abs/2105.04286;
PaddleOCR: `ppocr/modeling/heads/rec_pren_head.py`.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from architectures.activations import Activation
from architectures.interfaces import OutputPart


class PRENHead(OutputPart):
    """One linear layer and the softmax over the classes."""

    logits_layers = ("linear",)
    activations: Mapping[str, Activation] = {"output": Activation("softmax", ("linear",), axis=2)}

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.linear = nn.Linear(in_channels, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, max_len, in_channels)` to `(N, max_len, out_channels)`."""
        return self.linear(x).softmax(2)
