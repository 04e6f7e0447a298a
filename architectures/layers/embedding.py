"""Paddle's embedding with a padding class."""

from __future__ import annotations

from torch import Tensor, nn


class PaddedEmbedding(nn.Embedding):
    """Classes as vectors, and zeros for the class `padding`."""

    def __init__(self, num_embeddings: int, embedding_dim: int, padding: int) -> None:
        super().__init__(num_embeddings, embedding_dim)
        self.padding = padding

    def forward(self, input: Tensor) -> Tensor:
        """`(N, T)` int64 to `(N, T, embedding_dim)`."""
        return super().forward(input) * input.ne(self.padding).unsqueeze(-1)
