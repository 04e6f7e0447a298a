"""Attention whose queries, keys and values share one weight, as PaddleDetection's transformers."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from architectures.layers.attention import attend, split_heads


class PackedProjections(nn.Module):
    """The tensors of multi-head self-attention, those of its three input projections in one."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.in_proj_weight = nn.Parameter(torch.zeros(3 * dim, dim))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * dim))
        self.out_proj = nn.Linear(dim, dim)


class PackedAttention(PackedProjections):
    """Self-attention whose queries and keys have positions.

    PaddleDetection: `ppdet/modeling/layers.py`, `MultiHeadAttention`.
    """

    def forward(self, x: Tensor, positions: Tensor, mask: Tensor | None = None) -> Tensor:
        """Attend among the tokens of a sequence.

        Args:
            x: `(N, T, dim)`, the values.
            positions: added to `x` for queries and keys, `(N or 1, T, dim)`.
            mask: `(T, T) bool`, True where a key may be seen.

        Returns:
            `(N, T, dim)`.
        """
        placed = x + positions
        parts = zip(
            (placed, placed, x),
            self.in_proj_weight.chunk(3),
            self.in_proj_bias.chunk(3),
            strict=True,
        )
        queries, keys, values = (
            split_heads(F.linear(source, weight, bias), self.num_heads)
            for source, weight, bias in parts
        )
        return self.out_proj(attend(queries, (keys, values), mask))
