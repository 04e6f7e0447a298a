"""CPPD's head: one pass counts the characters, another places them, a third classifies them.

Context Perception Parallel Decoder for Scene Text Recognition, https://arxiv.org/abs/2307.12270;
PaddleOCR: `ppocr/modeling/heads/rec_cppd_head.py`.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from architectures.activations import Activation
from architectures.interfaces import OutputPart
from architectures.layers.svtr_blocks import Mlp

HEAD_WIDTH = 32
EPSILON = 1e-6


def split_heads(x: Tensor, num_heads: int) -> Tensor:
    """`(N, T, num_heads * D)` to `(N, num_heads, T, D)`."""
    return x.unflatten(2, (num_heads, -1)).transpose(1, 2)


def join_heads(x: Tensor) -> Tensor:
    """`(N, num_heads, T, D)` to `(N, T, num_heads * D)`."""
    return x.transpose(1, 2).flatten(2)


class Attention(nn.Module):
    """Cross attention from one sequence to another."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.q = nn.Linear(dim, dim)
        self.kv = nn.Linear(dim, 2 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor, seen: Tensor) -> Tensor:
        """`x: (N, T, dim)`, `seen: (N, S, dim)`, to `(N, T, dim)`."""
        keys, values = self.kv(seen).chunk(2, 2)
        q, k, v = (split_heads(y, self.num_heads) for y in (self.q(x), keys, values))
        return self.proj(join_heads(F.scaled_dot_product_attention(q, k, v)))


class DecoderLayer(nn.Module):
    """Attention and two linear layers, each with a residual sum and LayerNorm."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=EPSILON)
        self.mixer = Attention(dim, num_heads)
        self.norm2 = nn.LayerNorm(dim, eps=EPSILON)
        self.mlp = Mlp(dim, 4 * dim, "gelu")

    def forward(self, x: Tensor, seen: Tensor) -> Tensor:
        """`x: (N, T, dim)`, `seen: (N, S, dim)`, to `(N, T, dim)`."""
        x = self.norm1(x + self.mixer(x, seen))
        return self.norm2(x + self.mlp(x))


class EdgeDecoderLayer(nn.Module):
    """As `DecoderLayer`, but the attention is not scaled, and keys and values are layers apart."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.norm1 = nn.LayerNorm(dim, eps=EPSILON)
        self.norm2 = nn.LayerNorm(dim, eps=EPSILON)
        self.p = nn.Linear(dim, dim)
        self.cv = nn.Linear(dim, dim)
        self.pv = nn.Linear(dim, dim)
        self.p_proj = nn.Linear(dim, dim)
        self.mlp = Mlp(dim, 4 * dim, "gelu")

    def forward(self, places: Tensor, characters: Tensor) -> Tensor:
        """`places: (N, L, dim)`, `characters: (N, T, dim)`, to `(N, L, dim)`."""
        parts = self.p(places), self.pv(characters), self.cv(characters)
        q, k, v = (split_heads(y, self.num_heads) for y in parts)
        edges = F.scaled_dot_product_attention(q, k, v, scale=1.0)
        x = self.norm1(places + self.p_proj(join_heads(edges)))
        return self.norm2(x + self.mlp(x))


class Embeddings(nn.Module):
    """A vector for each of `count` numbers, made larger by the root of its length."""

    def __init__(self, count: int, dim: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(count, dim)

    def forward(self, x: Tensor) -> Tensor:
        """`(…) int64` to `(…, dim)`."""
        return self.embedding(x) * self.embedding.embedding_dim**0.5


class CPPDHead(OutputPart):
    """Reads `max_len` characters and the end of the text, all at once.

    `vis_seq` is the length of the sequence that the backbone gives. In training the passes also
    count characters, for which they have a vector for each (`ch`: for those of the text alone).
    """

    logits_layers = ("edge_fc",)
    activations: Mapping[str, Activation] = {"output": Activation("softmax", ("edge_fc",), axis=2)}

    def __init__(
        self,
        in_channels: int | None,  # noqa: ARG002, the backbone's width is `dim`
        dim: int,
        out_channels: int,
        num_layer: int = 2,
        max_len: int = 25,
        vis_seq: int = 50,
    ) -> None:
        super().__init__()
        self.places = max_len + 1
        heads = dim // HEAD_WIDTH
        self.char_pos_embed = nn.Parameter(torch.empty(1, self.places, dim))
        self.vis_pos_embed = nn.Parameter(torch.empty(1, vis_seq, dim))
        for embed in (self.char_pos_embed, self.vis_pos_embed):
            nn.init.trunc_normal_(embed, std=0.02)
        self.pos_node_embed = Embeddings(self.places, dim)
        self.char_node_decoder = nn.ModuleList(DecoderLayer(dim, heads) for _ in range(num_layer))
        self.pos_node_decoder = nn.ModuleList(DecoderLayer(dim, heads) for _ in range(num_layer))
        self.edge_decoder = EdgeDecoderLayer(dim, heads)
        self.edge_fc = nn.Linear(dim, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, vis_seq, dim)` to probabilities `(N, max_len + 1, out_channels)`.

        Class 0 ends the text.
        """
        characters = x + self.vis_pos_embed
        places = self.pos_node_embed(torch.arange(self.places, device=x.device))
        places = (places + self.char_pos_embed).expand(x.shape[0], -1, -1)
        placed = torch.cat([places, characters], 1)
        for count, place in zip(self.char_node_decoder, self.pos_node_decoder, strict=True):
            characters = count(characters, characters)
            placed = place(placed, placed[:, self.places :])
        edges = self.edge_decoder(placed[:, : self.places], characters)
        return self.edge_fc(edges).softmax(2)
