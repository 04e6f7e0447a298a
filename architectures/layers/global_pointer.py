"""Scores of pairs in a sequence: Global Pointer, https://arxiv.org/abs/2208.03054."""

from __future__ import annotations

import torch
from torch import Tensor, nn

NEVER = -1e4  # the logit of an element before itself and before those that precede it


class GlobalPointer(nn.Module):
    """Scores pairs of a sequence, the first of a pair before the second."""

    def __init__(self, dim: int, head_size: int) -> None:
        super().__init__()
        self.dense = nn.Linear(dim, 2 * head_size)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, Q, dim)` to `(N, Q, Q)`, of which the part above the diagonal is used."""
        first, second = self.dense(x).chunk(2, 2)
        logits = first @ second.transpose(1, 2) / first.shape[2] ** 0.5
        unused = torch.ones_like(logits, dtype=torch.bool).tril()
        return logits.masked_fill(unused, NEVER)
