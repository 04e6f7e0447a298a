"""A learnable scale and offset for a whole map."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class LearnableAffine(nn.Module):
    """`scale * x + bias` with one scale and one bias for the whole map (LAB in PaddleOCR)."""

    inplace = False

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))
        self.bias = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        """`x` and the result have one shape, any."""
        if self.inplace:
            return x.mul_(self.scale).add_(self.bias)
        return self.scale * x + self.bias

    def joined(self) -> nn.Module:
        """Return the same map in one operation."""
        return JoinedAffine(self)


class JoinedAffine(nn.Module):
    """`LearnableAffine` in one operation, for inference.

    Args:
        affine: the map, which is not on the meta device.
    """

    def __init__(self, affine: LearnableAffine) -> None:
        super().__init__()
        self.inplace = affine.inplace
        self.scale, self.bias = affine.scale.item(), affine.bias.detach()

    def forward(self, x: Tensor) -> Tensor:
        """`x` and the result have one shape, any."""
        return torch.add(self.bias, x, alpha=self.scale, out=x if self.inplace else None)
