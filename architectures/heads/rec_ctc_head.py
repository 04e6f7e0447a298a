"""The head of the recognisers that are decoded by CTC.

Connectionist Temporal Classification, https://www.cs.toronto.edu/~graves/icml_2006.pdf;
PaddleOCR: `ppocr/modeling/heads/rec_ctc_head.py`.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from architectures.activations import Activation
from architectures.interfaces import OutputPart


class GuideLayer(nn.Sequential):
    """A depthwise and a pointwise convolution along the sequence, BatchNorm, hard swish twice."""

    folds: ClassVar = (("0", "1"), ("3", "4"))
    activates: ClassVar = (("0", "2"), ("3", "5"))

    def __init__(self, channels: int) -> None:
        super().__init__(
            nn.Conv1d(channels, channels, 5, padding=2, groups=channels, bias=False),
            nn.BatchNorm1d(channels),
            nn.Hardswish(),
            nn.Conv1d(channels, channels, 1, bias=False),
            nn.BatchNorm1d(channels),
            nn.Hardswish(),
        )


class CTCHead(OutputPart):
    """One linear layer, or with `mid_channels` two, and the softmax over the classes.

    With `use_guide`, convolutions along the sequence come first. In training mode the result is
    logits, which `architectures.losses.ctc_loss` takes.
    """

    loss = "ctc"

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        mid_channels: int | None = None,
        use_guide: bool = False,
    ) -> None:
        super().__init__()
        self.mid_channels = mid_channels
        self.guide_layer = GuideLayer(in_channels) if use_guide else None
        if mid_channels is None:
            self.logits_layers = ("fc",)
            self.fc = nn.Linear(in_channels, out_channels)
        else:
            self.logits_layers = ("fc2",)
            self.fc1 = nn.Linear(in_channels, mid_channels)
            self.fc2 = nn.Linear(mid_channels, out_channels)
        self.activations = {"output": Activation("softmax", self.logits_layers, axis=2)}

    def forward(self, x: Tensor) -> Tensor:
        """`(N, T, in_channels)` to `(N, T, out_channels)`."""
        if self.guide_layer is not None:
            x = self.guide_layer(x.transpose(1, 2)).transpose(1, 2)
        logits = self.fc(x) if self.mid_channels is None else self.fc2(self.fc1(x))
        return logits if self.training else logits.softmax(2)
