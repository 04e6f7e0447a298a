"""RFL's neck: exchange between the counting and the reading branch.

Reciprocal Feature Learning via Explicit and Implicit Tasks in Scene Text Recognition,
https://arxiv.org/abs/2105.06229; PaddleOCR: `ppocr/modeling/necks/rf_adaptor.py`.
"""

from __future__ import annotations

from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

Pair = tuple[Tensor | None, Tensor | None]


class ChannelAttention(nn.Module):
    """A linear layer over the channels, BatchNorm, ReLU."""

    folds: ClassVar = (("channel_inter", "channel_bn"),)

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channel_inter = nn.Linear(channels, channels, bias=False)
        self.channel_bn = nn.BatchNorm1d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, C, 1, W)` to the same shape."""
        x = self.channel_inter(x.squeeze(2).transpose(1, 2)).transpose(1, 2)
        return F.relu(self.channel_bn(x)).unsqueeze(2)


class RFAdaptor(nn.Module):
    """`use_v2s`: counting weighs the reading features; `use_s2v`: reading adds to the counts."""

    def __init__(self, in_channels: int = 512, use_v2s: bool = True, use_s2v: bool = True) -> None:
        super().__init__()
        self.out_channels = in_channels
        self.neck_v2s = ChannelAttention(in_channels) if use_v2s else None
        self.neck_s2v = ChannelAttention(in_channels) if use_s2v else None

    def forward(self, maps: Pair) -> Pair:
        """Two maps `(N, C, H, W)` to a map `(N, C, 1, H * W)` and a sequence `(N, H * W, C)`."""
        counting, reading = maps
        if counting is not None:
            counting = counting.flatten(2).unsqueeze(2)
        weighed, added = reading, counting
        if self.neck_v2s is not None:
            weighed = _needed(reading) * self.neck_v2s(_needed(counting))
        if self.neck_s2v is not None:
            read = _needed(reading)
            added = _needed(counting) + read * self.neck_s2v(read)
        return added, None if weighed is None else weighed.flatten(2).transpose(1, 2)


def _needed(x: Tensor | None) -> Tensor:
    if x is None:
        raise ValueError("RFAdaptor's use_v2s and use_s2v need a backbone that counts and reads")
    return x
