"""The head of LaTeX-OCR: a decoder of x-transformers, its attention and linear layers gated.

LaTeX-OCR, https://github.com/lukas-blecher/LaTeX-OCR; attention on attention,
https://arxiv.org/abs/1908.06954; PaddleOCR: `ppocr/modeling/heads/rec_latexocr_head.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from architectures.interfaces import OutputPart

START, END = 1, 2  # tokens
LONGEST = 512  # tokens
HEADS, HEAD_DIM = 8, 64
# What PaddleOCR's training configuration has; the other ways to build the decoder are not here.
DECODER = {
    "attn_on_attn": True,
    "cross_attend": True,
    "ff_glu": True,
    "rel_pos_bias": False,
    "use_scalenorm": False,
}


@dataclass
class LayerCache:
    """Keys and values `(N, HEADS, T, HEAD_DIM)` of an attention: of all that it has seen."""

    seen: tuple[Tensor, Tensor] | None = None


class AbsolutePositionalEmbedding(nn.Module):
    """Learned positions."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.emb = nn.Embedding(LONGEST, dim)

    def forward(self, past: int, count: int) -> Tensor:
        """The positions of `count` tokens behind `past` others, `(count, dim)`."""
        return self.emb(torch.arange(past, past + count, device=self.emb.weight.device))


class Attention(nn.Module):
    """Attention of 8 heads without biases; a gated linear layer makes its result."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        width = HEADS * HEAD_DIM
        self.to_q = nn.Linear(dim, width, bias=False)
        self.to_k = nn.Linear(dim, width, bias=False)
        self.to_v = nn.Linear(dim, width, bias=False)
        self.to_out = nn.Sequential(nn.Linear(width, 2 * dim), nn.GLU())

    def keys_and_values(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """`(N, T, dim)` to twice `(N, HEADS, T, HEAD_DIM)`."""
        return _split(self.to_k(x)), _split(self.to_v(x))

    def forward(
        self, x: Tensor, seen: tuple[Tensor, Tensor], visible: Tensor | None = None
    ) -> Tensor:
        """Attend from `x: (N, T, dim)` to `seen: (N, S, dim)`; `visible: (T, S) bool` masks it."""
        mixed = F.scaled_dot_product_attention(_split(self.to_q(x)), *seen, attn_mask=visible)
        return self.to_out(mixed.transpose(1, 2).flatten(2))


def _split(x: Tensor) -> Tensor:
    return x.unflatten(2, (HEADS, HEAD_DIM)).transpose(1, 2)


class SelfAttention(Attention):
    """Attention to the tokens before."""

    def attend(self, x: Tensor, _image: Tensor, cache: LayerCache) -> Tensor:
        """`x: (N, T, dim)` to the same shape; `cache` grows by T tokens."""
        keys, values = self.keys_and_values(x)
        if cache.seen is not None:
            keys, values = (
                torch.cat([cache.seen[0], keys], 2),
                torch.cat([cache.seen[1], values], 2),
            )
        cache.seen = keys, values
        count, all_ = x.shape[1], keys.shape[2]
        visible = torch.ones(count, all_, dtype=torch.bool, device=x.device).tril(all_ - count)
        return self(x, cache.seen, visible)


class CrossAttention(Attention):
    """Attention to the image."""

    def attend(self, x: Tensor, image: Tensor, cache: LayerCache) -> Tensor:
        """`x: (N, T, dim)`, `image: (N, S, dim)` to `(N, T, dim)`."""
        if cache.seen is None:
            cache.seen = self.keys_and_values(image)
        return self(x, cache.seen)


class GEGLU(nn.Module):
    """A linear layer, half of which gates the other half by GELU."""

    def __init__(self, dim_in: int, dim_out: int) -> None:
        super().__init__()
        self.proj = nn.Linear(dim_in, 2 * dim_out)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, T, dim_in)` to `(N, T, dim_out)`."""
        x, gate = self.proj(x).chunk(2, -1)
        return x * F.gelu(gate)


