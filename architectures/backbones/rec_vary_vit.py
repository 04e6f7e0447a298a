"""Vary_VIT_B, the backbone of SLANeXt and PP-FormulaNet-L: a ViT of windowed and global attention.

Vary, https://arxiv.org/abs/2312.06109; ViTDet, https://arxiv.org/abs/2203.16527; PaddleOCR:
`ppocr/modeling/backbones/rec_vary_vit.py`.
"""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

EPS = 1e-6
PATCH = 16
WINDOW = 14
GLOBAL = (2, 5, 8, 11)  # blocks with global attention; PaddleOCR ignores its own option
WIDTHS = (256, 512, 1024)  # after the transformer

Size = tuple[int, int]


class LayerNorm2d(nn.LayerNorm):
    """A LayerNorm over the channels of a map."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=EPS)

    def forward(self, input: Tensor) -> Tensor:
        """`(N, C, H, W)` to the same shape."""
        return super().forward(input.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class MLPBlock(nn.Module):
    """Two linear layers, GELU between them."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.lin1 = nn.Linear(dim, 4 * dim)
        self.lin2 = nn.Linear(4 * dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, H, W, dim)` to the same shape."""
        return self.lin2(F.gelu(self.lin1(x)))


class Attention(nn.Module):
    """Attention of several heads in a map, biased by how far apart rows and columns are.

    The bias depends on the query and on the distance, separately for each axis.
    """

    def __init__(self, dim: int, num_heads: int, size: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        self.rel_pos_h = nn.Parameter(torch.zeros(2 * size - 1, dim // num_heads))
        self.rel_pos_w = nn.Parameter(torch.zeros(2 * size - 1, dim // num_heads))

    def forward(self, x: Tensor) -> Tensor:
        """`(N, size, size, dim)` to the same shape."""
        size = x.shape[1]
        queries, keys, values = (
            self.qkv(x).flatten(1, 2).unflatten(2, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        )
        bias = self._bias(queries.unflatten(2, (size, size)))
        mixed = F.scaled_dot_product_attention(queries, keys, values, attn_mask=bias)
        return self.proj(mixed.transpose(1, 2).flatten(2).unflatten(1, (size, size)))

    def _bias(self, queries: Tensor) -> Tensor:
        """`(N, heads, size, size, D)` to the bias of the attention scores, `(N, heads, T, T)`."""
        places = torch.arange(queries.shape[2], device=queries.device)
        apart = places[:, None] - places + len(places) - 1
        rows = torch.einsum("nmhwd,hkd->nmhwk", queries, self.rel_pos_h[apart])
        columns = torch.einsum("nmhwd,wkd->nmhwk", queries, self.rel_pos_w[apart])
        return (rows[..., None] + columns[..., None, :]).flatten(4).flatten(2, 3)


class Block(nn.Module):
    """Attention, in windows or in the whole map, and two linear layers, each normalised first."""

    def __init__(self, dim: int, num_heads: int, size: int, whole: bool) -> None:
        super().__init__()
        self.whole = whole
        self.norm1 = nn.LayerNorm(dim, eps=EPS)
        self.attn = Attention(dim, num_heads, size if whole else WINDOW)
        self.norm2 = nn.LayerNorm(dim, eps=EPS)
        self.mlp = MLPBlock(dim)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, H, W, dim)` to the same shape."""
        x = x + (self.attn if self.whole else self._in_windows)(self.norm1(x))
        return x + self.mlp(self.norm2(x))

    def _in_windows(self, x: Tensor) -> Tensor:
        count, height, width, _ = x.shape
        x = F.pad(x, (0, 0, 0, -width % WINDOW, 0, -height % WINDOW))
        x = x.unflatten(2, (-1, WINDOW)).unflatten(1, (-1, WINDOW)).transpose(2, 3)
        rows, columns = x.shape[1:3]
        x = self.attn(x.flatten(0, 2)).unflatten(0, (count, rows, columns))
        return x.transpose(2, 3).flatten(3, 4).flatten(1, 2)[:, :height, :width]


class PatchEmbed(nn.Module):
    """Patches of 16 x 16 pixels."""

    def __init__(self, in_channels: int, embed_dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(in_channels, embed_dim, PATCH, stride=PATCH)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, in_channels, H, W)` to `(N, H / 16, W / 16, embed_dim)`."""
        return self.proj(x).permute(0, 2, 3, 1)


