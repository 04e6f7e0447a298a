"""The feature pyramids of the DB detectors: four maps, added from coarse to fine, then joined.

Real-time Scene Text Detection with Differentiable Binarization, https://arxiv.org/abs/1911.08947;
PP-OCRv3 (RSEFPN), https://arxiv.org/abs/2206.03001; PaddleOCR: `ppocr/modeling/necks/db_fpn.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from architectures.layers.squeeze_excite import SqueezeExcite


def upsample(x: Tensor, factor: int) -> Tensor:
    """Repeat every value `factor` times in both directions."""
    return F.interpolate(x, scale_factor=float(factor), mode="nearest")


def add_down(
    in2: Tensor, in3: Tensor, in4: Tensor, in5: Tensor, inplace: bool = False
) -> tuple[Tensor, Tensor, Tensor]:
    """The three finer maps, each with the sum of the coarser ones added, in place or not."""
    add = _add_enlarged_ if inplace else _add_enlarged
    out4 = add(in4, in5)
    out3 = add(in3, out4)
    return add(in2, out3), out3, out4


def _add_enlarged(fine: Tensor, coarse: Tensor) -> Tensor:
    return fine + upsample(coarse, 2)


def _add_enlarged_(fine: Tensor, coarse: Tensor) -> Tensor:
    count, channels, height, width = coarse.shape
    quadruples = fine.view(count, channels, height, 2, width, 2)
    quadruples.add_(coarse[:, :, :, None, :, None])
    return fine


def enlarge(p2: Tensor, p3: Tensor, p4: Tensor, p5: Tensor) -> list[Tensor]:
    """All four maps at the size of the finest, the coarsest first."""
    return [upsample(p5, 8), upsample(p4, 4), upsample(p3, 2), p2]


MAP_FACTORS = (8, 4, 2, 1)
"""How many times as large the sides of the maps become, the coarsest first."""


def join(
    p2: Tensor, p3: Tensor, p4: Tensor, p5: Tensor, separate: bool = False
) -> Tensor | tuple[Tensor, ...]:
    """All four maps in one, at the size of the finest, or separate; the coarsest first."""
    return (p5, p4, p3, p2) if separate else torch.cat(enlarge(p2, p3, p4, p5), 1)


class ASFBlock(nn.Module):
    """Adaptive scale fusion: joins maps, each weighed by a share of its own at every pixel.

    Real-Time Scene Text Detection with Differentiable Binarization and Adaptive Scale Fusion
    (DB++), https://arxiv.org/abs/2202.10304.
    """

    def __init__(self, channels: int, maps: int = 4) -> None:
        super().__init__()
        inner = channels // maps
        self.conv = nn.Conv2d(channels, inner, 3, padding=1)
        self.spatial_scale = nn.Sequential(
            nn.Conv2d(1, 1, 3, padding=1, bias=False),
            nn.ReLU(),
            nn.Conv2d(1, 1, 1, bias=False),
            nn.Sigmoid(),
        )
        self.channel_scale = nn.Sequential(nn.Conv2d(inner, maps, 1, bias=False), nn.Sigmoid())

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps of one size to `(N, channels, H, W)`."""
        x = self.conv(torch.cat(list(maps), 1))
        shares = self.channel_scale(self.spatial_scale(x.mean(1, keepdim=True)) + x)
        weighed = [one * share for one, share in zip(maps, shares.split(1, 1), strict=True)]
        return torch.cat(weighed, 1)


class DBFPN(nn.Module):
    """The pyramid of plain convolutions, without bias and without normalisation.

    With `use_asf`, that of DB++, its four maps are weighed against each other.
    """

    inplace = False
    separate = False

    def __init__(
        self, in_channels: Sequence[int], out_channels: int, use_asf: bool = False
    ) -> None:
        super().__init__()
        self.map_factors = () if use_asf else MAP_FACTORS
        self.out_channels = out_channels
        self.in2_conv, self.in3_conv, self.in4_conv, self.in5_conv = (
            nn.Conv2d(channels, out_channels, 1, bias=False) for channels in in_channels
        )
        self.p2_conv, self.p3_conv, self.p4_conv, self.p5_conv = (
            nn.Conv2d(out_channels, out_channels // 4, 3, padding=1, bias=False) for _ in range(4)
        )
        self.asf = ASFBlock(out_channels) if use_asf else None

    def forward(
        self, features: tuple[Tensor, Tensor, Tensor, Tensor]
    ) -> Tensor | tuple[Tensor, ...]:
        """Maps of 1/4, 1/8, 1/16 and 1/32 of the image to `(N, out_channels, H / 4, W / 4)`."""
        c2, c3, c4, c5 = features
        in5 = self.in5_conv(c5)
        out2, out3, out4 = add_down(
            self.in2_conv(c2), self.in3_conv(c3), self.in4_conv(c4), in5, self.inplace
        )
        maps = self.p2_conv(out2), self.p3_conv(out3), self.p4_conv(out4), self.p5_conv(in5)
        return join(*maps, self.separate) if self.asf is None else self.asf(enlarge(*maps))


class RSELayer(nn.Module):
    """A convolution followed by channel weights, `shortcut` adding the unweighted map again."""

    inplace = False

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, shortcut: bool
    ) -> None:
        super().__init__()
        self.in_conv = nn.Conv2d(
            in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=False
        )
        self.se_block = SqueezeExcite(out_channels, slope=0.2)
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        """`(N, in_channels, H, W)` to `(N, out_channels, H, W)`."""
        x = self.in_conv(x)
        if not self.shortcut:
            return self.se_block(x)
        if self.inplace:
            return x.addcmul_(x, self.se_block.gate(x))
        return x + self.se_block(x)


class RSEFPN(nn.Module):
    """The pyramid whose convolutions weigh their channels."""

    inplace = False
    separate = False
    map_factors = MAP_FACTORS

    def __init__(
        self, in_channels: Sequence[int], out_channels: int, shortcut: bool = True
    ) -> None:
        super().__init__()
        self.out_channels = out_channels
        self.ins_conv = nn.ModuleList(
            RSELayer(channels, out_channels, 1, shortcut) for channels in in_channels
        )
        self.inp_conv = nn.ModuleList(
            RSELayer(out_channels, out_channels // 4, 3, shortcut) for _ in in_channels
        )

    def forward(
        self, features: tuple[Tensor, Tensor, Tensor, Tensor]
    ) -> Tensor | tuple[Tensor, ...]:
        """Maps of 1/4, 1/8, 1/16 and 1/32 of the image to `(N, out_channels, H / 4, W / 4)`."""
        in2, in3, in4, in5 = (conv(c) for conv, c in zip(self.ins_conv, features, strict=True))
        maps = (*add_down(in2, in3, in4, in5, self.inplace), in5)
        p2, p3, p4, p5 = (conv(m) for conv, m in zip(self.inp_conv, maps, strict=True))
        return join(p2, p3, p4, p5, self.separate)