class FeedForward(nn.Module):
    """A gated linear layer of four times the width, and one back."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.net = nn.Sequential(GEGLU(dim, 4 * dim), nn.Identity(), nn.Linear(4 * dim, dim))

    def attend(self, x: Tensor, _image: Tensor, _cache: LayerCache) -> Tensor:
        """`x: (N, T, dim)` to the same shape: each token by itself."""
        return self.net(x)


class Decoder(nn.Module):
    """`depth` times attention to the tokens, to the image, linear layers: each normalised first."""

    def __init__(self, dim: int, depth: int) -> None:
        super().__init__()
        kinds = (SelfAttention, CrossAttention, FeedForward) * depth
        self.layers = nn.ModuleList(nn.ModuleList([nn.LayerNorm(dim), kind(dim)]) for kind in kinds)

    def forward(self, x: Tensor, image: Tensor, caches: list[LayerCache]) -> Tensor:
        """`x: (N, T, dim)`, `image: (N, S, dim)` to `(N, T, dim)`."""
        for layer, cache in zip(self.layers, caches, strict=True):
            norm, block = cast("nn.ModuleList", layer)
            x = x + cast("SelfAttention | CrossAttention | FeedForward", block).attend(
                norm(x), image, cache
            )
        return x


class TransformerDecoder(nn.Module):
    """Tokens and their positions, embedded, through the decoder, to one score for each token."""

    def __init__(self, num_tokens: int, dim: int, depth: int) -> None:
        super().__init__()
        self.token_emb = nn.Embedding(num_tokens, dim)
        self.pos_emb = AbsolutePositionalEmbedding(dim)
        self.attn_layers = Decoder(dim, depth)
        self.norm = nn.LayerNorm(dim)
        self.to_logits = nn.Linear(dim, num_tokens)

    def caches(self) -> list[LayerCache]:
        """Nothing seen yet, for each layer."""
        return [LayerCache() for _ in self.attn_layers.layers]

    def forward(self, tokens: Tensor, image: Tensor, caches: list[LayerCache]) -> Tensor:
        """`tokens: (N, T) int64` behind those in `caches` to scores `(N, T, num_tokens)`."""
        seen = caches[0].seen
        past = 0 if seen is None else seen[0].shape[2]
        x = self.token_emb(tokens) + self.pos_emb(past, tokens.shape[1])
        return self.to_logits(self.norm(self.attn_layers(x, image, caches)))


class LaTeXOCRHead(OutputPart):
    """Decodes an image token by token, `max_seq_len` at most.

    PaddleOCR draws each token by its probability, so that its texts differ from run to run; here it
    is the likeliest. `num_tokens` and `depth` are the same in all that PaddleOCR builds.
    """

    logits_layers = ("net.to_logits",)

    def __init__(
        self,
        in_channels: int,
        decoder_args: Mapping[str, bool] | None = None,
        num_tokens: int = 8000,
        depth: int = 4,
    ) -> None:
        super().__init__()
        if dict(decoder_args or {}) != DECODER:
            raise ValueError(f"LaTeXOCRHead takes the decoder_args {DECODER}, not {decoder_args}")
        self.max_seq_len = LONGEST
        self.net = TransformerDecoder(num_tokens, in_channels, depth)

    def forward(self, features: Tensor) -> Tensor:
        """`features: (N, S, in_channels)` to tokens `(N, T) int64`, without the start token.

        A text ends with its end token; what follows in longer texts' company says nothing.
        """
        caches = self.net.caches()
        tokens = torch.full((features.shape[0], 1), START, device=features.device)
        for _ in range(self.max_seq_len):
            scores = self.net(tokens[:, -1:], features, caches)
            tokens = torch.cat([tokens, scores[:, -1:].argmax(2)], 1)
            if (tokens == END).any(1).all():
                break
        return tokens[:, 1:]

    def score_tokens(self, features: Tensor, tokens: Tensor) -> Tensor:
        """Scores of the token after each of `tokens`, from that and those before it.

        `features: (N, S, in_channels)`, `tokens: (N, T) int64`, from the start token on, to
        `(N, T, num_tokens)`.
        """
        return self.net(tokens, features, self.net.caches())
