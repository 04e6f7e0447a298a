"""TBSRN: lines of text at twice their size, sharper; residual blocks end in self-attention.

Scene Text Telescope: Text-Focused Scene Image Super-Resolution,
https://openaccess.thecvf.com/content/CVPR2021/html/Chen_Scene_Text_Telescope_Text-Focused_Scene_Image_Super-Resolution_CVPR_2021_paper.html;
PaddleOCR: `ppocr/modeling/transforms/tbsrn.py` and, for the attention,
`ppocr/modeling/heads/sr_rensnet_transformer.py`.

The network of TSRN with other blocks, whose GRUs PaddleOCR keeps and does not run.
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from architectures.transforms.tsrn import TSRN

WIDTH = 64
HEADS = 4
SIZE = (16, 64)
# Paddle's dropout mode `downscale_in_infer`: scale by 1 - p at inference.
KEPT = 0.9


def positions(width: int, size: tuple[int, int], device: torch.device) -> Tensor:
    """Sines and cosines of each place: `(width, H, W)`, half of them of its column, half its row.

    They alternate; their wave lengths grow from 2 pi to 10000 times that.
    """
    half = width // 2
    pace = torch.exp(torch.arange(0, half, 2, device=device) * (-math.log(10000) / half))
    waves = []
    for length in reversed(size):
        angle = pace[:, None] * torch.arange(length, device=device)
        waves.append(torch.stack([angle.sin(), angle.cos()], 1).flatten(0, 1))
    columns, rows = waves
    return torch.cat([columns[:, None].expand(-1, *size), rows[:, :, None].expand(-1, *size)])


class LayerNorm(nn.Module):
    """A LayerNorm that divides by the standard deviation of a sample, to which it adds `eps`.

    That is `n / (n - 1)` times the variance of the usual one, and epsilon outside the root.
    """

    def __init__(self, features: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.a_2 = nn.Parameter(torch.ones(features))
        self.b_2 = nn.Parameter(torch.zeros(features))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """`(…, features)` to the same shape."""
        x = x - x.mean(-1, keepdim=True)
        variance = x.square().sum(-1, keepdim=True) / (x.shape[-1] - 1)
        return self.a_2 * x / (variance.sqrt() + self.eps) + self.b_2


class MultiHeadedAttention(nn.Module):
    """Self-attention in `HEADS` heads."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.linears = nn.ModuleList(nn.Linear(dim, dim) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        """`(N, T, dim)` to the same shape."""
        *queried, last = self.linears
        q, k, v = (layer(x).unflatten(2, (HEADS, -1)).transpose(1, 2) for layer in queried)
        return last(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2) * KEPT)


class PositionwiseFeedForward(nn.Module):
    """Two linear layers."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.w_1 = nn.Linear(dim, dim)
        self.w_2 = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, T, dim)` to the same shape."""
        return self.w_2(F.relu(self.w_1(x)) * KEPT)


class FeatureEnhancer(nn.Module):
    """Self-attention over the positions of a map, by content and position."""

    def __init__(self) -> None:
        super().__init__()
        self.multihead = MultiHeadedAttention(2 * WIDTH)
        self.mul_layernorm1 = LayerNorm(2 * WIDTH)
        self.pff = PositionwiseFeedForward(2 * WIDTH)
        self.mul_layernorm3 = LayerNorm(2 * WIDTH)
        self.linear = nn.Linear(2 * WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, 64, H, W)`, `H * W` as many as those of `SIZE`, to the same shape.

        Pixels are counted row by row, and each takes the code of the place that its number has in
        an image of `SIZE`.
        """
        places = positions(WIDTH, SIZE, x.device).to(x.dtype).flatten(1)
        y = torch.cat([x.flatten(2), places.expand(x.shape[0], -1, -1)], 1).transpose(1, 2)
        y = self.mul_layernorm1(y + self.multihead(y))
        y = self.linear(self.mul_layernorm3(y + self.pff(y)))
        return y.transpose(1, 2).unflatten(2, x.shape[2:])


class RecurrentResidualBlock(nn.Module):
    """Two convolutions and attention over the whole map, added to the input."""

    folds: ClassVar = (("conv1", "bn1"), ("conv2", "bn2"))

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.bn2 = nn.BatchNorm2d(channels)
        self.feature_enhancer = FeatureEnhancer()

    def forward(self, x: Tensor) -> Tensor:
        """`(N, 64, H, W)` to the same shape; for the sizes, see `FeatureEnhancer`."""
        y = self.bn2(self.conv2(F.mish(self.bn1(self.conv1(x)))))
        return x + self.feature_enhancer(y)


class TBSRN(TSRN):
    """TSRN with attention in its blocks; it accepts images of 1,024 pixels only.

    It is trained with 16 x 64 images. The result is that of TSRN.
    """

    residual_block = RecurrentResidualBlock

    def __init__(self, in_channels: int = 3, scale_factor: int = 2, srb_nums: int = 5) -> None:
        super().__init__(in_channels, scale_factor, srb_nums, WIDTH // 2)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """`x: (N, 3, H, W)`, values 0 to 1, to the results by PaddleOCR's names."""
        pixels = math.prod(SIZE)
        torch._assert(
            x.shape[2] * x.shape[3] == pixels,
            f"TBSRN accepts images of {pixels} pixels only, such as {SIZE[0]} x {SIZE[1]}",
        )
        return super().forward(x)
