"""The head of the recognisers that are decoded by CTC.

Connectionist Temporal Classification, https://www.cs.toronto.edu/~graves/icml_2006.pdf;
PaddleOCR: `ppocr/modeling/heads/rec_ctc_head.py`.
"""

from __future__ import annotations

from torch import Tensor, nn


class CTCHead(nn.Module):
    """One linear layer, or with `mid_channels` two, and the softmax over the classes."""

    def __init__(
        self, in_channels: int, out_channels: int, mid_channels: int | None = None
    ) -> None:
        super().__init__()
        self.mid_channels = mid_channels
        if mid_channels is None:
            self.logits_layer = "fc"
            self.fc = nn.Linear(in_channels, out_channels)
        else:
            self.logits_layer = "fc2"
            self.fc1 = nn.Linear(in_channels, mid_channels)
            self.fc2 = nn.Linear(mid_channels, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, T, in_channels)` to `(N, T, out_channels)`."""
        logits = self.fc(x) if self.mid_channels is None else self.fc2(self.fc1(x))
        return logits.softmax(2)
