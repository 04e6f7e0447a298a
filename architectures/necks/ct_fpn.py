"""The feature pyramid of CentripetalText: maps that are enhanced down and up, twice.

CentripetalText, https://arxiv.org/abs/2107.05945, with the pyramid of PAN,
https://arxiv.org/abs/1908.05900; PaddleOCR: `ppocr/modeling/necks/ct_fpn.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from architectures.layers.conv import ConvBNAct

CHANNELS = 128  # of every map
Maps = tuple[Tensor, Tensor, Tensor, Tensor]


def enlarge(x: Tensor, factor: int) -> Tensor:
    """`(N, C, H, W)` to `(N, C, factor * H, factor * W)`, interpolated; corners are not aligned."""
    return F.interpolate(x, scale_factor=float(factor), mode="bilinear", align_corners=False)


class FPEM(nn.Module):
    """Feature pyramid enhancement: adds coarser maps to finer ones, then these to the coarser.

    After each sum follow a depthwise convolution, `dwconv{map}_{1 down, 2 up}`, and a 1x1 one.
    """

    def __init__(self) -> None:
        super().__init__()
        for stride, names in ((1, ("3_1", "2_1", "1_1")), (2, ("2_2", "3_2", "4_2"))):
            for name in names:
                depthwise = nn.Conv2d(
                    CHANNELS, CHANNELS, 3, stride, padding=1, groups=CHANNELS, bias=False
                )
                self.add_module(f"dwconv{name}", depthwise)
                smooth = ConvBNAct(CHANNELS, CHANNELS, 1, act="relu")
                self.add_module(f"smooth_layer{name}", smooth)

    def step(self, name: str, coarse: Tensor, fine: Tensor) -> Tensor:
        """The sum of two maps at the size of the finer one, and the convolutions after it."""
        x = self.get_submodule(f"dwconv{name}")(enlarge(coarse, 2) + fine)
        return self.get_submodule(f"smooth_layer{name}")(x)

    def forward(self, f1: Tensor, f2: Tensor, f3: Tensor, f4: Tensor) -> Maps:
        """Four maps, each half as large as the one before, to four of the same sizes."""
        f3 = self.step("3_1", f4, f3)
        f2 = self.step("2_1", f3, f2)
        f1 = self.step("1_1", f2, f1)
        # The way up: the strides of the depthwise convolutions bring the sums to half the size.
        f2 = self.step("2_2", f2, f1)
        f3 = self.step("3_2", f3, f2)
        return f1, f2, f3, self.step("4_2", f4, f3)


class CTFPN(nn.Module):
    """Maps of one width, enhanced twice; the sums of both are joined at the size of the finest.

    PaddleOCR's maps have 128 channels whatever `out_channel` says, which its head believes: with
    another number, PaddleOCR builds a network that it cannot run.
    """

    def __init__(self, in_channels: Sequence[int], out_channel: int = CHANNELS) -> None:
        super().__init__()
        if out_channel != CHANNELS:
            raise ValueError(
                f"out_channel is {out_channel}, but PaddleOCR's CTFPN has maps of {CHANNELS} "
                f"channels always, so no head built for {4 * out_channel} can read them; give "
                f"{CHANNELS}"
            )
        self.out_channels = 4 * CHANNELS
        self.reduce_layer1, self.reduce_layer2, self.reduce_layer3, self.reduce_layer4 = (
            ConvBNAct(channels, CHANNELS, 1, act="relu") for channels in in_channels
        )
        self.fpem1 = FPEM()
        self.fpem2 = FPEM()

    def forward(self, features: Maps) -> Tensor:
        """Maps of 1/4, 1/8, 1/16 and 1/32 of the image to `(N, 512, H / 4, W / 4)`."""
        c1, c2, c3, c4 = features
        first = self.fpem1(
            self.reduce_layer1(c1),
            self.reduce_layer2(c2),
            self.reduce_layer3(c3),
            self.reduce_layer4(c4),
        )
        f1, f2, f3, f4 = (a + b for a, b in zip(first, self.fpem2(*first), strict=True))
        return torch.cat([f1, enlarge(f2, 2), enlarge(f3, 4), enlarge(f4, 8)], 1)
