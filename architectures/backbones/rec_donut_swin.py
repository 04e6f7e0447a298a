"""DonutSwinModel, the backbone of UniMERNet: attention in windows, every second time shifted ones.

Swin Transformer, https://arxiv.org/abs/2103.14030; Donut, https://arxiv.org/abs/2111.15664;
PaddleOCR: `ppocr/modeling/backbones/rec_donut_swin.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

WINDOW = 5
SHIFT = WINDOW // 2
PATCH = 4
MLP_RATIO = 4
HIDDEN = -100.0  # bias that masks the attention scores of unseen positions

Size = tuple[int, int]


def windows_of(x: Tensor) -> Tensor:
    """`(N, H, W, C)`, sides multiples of WINDOW, to `(windows, WINDOW * WINDOW, C)`."""
    x = x.unflatten(2, (-1, WINDOW)).unflatten(1, (-1, WINDOW))
    return x.transpose(2, 3).flatten(0, 2).flatten(1, 2)


def map_of(windows: Tensor, size: Size) -> Tensor:
    """Undoes `windows_of` for a map of this height and width."""
    rows, columns = size[0] // WINDOW, size[1] // WINDOW
    x = windows.unflatten(1, (WINDOW, WINDOW)).unflatten(0, (-1, rows, columns))
    return x.transpose(2, 3).flatten(3, 4).flatten(1, 2)


def relative_positions(device: torch.device) -> Tensor:
    """For each pair of places in a window the row of the bias table, `(25, 25) int64`."""
    steps = torch.arange(WINDOW, device=device)
    places = torch.cartesian_prod(steps, steps)
    apart = places[:, None] - places + WINDOW - 1
    return apart[..., 0] * (2 * WINDOW - 1) + apart[..., 1]


def shifted_mask(size: Size, device: torch.device) -> Tensor:
    """Attention bias of shifted windows, `(windows, 25, 25)`.

    A window that holds places from both ends of the map is several: none sees the others.
    """
    rows, columns = (
        torch.bucketize(
            torch.arange(side, device=device),
            torch.tensor([side - WINDOW, side - SHIFT], device=device),
            right=True,
        )
        for side in size
    )
    regions = windows_of((3 * rows[:, None] + columns)[None, ..., None]).flatten(1)
    return HIDDEN * (regions[:, None] != regions[..., None])


class DonutSwinPatchEmbeddings(nn.Module):
    """Patches of 4 x 4 pixels, with zero padding at the right and at the bottom."""

    def __init__(self, in_channels: int, embed_dim: int) -> None:
        super().__init__()
        self.projection = nn.Conv2d(in_channels, embed_dim, PATCH, stride=PATCH)

    def forward(self, x: Tensor) -> tuple[Tensor, Size]:
        """`(N, 3, H, W)` to `(N, T, embed_dim)` and the height and width of the map."""
        height, width = x.shape[2:]
        x = self.projection(F.pad(x, (0, -width % PATCH, 0, -height % PATCH)))
        return x.flatten(2).transpose(1, 2), (x.shape[2], x.shape[3])


class DonutSwinEmbeddings(nn.Module):
    """The patches, normalised."""

    def __init__(self, in_channels: int, embed_dim: int) -> None:
        super().__init__()
        self.patch_embeddings = DonutSwinPatchEmbeddings(in_channels, embed_dim)
        self.norm = nn.LayerNorm(embed_dim)

    def forward(self, x: Tensor) -> tuple[Tensor, Size]:
        """`(N, 3, H, W)` to `(N, T, embed_dim)` and the height and width of the map."""
        x, size = self.patch_embeddings(x)
        return self.norm(x), size


class DonutSwinPatchMerging(nn.Module):
    """Four neighbours become one place of twice the channels."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.reduction = nn.Linear(4 * dim, 2 * dim, bias=False)
        self.norm = nn.LayerNorm(4 * dim)

    def forward(self, x: Tensor, size: Size) -> tuple[Tensor, Size]:
        """`(N, H * W, dim)` to `(N, H / 2 * W / 2, 2 * dim)` and the size, sides rounded up."""
        height, width = size
        x = F.pad(x.unflatten(1, size), (0, 0, 0, width % 2, 0, height % 2))
        corners = [x[:, row::2, column::2] for column in (0, 1) for row in (0, 1)]
        merged = torch.cat(corners, -1)
        return self.reduction(self.norm(merged.flatten(1, 2))), (merged.shape[1], merged.shape[2])


