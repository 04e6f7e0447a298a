"""The blocks of SVTR, shared by its backbone and by the necks that end in a few of them.

SVTR, https://arxiv.org/abs/2205.00159; PaddleOCR: `ppocr/modeling/backbones/rec_svtrnet.py`.
"""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from architectures.layers.conv import ACTIVATIONS
from architectures.layers.dropping import NOTHING, Drops, drop_branch

Size = tuple[int, int]


def to_map(x: Tensor, size: Size) -> Tensor:
    """`(N, H * W, C)` to `(N, C, H, W)`."""
    return x.transpose(1, 2).unflatten(2, size)


def to_sequence(x: Tensor) -> Tensor:
    """`(N, C, H, W)` to `(N, H * W, C)`."""
    return x.flatten(2).transpose(1, 2)


def neighbours(size: Size, window: Size, device: torch.device) -> Tensor:
    """Which places of a map lie in the window around each: `(H * W, H * W)` bool, row by row."""
    near = []
    for length, reach in zip(size, window, strict=True):
        place = torch.arange(length, device=device)
        step = place[None] - place[:, None]
        near.append((step >= -(reach // 2)) & (step < reach - reach // 2))
    rows, columns = near
    return (rows[:, None, :, None] & columns[None, :, None, :]).flatten(2).flatten(0, 1)


class Attention(nn.Module):
    """Self-attention over the whole sequence, or in a window around each place of a map."""

    def __init__(
        self,
        dim: int,
        num_heads: int,
        qkv_bias: bool,
        size: Size | None = None,
        window: Size | None = None,
        drops: Drops = NOTHING,
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.drops = drops
        self.size = size
        self.window = window
        self.qkv = nn.Linear(dim, 3 * dim, bias=qkv_bias)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, T, dim)` to the same shape."""
        q, k, v = self.qkv(x).unflatten(2, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4).unbind()
        near = None
        if self.size is not None and self.window is not None:
            near = neighbours(self.size, self.window, x.device)
        if not self.training:
            y = F.scaled_dot_product_attention(q, k, v, near)
            return self.proj(y.transpose(1, 2).flatten(2))
        y = F.scaled_dot_product_attention(q, k, v, near, self.drops.attention)
        return F.dropout(self.proj(y.transpose(1, 2).flatten(2)), self.drops.values)


class ConvMixer(nn.Module):
    """A convolution of the map, in as many groups as attention would have heads."""

    def __init__(self, dim: int, num_heads: int, size: Size, window: Size) -> None:
        super().__init__()
        self.size = size
        padding = (window[0] // 2, window[1] // 2)
        self.local_mixer = nn.Conv2d(dim, dim, window, padding=padding, groups=num_heads)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, H * W, dim)` to the same shape."""
        return to_sequence(self.local_mixer(to_map(x, self.size)))


class Mlp(nn.Module):
    """Two linear layers with an activation between them."""

    activates: ClassVar = (("fc1", "act"),)

    def __init__(self, dim: int, hidden: int, act: str, drops: Drops = NOTHING) -> None:
        super().__init__()
        self.drops = drops
        self.fc1 = nn.Linear(dim, hidden)
        self.act = ACTIVATIONS[act]()
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, T, dim)` to the same shape."""
        x = self.act(self.fc1(x))
        if not self.training:
            return self.fc2(x)
        return F.dropout(self.fc2(F.dropout(x, self.drops.values)), self.drops.values)


class Block(nn.Module):
    """A transformer block, by default as the necks have it: global attention, swish.

    PaddleOCR's `prenorm` normalises after the residual sum (post-norm); without it the block is
    pre-norm.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        mlp_ratio: float,
        qkv_bias: bool,
        *,
        mixer: nn.Module | None = None,
        act: str = "swish",
        eps: float = 1e-5,
        prenorm: bool = False,
        drops: Drops = NOTHING,
    ) -> None:
        super().__init__()
        self.prenorm = prenorm
        self.drops = drops
        self.norm1 = nn.LayerNorm(dim, eps=eps)
        self.mixer = Attention(dim, num_heads, qkv_bias, drops=drops) if mixer is None else mixer
        self.norm2 = nn.LayerNorm(dim, eps=eps)
        self.mlp = Mlp(dim, int(dim * mlp_ratio), act, drops)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, T, dim)` to the same shape."""
        if self.prenorm:
            x = self.norm1(x + self._branch(self.mixer(x)))
            return self.norm2(x + self._branch(self.mlp(x)))
        x = x + self._branch(self.mixer(self.norm1(x)))
        return x + self._branch(self.mlp(self.norm2(x)))

    def _branch(self, x: Tensor) -> Tensor:
        return drop_branch(x, self.drops.branches, self.training)
