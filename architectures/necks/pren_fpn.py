"""PREN's neck: from maps of three sizes a few primitive vectors, and of these one per character.

Primitive Representation Learning for Scene Text Recognition, https://arxiv.org/abs/2105.04286;
PaddleOCR: `ppocr/modeling/necks/pren_fpn.py`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ConvNormConvNorm(nn.Sequential):
    """Two convolutions, a BatchNorm after each, swish between them, and perhaps a sigmoid."""

    folds: ClassVar = (("conv1", "bn1"), ("conv2", "bn2"))

    def __init__(self, conv1: nn.Conv2d, conv2: nn.Conv2d, sigmoid: bool = False) -> None:
        super().__init__(
            OrderedDict(
                conv1=conv1,
                bn1=nn.BatchNorm2d(conv1.out_channels),
                act=nn.SiLU(),
                conv2=conv2,
                bn2=nn.BatchNorm2d(conv2.out_channels),
                last=nn.Sigmoid() if sigmoid else nn.Identity(),
            )
        )


class PoolAggregate(nn.Sequential):
    """Each vector the mean of a map of its own."""

    def __init__(self, n_r: int, in_channels: int, out_channels: int) -> None:
        super().__init__(
            *(
                ConvNormConvNorm(
                    nn.Conv2d(in_channels, in_channels, 3, 2, 1, bias=False),
                    nn.Conv2d(in_channels, out_channels, 3, 2, 1, bias=False),
                )
                for _ in range(n_r)
            )
        )

    def forward(self, input: Tensor) -> Tensor:
        """`(N, in_channels, H, W)` to `(N, n_r, out_channels)`."""
        means = [F.adaptive_avg_pool2d(aggregate(input), 1) for aggregate in self]
        return torch.cat([mean.flatten(1).unsqueeze(1) for mean in means], 1)


class WeightAggregate(nn.Module):
    """Each vector a weighted sum of one map, by weights of its own."""

    def __init__(self, n_r: int, in_channels: int, out_channels: int) -> None:
        super().__init__()
        width = 4 * in_channels
        self.conv_n = ConvNormConvNorm(
            nn.Conv2d(in_channels, in_channels, 3, 1, 1, bias=False),
            nn.Conv2d(in_channels, n_r, 1, bias=False),
            sigmoid=True,
        )
        self.conv_d = ConvNormConvNorm(
            nn.Conv2d(in_channels, width, 3, 1, 1, bias=False),
            nn.Conv2d(width, out_channels, 1, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        """`(N, in_channels, H, W)` to `(N, n_r, out_channels)`."""
        weights, values = self.conv_n(x).flatten(2), self.conv_d(x).flatten(2)
        return torch.matmul(weights, values.transpose(1, 2))


class GCN(nn.Module):
    """A graph convolution: vectors mixed with each other, then each by itself, swish."""

    def __init__(self, n_in: int, n_out: int, dim: int) -> None:
        super().__init__()
        self.conv_n = nn.Conv1d(n_in, n_out, 1)
        self.linear = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, n_in, dim)` to `(N, n_out, dim)`."""
        return F.silu(self.linear(self.conv_n(x)))


class PRENFPN(nn.Module):
    """`n_r` primitive vectors of each map, in two ways; `max_len` vectors of each, their mean."""

    def __init__(self, in_channels: Sequence[int], n_r: int, d_model: int, max_len: int) -> None:
        super().__init__()
        if len(in_channels) != 3 or d_model % 3:
            raise ValueError(
                f"PRENFPN takes three maps and a d_model that three divides, not "
                f"{len(in_channels)} maps and {d_model}"
            )
        width = d_model // 3
        self.agg_p1, self.agg_p2, self.agg_p3 = (PoolAggregate(n_r, c, width) for c in in_channels)
        self.agg_w1, self.agg_w2, self.agg_w3 = (
            WeightAggregate(n_r, c, width) for c in in_channels
        )
        self.gcn_pool = GCN(n_r, max_len, d_model)
        self.gcn_weight = GCN(n_r, max_len, d_model)
        self.out_channels = d_model

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Three maps `(N, in_channels[i], H, W)` to `(N, max_len, d_model)`."""
        first, second, third = maps
        pooled = torch.cat([self.agg_p1(first), self.agg_p2(second), self.agg_p3(third)], 2)
        weighed = torch.cat([self.agg_w1(first), self.agg_w2(second), self.agg_w3(third)], 2)
        return 0.5 * (self.gcn_pool(pooled) + self.gcn_weight(weighed))