class ImageEncoderViT(nn.Module):
    """The transformer, and convolutions that halve its map once or twice.

    Args:
        in_channels: of the image.
        image_size: side of the image in pixels.
        embed_dim: width of the transformer.
        depth: number of blocks.
        num_heads: heads of each block.
        halvings: 1 or 2.
    """

    def __init__(
        self,
        in_channels: int,
        image_size: int,
        embed_dim: int,
        depth: int,
        num_heads: int,
        halvings: int,
    ) -> None:
        super().__init__()
        size = image_size // PATCH
        self.patch_embed = PatchEmbed(in_channels, embed_dim)
        self.pos_embed = nn.Parameter(torch.zeros(1, size, size, embed_dim))
        self.blocks = nn.Sequential(
            *(Block(embed_dim, num_heads, size, whole=place in GLOBAL) for place in range(depth))
        )
        first, second, third = WIDTHS
        self.neck = nn.Sequential(
            nn.Conv2d(embed_dim, first, 1, bias=False),
            LayerNorm2d(first),
            nn.Conv2d(first, first, 3, padding=1, bias=False),
            LayerNorm2d(first),
        )
        self.net_2 = nn.Conv2d(first, second, 3, stride=2, padding=1, bias=False)
        self.net_3: nn.Module = nn.Identity()
        if halvings == 2:
            self.net_3 = nn.Conv2d(second, third, 3, stride=2, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, in_channels, image_size, image_size)` to a map of 1/32 or 1/64 of it."""
        x = self.blocks(self.patch_embed(x) + self.pos_embed)
        return self.net_3(self.net_2(self.neck(x.permute(0, 3, 1, 2))))


class Vary_VIT_B(nn.Module):  # noqa: N801, PaddleOCR's name
    """A ViT for images of one size, of one channel or three, as a sequence (SLANeXt)."""

    halvings: ClassVar = 1

    def __init__(
        self,
        in_channels: int = 3,
        image_size: int = 768,
        encoder_embed_dim: int = 768,
        encoder_depth: int = 12,
        encoder_num_heads: int = 12,
    ) -> None:
        super().__init__()
        self.image_size = image_size
        self.out_channels = WIDTHS[self.halvings]
        self.vision_tower_high = ImageEncoderViT(
            in_channels,
            image_size,
            encoder_embed_dim,
            encoder_depth,
            encoder_num_heads,
            self.halvings,
        )

    def forward(self, x: Tensor) -> Tensor:
        """`(N, 1 or 3, image_size, image_size)` to `(N, (image_size / 32)^2, 512)`."""
        size = (self.image_size, self.image_size)
        message = f"{type(self).__name__} accepts images of its own size only"
        torch._assert(x.shape[2:] == size, message)
        if x.shape[1] == 1:
            x = x.expand(-1, 3, -1, -1)
        return self.vision_tower_high(x).flatten(2).transpose(1, 2)


class Vary_VIT_B_Formula(Vary_VIT_B):  # noqa: N801, PaddleOCR's name
    """The same with a smaller map and a linear projection of the sequence (PP-FormulaNet-L)."""

    halvings = 2

    def __init__(
        self,
        in_channels: int = 3,
        image_size: int = 768,
        encoder_embed_dim: int = 768,
        encoder_depth: int = 12,
        encoder_num_heads: int = 12,
    ) -> None:
        super().__init__(
            in_channels, image_size, encoder_embed_dim, encoder_depth, encoder_num_heads
        )
        self.mm_projector_vary = nn.Linear(self.out_channels, self.out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, 1 or 3, image_size, image_size)` to `(N, (image_size / 64)^2, 1024)`."""
        return self.mm_projector_vary(super().forward(x))
