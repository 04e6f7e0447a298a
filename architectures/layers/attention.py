"""Attention with keys and values that can be kept, and positions by sinusoids.

Attention Is All You Need, https://arxiv.org/abs/1706.03762. Several of PaddleOCR's recognisers have
a transformer of their own, and all of them compute this; they differ in the names of the layers.

Keys and values that are kept
    PaddleOCR's decoders run the whole text again for each character that they add. Here a decoder
    caches keys and values of the earlier ones, which later characters cannot change, and runs
    the new character only.
Masks
    True where a key may be seen. PaddleOCR adds minus infinity, or -1e9, where it may not; the
    softmax makes both exactly 0.
Positions
    PaddleOCR's tables are buffers that its checkpoints contain. Here they are computed when they
    are needed: they are constants, and the longest has 5000 rows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from architectures.layers.svtr_blocks import Mlp

KeysValues = tuple[Tensor, Tensor]  # (N, heads, T, width of a head) each


def sinusoids(length: int, width: int, like: Tensor) -> Tensor:
    """Positions from 0 on: `(length, width)`, sines and cosines in turns, on `like`'s device."""
    place = torch.arange(length, device=like.device, dtype=torch.float64)
    pair = torch.arange(width, device=like.device) // 2
    angle = place[:, None] * torch.exp(pair * (-2 * math.log(10000.0) / width))
    even = torch.arange(width, device=like.device) % 2 == 0
    return torch.where(even, angle.sin(), angle.cos()).to(like.dtype)


def causal(length: int, device: torch.device) -> Tensor:
    """The mask by which each place sees itself and those before it: `(length, length)` bool."""
    return torch.ones(length, length, dtype=torch.bool, device=device).tril()


def split_heads(x: Tensor, heads: int) -> Tensor:
    """`(N, T, C)` to `(N, heads, T, C / heads)`."""
    return x.unflatten(2, (heads, -1)).transpose(1, 2)


def attend(q: Tensor, keys_values: KeysValues, mask: Tensor | None = None) -> Tensor:
    """Attention output of queries `(N, heads, T, d)`, heads concatenated: `(N, T, heads * d)`."""
    seen = F.scaled_dot_product_attention(q, *keys_values, attn_mask=mask)
    return seen.transpose(1, 2).flatten(2)


@dataclass
class Cache:
    """Cache of one decoder block: keys and values of the encoder's output and of the text.

    `text` grows by one place at each step and is None before the first.
    """

    memory: KeysValues
    text: KeysValues | None = None

    def extended(self, new: KeysValues) -> KeysValues:
        """Those of the text, the new ones behind."""
        if self.text is not None:
            (k, v), (new_k, new_v) = self.text, new
            new = torch.cat([k, new_k], 2), torch.cat([v, new_v], 2)
        self.text = new
        return new

    def cut(self, length: int) -> None:
        """Forget the text behind its first `length` places."""
        if self.text is not None:
            k, v = self.text
            self.text = k[:, :, :length], v[:, :, :length]


class MultiheadAttention(nn.Module):
    """Attention over the sequence itself, or over another: `qkv`, or `q` and `kv`."""

    def __init__(self, dim: int, num_heads: int, self_attn: bool) -> None:
        super().__init__()
        self.num_heads = num_heads
        if self_attn:
            self.qkv = nn.Linear(dim, 3 * dim)
        else:
            self.q = nn.Linear(dim, dim)
            self.kv = nn.Linear(dim, 2 * dim)
        self.out_proj = nn.Linear(dim, dim)

    def itself(self, x: Tensor, mask: Tensor | None = None, cache: Cache | None = None) -> Tensor:
        """`(N, T, dim)` to the same shape; with a cache, the places in it are seen too."""
        q, k, v = (split_heads(part, self.num_heads) for part in self.qkv(x).chunk(3, 2))
        keys_values = (k, v) if cache is None else cache.extended((k, v))
        return self.out_proj(attend(q, keys_values, mask))

    def keys_values(self, memory: Tensor) -> KeysValues:
        """Of another sequence, `(N, S, dim)`."""
        k, v = (split_heads(part, self.num_heads) for part in self.kv(memory).chunk(2, 2))
        return k, v

    def other(self, x: Tensor, keys_values: KeysValues, mask: Tensor | None = None) -> Tensor:
        """`(N, T, dim)` to the same shape, from the other sequence's keys and values."""
        return self.out_proj(attend(split_heads(self.q(x), self.num_heads), keys_values, mask))


class TransformerBlock(nn.Module):
    """A block of NRTR and ABINet, sums normalised: an encoder's, a decoder's, or a language's.

    PaddleOCR: `ppocr/modeling/heads/rec_nrtr_head.py`.
    """

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int,
        *,
        with_self_attn: bool = True,
        with_cross_attn: bool = False,
    ) -> None:
        super().__init__()
        self.with_self_attn = with_self_attn
        self.with_cross_attn = with_cross_attn
        if with_self_attn:
            self.self_attn = MultiheadAttention(d_model, nhead, self_attn=True)
            self.norm1 = nn.LayerNorm(d_model)
        if with_cross_attn:
            self.cross_attn = MultiheadAttention(d_model, nhead, self_attn=False)
            self.norm2 = nn.LayerNorm(d_model)
        self.mlp = Mlp(d_model, dim_feedforward, "relu")
        self.norm3 = nn.LayerNorm(d_model)

    def forward(
        self,
        x: Tensor,
        memory: Tensor | None = None,
        mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
    ) -> Tensor:
        """`x: (N, T, d_model)` to the same shape; a decoder's `memory` is `(N, S, d_model)`."""
        cache = None if memory is None else Cache(self.cross_attn.keys_values(memory))
        return self.step(x, cache, mask, memory_mask)

    def step(
        self,
        x: Tensor,
        cache: Cache | None,
        mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
    ) -> Tensor:
        """As `forward`, for the places behind those that are in the cache, which takes them in."""
        if self.with_self_attn:
            x = self.norm1(x + self.self_attn.itself(x, mask, cache))
        if self.with_cross_attn and cache is not None:
            x = self.norm2(x + self.cross_attn.other(x, cache.memory, memory_mask))
        return self.norm3(x + self.mlp(x))
