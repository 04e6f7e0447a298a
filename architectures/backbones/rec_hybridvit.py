"""HybridTransformer, the backbone of LaTeX-OCR: a ViT over the map of a ResNetV2.

An Image is Worth 16x16 Words, https://arxiv.org/abs/2010.11929; PaddleOCR:
`ppocr/modeling/backbones/rec_hybridvit.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from architectures.backbones.rec_resnetv2 import CHANNELS, ResNetV2

EPS = 1e-6
GRID = (12, 42)  # places that have a position; PaddleOCR builds as many for every img_size


class HybridEmbed(nn.Module):
    """The map of the ResNetV2 as a sequence."""

    def __init__(self, in_channels: int, embed_dim: int, layers: Sequence[int]) -> None:
        super().__init__()
        self.backbone = ResNetV2(in_channels, layers)
        self.proj = nn.Conv2d(CHANNELS[len(layers) - 1], embed_dim, 1)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, in_channels, H, W)` to `(N, H / 16 * W / 16, embed_dim)`."""
        return self.proj(self.backbone(x)).flatten(2).transpose(1, 2)


class Attention(nn.Module):
    """Attention of several heads, their queries, keys and values from one layer."""

    def __init__(self, dim: int, num_heads: int, qkv_bias: bool) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, 3 * dim, bias=qkv_bias)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, T, dim)` to the same shape."""
        queries, keys, values = (
            self.qkv(x).unflatten(2, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        )
        mixed = F.scaled_dot_product_attention(queries, keys, values)
        return self.proj(mixed.transpose(1, 2).flatten(2))


class Mlp(nn.Module):
    """Two linear layers, GELU between them."""

    def __init__(self, dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden_dim)
        self.fc2 = nn.Linear(hidden_dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, T, dim)` to the same shape."""
        return self.fc2(F.gelu(self.fc1(x)))


class Block(nn.Module):
    """Attention and two linear layers, each normalised first and added."""

    def __init__(self, dim: int, num_heads: int, mlp_ratio: float, qkv_bias: bool) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=EPS)
        self.attn = Attention(dim, num_heads, qkv_bias)
        self.norm2 = nn.LayerNorm(dim, eps=EPS)
        self.mlp = Mlp(dim, int(dim * mlp_ratio))

    def forward(self, x: Tensor) -> Tensor:
        """`(N, T, dim)` to the same shape."""
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class HybridTransformer(nn.Module):
    """A ViT for images of up to 192 x 672, sides multiples of 16; the options are PaddleOCR's."""

    def __init__(
        self,
        in_channels: int = 1,  # noqa: ARG002, the image's are `input_channel`
        backbone_layers: Sequence[int] = (2, 3, 7),
        input_channel: int = 1,
        patch_size: int = 16,
        num_classes: int = 1000,
        embed_dim: int = 768,
        depth: int = 12,
        num_heads: int = 12,
        mlp_ratio: float = 4.0,
        qkv_bias: bool = True,
    ) -> None:
        super().__init__()
        if num_classes:
            raise ValueError("HybridTransformer gives features here: it takes num_classes: 0")
        if patch_size != 2 ** (len(backbone_layers) + 1):
            raise ValueError(
                f"HybridTransformer with {len(backbone_layers)} stages makes patches of "
                f"{2 ** (len(backbone_layers) + 1)} pixels, not of {patch_size}"
            )
        self.out_channels = embed_dim
        self.patch_size = patch_size
        self.cls_token = nn.Parameter(torch.zeros(1, 1, embed_dim))
        self.pos_embed = nn.Parameter(torch.empty(1, 1 + GRID[0] * GRID[1], embed_dim))
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        self.patch_embed = HybridEmbed(input_channel, embed_dim, backbone_layers)
        self.blocks = nn.Sequential(
            *(Block(embed_dim, num_heads, mlp_ratio, qkv_bias) for _ in range(depth))
        )
        self.norm = nn.LayerNorm(embed_dim, eps=EPS)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, 1, H, W)` to `(N, 1 + H / 16 * W / 16, embed_dim)`."""
        height, width = (side // self.patch_size for side in x.shape[2:])
        x = torch.cat([self.cls_token.expand(x.shape[0], -1, -1), self.patch_embed(x)], 1)
        grid = self.pos_embed[:, 1:].unflatten(1, GRID)[:, :height, :width].flatten(1, 2)
        x = x + torch.cat([self.pos_embed[:, :1], grid], 1)
        return self.norm(self.blocks(x))
