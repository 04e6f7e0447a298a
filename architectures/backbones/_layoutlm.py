"""LayoutLM: BERT that also knows where on the page each word stands.

LayoutLM: Pre-training of Text and Layout for Document Image Understanding,
https://arxiv.org/abs/1912.13318; PaddleNLP 2.5.2: `paddlenlp/transformers/layoutlm/modeling.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from architectures.layers.attention import attend, split_heads
from architectures.layers.embedding import PaddedEmbedding

MASKED = -1e9  # added to the score of a token that is not seen
EPSILON = 1e-12  # of all layer normalisations


@dataclass(frozen=True)
class LayoutLMSizes:
    """Widths of the network; `type_vocab_size` is the number of kinds of tokens."""

    vocab_size: int = 30522
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    max_position_embeddings: int = 512
    max_2d_position_embeddings: int = 1024
    type_vocab_size: int = 2


class Embeddings(nn.Module):
    """Tokens, their places in the text and on the page, and their kinds, summed."""

    def __init__(self, sizes: LayoutLMSizes) -> None:
        super().__init__()
        hidden = sizes.hidden_size
        self.word_embeddings = PaddedEmbedding(sizes.vocab_size, hidden, padding=0)
        self.position_embeddings = nn.Embedding(sizes.max_position_embeddings, hidden)
        places = sizes.max_2d_position_embeddings
        self.x_position_embeddings = nn.Embedding(places, hidden)
        self.y_position_embeddings = nn.Embedding(places, hidden)
        self.h_position_embeddings = nn.Embedding(places, hidden)
        self.w_position_embeddings = nn.Embedding(places, hidden)
        self.token_type_embeddings = nn.Embedding(sizes.type_vocab_size, hidden)
        self.layer_norm = nn.LayerNorm(hidden, eps=EPSILON)

    def forward(self, input_ids: Tensor, bbox: Tensor, kinds: Tensor) -> Tensor:
        """Tokens and kinds `(N, T)` int64, boxes `(N, T, 4)` int64 to `(N, T, hidden)`."""
        left, top, right, bottom = bbox.unbind(-1)
        places = torch.arange(input_ids.shape[1], device=input_ids.device).expand(input_ids.shape)
        summed = (
            self.word_embeddings(input_ids)
            + self.position_embeddings(places)
            + self.x_position_embeddings(left)
            + self.y_position_embeddings(top)
            + self.x_position_embeddings(right)
            + self.y_position_embeddings(bottom)
            + self.h_position_embeddings(bottom - top)
            + self.w_position_embeddings(right - left)
            + self.token_type_embeddings(kinds)
        )
        return self.layer_norm(summed)


class SelfAttention(nn.Module):
    """Attention of the tokens to each other."""

    def __init__(self, hidden: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj, self.k_proj, self.v_proj = (nn.Linear(hidden, hidden) for _ in range(3))
        self.out_proj = nn.Linear(hidden, hidden)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """`(N, T, hidden)` to the same shape; `bias` is added to the scores."""
        layers = (self.q_proj, self.k_proj, self.v_proj)
        q, k, v = (split_heads(layer(x), self.heads) for layer in layers)
        return self.out_proj(attend(q, (k, v), bias))


class Layer(nn.Module):
    """Attention and feed-forward, each normalised after its shortcut."""

    def __init__(self, sizes: LayoutLMSizes) -> None:
        super().__init__()
        hidden = sizes.hidden_size
        self.self_attn = SelfAttention(hidden, sizes.num_attention_heads)
        self.norm1 = nn.LayerNorm(hidden, eps=EPSILON)
        self.linear1 = nn.Linear(hidden, sizes.intermediate_size)
        self.linear2 = nn.Linear(sizes.intermediate_size, hidden)
        self.norm2 = nn.LayerNorm(hidden, eps=EPSILON)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """`(N, T, hidden)` to the same shape."""
        x = self.norm1(x + self.self_attn(x, bias))
        return self.norm2(x + self.linear2(F.gelu(self.linear1(x))))


class Encoder(nn.Module):
    """The layers, one after the other."""

    def __init__(self, sizes: LayoutLMSizes) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Layer(sizes) for _ in range(sizes.num_hidden_layers))

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """`(N, T, hidden)` to the same shape."""
        for layer in self.layers:
            x = layer(x, bias)
        return x


class LayoutLMModel(nn.Module):
    """Embeddings and transformer."""

    def __init__(self, sizes: LayoutLMSizes) -> None:
        super().__init__()
        self.embeddings = Embeddings(sizes)
        self.encoder = Encoder(sizes)

    def forward(
        self, input_ids: Tensor, bbox: Tensor, attention_mask: Tensor, token_type_ids: Tensor
    ) -> Tensor:
        """Return `(N, T, hidden)`.

        Args:
            input_ids: (N, T) int64.
            bbox: (N, T, 4) int64: left, top, right, bottom, from 0 to 1000.
            attention_mask: (N, T) int64, 1 for a token, 0 for padding.
            token_type_ids: (N, T) int64.
        """
        embedded = self.embeddings(input_ids, bbox, token_type_ids)
        bias = (1.0 - attention_mask.to(embedded.dtype)) * MASKED
        return self.encoder(embedded, bias[:, None, None])
