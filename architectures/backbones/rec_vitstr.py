"""ViTSTR: an image in patches through a vision transformer, whose first places are the characters.

Vision Transformer for Fast and Efficient Scene Text Recognition, https://arxiv.org/abs/2105.08582;
PaddleOCR: `ppocr/modeling/backbones/rec_vitstr.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from architectures.layers.svtr_blocks import Block, to_sequence

# Width and heads of each scale.
SCALES = {"tiny": (192, 3), "small": (384, 6), "base": (768, 12)}


class PatchEmbed(nn.Module):
    """The image in patches that do not overlap, each one place of a sequence."""

    def __init__(
        self, in_channels: int, embed_dim: int, img_size: Sequence[int], patch_size: Sequence[int]
    ) -> None:
        super().__init__()
        self.img_size = (img_size[0], img_size[1])
        patch = (patch_size[0], patch_size[1])
        self.num_patches = (img_size[0] // patch[0]) * (img_size[1] // patch[1])
        self.proj = nn.Conv2d(in_channels, embed_dim, patch, stride=patch)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, in_channels, *img_size)` to `(N, num_patches, embed_dim)`."""
        torch._assert(x.shape[2:] == self.img_size, "the network takes images of its img_size")
        return to_sequence(self.proj(x))


class ViTSTR(nn.Module):
    """A vision transformer for images of one size; the result is its first `seqlen` places.

    `embed_dim` and `num_heads` override those of the scale.
    """

    def __init__(
        self,
        in_channels: int = 1,
        img_size: Sequence[int] = (224, 224),
        scale: str = "tiny",
        seqlen: int = 27,
        patch_size: Sequence[int] = (16, 16),
        embed_dim: int | None = None,
        depth: int = 12,
        num_heads: int | None = None,
        mlp_ratio: float = 4,
        qkv_bias: bool = True,
        epsilon: float = 1e-6,
    ) -> None:
        super().__init__()
        if scale not in SCALES:
            raise ValueError(f"ViTSTR has no scale {scale!r}; known: {', '.join(SCALES)}")
        width, heads = SCALES[scale]
        dim = width if embed_dim is None else embed_dim
        heads = heads if num_heads is None else num_heads
        self.seqlen = seqlen
        self.out_channels = dim
        self.patch_embed = PatchEmbed(in_channels, dim, img_size, patch_size)
        self.pos_embed = nn.Parameter(torch.empty(1, self.patch_embed.num_patches + 1, dim))
        self.cls_token = nn.Parameter(torch.empty(1, 1, dim))
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        nn.init.trunc_normal_(self.cls_token, std=0.02)
        self.blocks = nn.Sequential(
            *(Block(dim, heads, mlp_ratio, qkv_bias, act="gelu", eps=epsilon) for _ in range(depth))
        )
        self.norm = nn.LayerNorm(dim, eps=epsilon)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, in_channels, *img_size)` to `(N, out_channels, 1, seqlen)`."""
        patches = self.patch_embed(x)
        token = self.cls_token.expand(x.shape[0], -1, -1)
        x = self.norm(self.blocks(torch.cat([token, patches], 1) + self.pos_embed))
        return x[:, : self.seqlen].transpose(1, 2).unsqueeze(2)
