"""TSRN: lines of text at twice their size, sharper; residual blocks read rows and columns by GRUs.

Scene Text Image Super-Resolution in the Wild, https://arxiv.org/abs/2005.03341, as trained for Text
Gestalt, https://arxiv.org/abs/2112.08171; PaddleOCR: `ppocr/modeling/transforms/tsrn.py`.

In training an STN also rectifies the image, and a recogniser scores the result.
"""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from architectures.interfaces import OutputPart

CHANNELS = 3


class ConvBN(nn.Sequential):
    """A 3x3 convolution that keeps the size, and BatchNorm."""

    folds: ClassVar = (("0", "1"),)

    def __init__(self, channels: int) -> None:
        super().__init__(nn.Conv2d(channels, channels, 3, padding=1), nn.BatchNorm2d(channels))


class GruBlock(nn.Module):
    """A 1x1 convolution, then a GRU along each row, in both directions."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 1)
        self.gru = nn.GRU(channels, channels // 2, batch_first=True, bidirectional=True)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, C, H, W)` to the same shape."""
        x = self.conv1(x).permute(0, 2, 3, 1)
        rows, _ = self.gru(x.flatten(0, 1))
        return rows.unflatten(0, x.shape[:2]).permute(0, 3, 1, 2)


class RecurrentResidualBlock(nn.Module):
    """Two convolutions and a GRU along the columns, added to the input; then one along the rows."""

    folds: ClassVar = (("conv1", "bn1"), ("conv2", "bn2"))

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.bn1 = nn.BatchNorm2d(channels)
        self.gru1 = GruBlock(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.bn2 = nn.BatchNorm2d(channels)
        self.gru2 = GruBlock(channels)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, C, H, W)` to the same shape."""
        y = self.bn2(self.conv2(F.mish(self.bn1(self.conv1(x)))))
        return self.gru2(x + self.gru1(y.transpose(2, 3)).transpose(2, 3))


class UpsampleBLock(nn.Module):  # PaddleOCR's spelling
    """Twice the size: a convolution to four times the channels, which become pixels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, 4 * channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, C, H, W)` to `(N, C, 2 * H, 2 * W)`."""
        return F.mish(F.pixel_shuffle(self.conv(x), 2))


class TSRN(OutputPart):
    """`srb_nums` residual blocks of `2 * hidden_units` channels, then `scale_factor` in size.

    It gives `lr_img (N, 3, H, W)`, the image as it came, and `sr_img`, the larger one, whose values
    lie between -1 and 1.
    """

    sr_output = "sr_img"
    residual_block: type[nn.Module] = RecurrentResidualBlock

    def __init__(
        self,
        in_channels: int = CHANNELS,
        scale_factor: int = 2,
        srb_nums: int = 5,
        hidden_units: int = 32,
    ) -> None:
        super().__init__()
        doublings = scale_factor.bit_length() - 1
        if in_channels != CHANNELS or scale_factor != 2**doublings:
            raise ValueError(
                f"{type(self).__name__} makes images of 3 channels 2, 4, 8 ... times as large, not "
                f"images of {in_channels} channels {scale_factor} times"
            )
        channels = 2 * hidden_units
        self.out_channels = in_channels
        self.block1 = nn.Sequential(
            nn.Conv2d(CHANNELS, channels, 9, padding=4), nn.PReLU(init=0.25)
        )
        self.between = tuple(f"block{number}" for number in range(2, srb_nums + 3))
        for name in self.between[:-1]:
            self.add_module(name, self.residual_block(channels))
        self.add_module(self.between[-1], ConvBN(channels))
        self.last = f"block{srb_nums + 3}"
        self.add_module(
            self.last,
            nn.Sequential(
                *(UpsampleBLock(channels) for _ in range(doublings)),
                nn.Conv2d(channels, CHANNELS, 9, padding=4),
            ),
        )
        self.logits_layers = (f"{self.last}.{doublings}",)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """`x: (N, 3, H, W)`, values 0 to 1, to the results by PaddleOCR's names."""
        first = y = self.block1(x)
        for name in self.between:
            y = self.get_submodule(name)(y)
        return {"lr_img": x, "sr_img": torch.tanh(self.get_submodule(self.last)(first + y))}
