"""The vision transformer of PARSeq; the decoder attends to all its tokens.

Scene Text Recognition with Permuted Autoregressive Sequence Models,
https://arxiv.org/abs/2207.06966; PaddleOCR: `ppocr/modeling/backbones/rec_vit_parseq.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from architectures.backbones.rec_vitstr import PatchEmbed
from architectures.layers.svtr_blocks import Attention, Mlp


class Block(nn.Module):
    """A pre-norm transformer block."""

    def __init__(self, dim: int, num_heads: int, mlp_ratio: float, qkv_bias: bool) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.attn = Attention(dim, num_heads, qkv_bias)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = Mlp(dim, int(dim * mlp_ratio), "gelu")

    def forward(self, x: Tensor) -> Tensor:
        """`(N, T, dim)` to the same shape."""
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class ViTParseQ(nn.Module):
    """A vision transformer for images of one size, without a place for the whole image."""

    def __init__(
        self,
        in_channels: int = 3,
        img_size: Sequence[int] = (224, 224),
        patch_size: Sequence[int] = (16, 16),
        embed_dim: int = 768,
        depth: int = 12,
        num_heads: int = 12,
        mlp_ratio: float = 4,
        qkv_bias: bool = True,
    ) -> None:
        super().__init__()
        self.out_channels = embed_dim
        self.patch_embed = PatchEmbed(in_channels, embed_dim, img_size, patch_size)
        self.pos_embed = nn.Parameter(torch.empty(1, self.patch_embed.num_patches, embed_dim))
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        self.blocks = nn.Sequential(
            *(Block(embed_dim, num_heads, mlp_ratio, qkv_bias) for _ in range(depth))
        )
        self.norm = nn.LayerNorm(embed_dim)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, in_channels, *img_size)` to `(N, num_patches, embed_dim)`."""
        return self.norm(self.blocks(self.patch_embed(x) + self.pos_embed))