class DonutSwinSelfAttention(nn.Module):
    """Attention of several heads in a window, biased by how places lie to each other."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        rows = (2 * WINDOW - 1) ** 2
        self.relative_position_bias_table = nn.Parameter(torch.zeros(rows, num_heads))
        self.query = nn.Linear(dim, dim)
        self.key = nn.Linear(dim, dim)
        self.value = nn.Linear(dim, dim)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """`x: (N * windows, 25, dim)`, `mask: (windows, 25, 25)` to the shape of `x`."""
        table = self.relative_position_bias_table
        bias = table[relative_positions(x.device)].permute(2, 0, 1)
        if mask is not None:
            bias = (bias + mask[:, None]).repeat(x.shape[0] // len(mask), 1, 1, 1)
        queries, keys, values = (
            layer(x).unflatten(2, (self.num_heads, -1)).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        )
        mixed = F.scaled_dot_product_attention(queries, keys, values, attn_mask=bias)
        return mixed.transpose(1, 2).flatten(2)


class Dense(nn.Module):
    """A linear layer under the name that Swin's have."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.dense = nn.Linear(in_features, out_features)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, T, in_features)` to `(N, T, out_features)`."""
        return self.dense(x)


class DonutSwinAttention(nn.Module):
    """Attention in windows, and a linear layer."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.self = DonutSwinSelfAttention(dim, num_heads)
        self.output = Dense(dim, dim)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """`x: (N * windows, 25, dim)`, `mask: (windows, 25, 25)` to the shape of `x`."""
        return self.output(self.self(x, mask))


class DonutSwinLayer(nn.Module):
    """Attention in windows and two linear layers, each normalised first and added."""

    def __init__(self, dim: int, num_heads: int, shifted: bool) -> None:
        super().__init__()
        self.shifted = shifted
        self.layernorm_before = nn.LayerNorm(dim)
        self.attention = DonutSwinAttention(dim, num_heads)
        self.layernorm_after = nn.LayerNorm(dim)
        self.intermediate = Dense(dim, MLP_RATIO * dim)
        self.output = Dense(MLP_RATIO * dim, dim)

    def forward(self, x: Tensor, size: Size) -> Tensor:
        """`(N, H * W, dim)` of a map of this height and width to the same shape."""
        x = x + self._attend(self.layernorm_before(x), size)
        return x + self.output(F.gelu(self.intermediate(self.layernorm_after(x))))

    def _attend(self, x: Tensor, size: Size) -> Tensor:
        height, width = size
        x = F.pad(x.unflatten(1, size), (0, 0, 0, -width % WINDOW, 0, -height % WINDOW))
        padded = x.shape[1], x.shape[2]
        # A map of one row of windows is not shifted.
        if not self.shifted or min(size) <= WINDOW:
            x = map_of(self.attention(windows_of(x), None), padded)
        else:
            x = x.roll((-SHIFT, -SHIFT), (1, 2))
            x = map_of(self.attention(windows_of(x), shifted_mask(padded, x.device)), padded)
            x = x.roll((SHIFT, SHIFT), (1, 2))
        return x[:, :height, :width].flatten(1, 2)


class DonutSwinStage(nn.Module):
    """Swin blocks, every second one shifted, then patch merging except in the last stage."""

    def __init__(self, dim: int, depth: int, num_heads: int, last: bool) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            DonutSwinLayer(dim, num_heads, shifted=index % 2 == 1) for index in range(depth)
        )
        self.downsample = None if last else DonutSwinPatchMerging(dim)

    def forward(self, x: Tensor, size: Size) -> tuple[Tensor, Size]:
        """Return the tokens and the map size of the next stage, from `(N, H * W, dim)`."""
        for block in self.blocks:
            x = block(x, size)
        return (x, size) if self.downsample is None else self.downsample(x, size)


class DonutSwinEncoder(nn.Module):
    """The stages, each of twice the channels."""

    def __init__(self, embed_dim: int, depths: Sequence[int], num_heads: Sequence[int]) -> None:
        super().__init__()
        last = len(depths) - 1
        self.layers = nn.ModuleList(
            DonutSwinStage(embed_dim * 2**stage, depth, heads, last=stage == last)
            for stage, (depth, heads) in enumerate(zip(depths, num_heads, strict=True))
        )

    def forward(self, x: Tensor, size: Size) -> Tensor:
        """`(N, H * W, embed_dim)` to `(N, H / 8 * W / 8, 8 * embed_dim)` with four stages."""
        for layer in self.layers:
            x, size = layer(x, size)
        return x


class DonutSwinModel(nn.Module):
    """The Swin Transformer of UniMERNet; `embed_dim` and `depths` are the same in all of PaddleOCR.

    The smallest map is 5 x 5 at least: images of more than 128 pixels on each side.
    """

    def __init__(
        self,
        in_channels: int = 3,
        hidden_size: int = 1024,
        num_heads: Sequence[int] = (4, 8, 16, 32),
        embed_dim: int = 128,
        depths: Sequence[int] = (2, 2, 14, 2),
    ) -> None:
        super().__init__()
        self.out_channels = hidden_size
        self.embeddings = DonutSwinEmbeddings(in_channels, embed_dim)
        self.encoder = DonutSwinEncoder(embed_dim, depths, num_heads)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, 1 or 3, H, W)` to `(N, H / 32 * W / 32, hidden_size)`, sides rounded up."""
        if x.shape[1] == 1:
            x = x.expand(-1, 3, -1, -1)
        return self.encoder(*self.embeddings(x))
