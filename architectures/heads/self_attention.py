"""The Transformer encoders of SRN.

Attention Is All You Need, https://arxiv.org/abs/1706.03762;
PaddleOCR: `ppocr/modeling/heads/self_attention.py`.

PaddleOCR's dropout leaves the values that it keeps in training as they are, so at inference it
makes all of them smaller instead: what is dropped out in training is multiplied by `KEPT`.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn

KEPT = 0.9


class MultiHeadAttention(nn.Module):
    """Self-attention, scaled by the whole width and not by that of one head."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.q_fc = nn.Linear(dim, dim, bias=False)
        self.k_fc = nn.Linear(dim, dim, bias=False)
        self.v_fc = nn.Linear(dim, dim, bias=False)
        self.proj_fc = nn.Linear(dim, dim, bias=False)

    def forward(self, x: Tensor, seen: Tensor | None) -> Tensor:
        """`(N, T, dim)` to the same shape; `seen: (T, T) bool`, which places each one sees."""
        q, k, v = (
            layer(x).unflatten(2, (self.num_heads, -1)).transpose(1, 2)
            for layer in (self.q_fc, self.k_fc, self.v_fc)
        )
        y = F.scaled_dot_product_attention(q, k, v, seen, scale=x.shape[2] ** -0.5)
        return self.proj_fc(y.transpose(1, 2).flatten(2) * KEPT)


class FFN(nn.Module):
    """Two linear layers."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, T, dim)` to the same shape."""
        return self.fc2(F.relu(self.fc1(x)) * KEPT)


def norm(dim: int) -> nn.Sequential:
    """A LayerNorm under the name that it has inside `PrePostProcessLayer`."""
    return nn.Sequential(OrderedDict(layer_norm_0=nn.LayerNorm(dim, eps=1e-5)))


class EncoderLayer(nn.Module):
    """Pre-norm attention and feed-forward layers with residual sums."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.preprocesser1 = norm(dim)
        self.self_attn = MultiHeadAttention(dim, num_heads)
        self.preprocesser2 = norm(dim)
        self.ffn = FFN(dim, dim)

    def forward(self, x: Tensor, seen: Tensor | None) -> Tensor:
        """`(N, T, dim)` to the same shape; `seen: (T, T) bool`, which places each one sees."""
        x = x + self.self_attn(self.preprocesser1(x), seen) * KEPT
        return x + self.ffn(self.preprocesser2(x)) * KEPT


class Encoder(nn.Module):
    """Layers and a last LayerNorm."""

    def __init__(self, count: int, dim: int, num_heads: int) -> None:
        super().__init__()
        self.count = count
        for index in range(count):
            self.add_module(f"layer_{index}", EncoderLayer(dim, num_heads))
        self.processor = norm(dim)

    def forward(self, x: Tensor, seen: Tensor | None = None) -> Tensor:
        """`(N, T, dim)` to the same shape; `seen: (T, T) bool`, which places each one sees."""
        for index in range(self.count):
            x = self.get_submodule(f"layer_{index}")(x, seen)
        return self.processor(x)


def positions(x: Tensor, count: int) -> Tensor:
    """The numbers of `count` places for each of a batch: `(N, count) int64`."""
    return torch.arange(count, device=x.device).expand(x.shape[0], -1)


class PrepareEncoder(nn.Module):
    """Vectors, enlarged by the root of their length, with a vector added for each place."""

    def __init__(self, places: int, dim: int) -> None:
        super().__init__()
        self.emb = nn.Embedding(places, dim)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, T, dim)` to the same shape."""
        return (x * x.shape[2] ** 0.5 + self.emb(positions(x, x.shape[1]))) * KEPT


class PrepareDecoder(nn.Module):
    """As `PrepareEncoder`, for the vectors of characters.

    PaddleOCR declares character 0 the padding, whose vector Paddle takes to be zero whatever the
    table says; yet it stands for the digit 0, and the table scores it like any other.
    """

    def __init__(self, characters: int, places: int, dim: int) -> None:
        super().__init__()
        self.emb0 = nn.Embedding(characters, dim)
        self.emb1 = nn.Embedding(places, dim)

    def forward(self, characters: Tensor) -> Tensor:
        """`(N, T) int64` to `(N, T, dim)`."""
        vectors = self.emb0(characters) * (characters != 0)[..., None]
        places = self.emb1(positions(characters, characters.shape[1]))
        return (vectors * vectors.shape[2] ** 0.5 + places) * KEPT


class WrapEncoderForFeature(nn.Module):
    """An encoder of vectors, at most `max_length` of them."""

    def __init__(self, max_length: int, count: int, dim: int, num_heads: int) -> None:
        super().__init__()
        self.prepare_encoder = PrepareEncoder(max_length, dim)
        self.encoder = Encoder(count, dim, num_heads)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, T, dim)` to the same shape."""
        return self.encoder(self.prepare_encoder(x))


class WrapEncoder(nn.Module):
    """An encoder of characters, at most `max_length` of them."""

    def __init__(
        self, characters: int, max_length: int, count: int, dim: int, num_heads: int
    ) -> None:
        super().__init__()
        self.prepare_decoder = PrepareDecoder(characters, max_length, dim)
        self.encoder = Encoder(count, dim, num_heads)

    def forward(self, characters: Tensor, seen: Tensor) -> Tensor:
        """`(N, T) int64` to `(N, T, dim)`; `seen: (T, T) bool`, which places each one sees."""
        return self.encoder(self.prepare_decoder(characters), seen)
