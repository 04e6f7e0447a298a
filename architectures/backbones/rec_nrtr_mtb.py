"""MTB, the modality transform of NRTR: two convolutions that make a sequence of an image.

NRTR, https://arxiv.org/abs/1806.00926; PaddleOCR: `ppocr/modeling/backbones/rec_nrtr_mtb.py`.
"""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn

WIDTHS = (32, 64)


class MTB(nn.Module):
    """Convolutions that halve both sides; normalised after the ReLU, which cannot be folded."""

    def __init__(self, in_channels: int, cnn_num: int = 2) -> None:
        super().__init__()
        if cnn_num != len(WIDTHS):
            raise ValueError(f"MTB has {len(WIDTHS)} convolutions (cnn_num), not {cnn_num}")
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        channels = in_channels
        for index, width in enumerate(WIDTHS):
            layers[f"conv_{index}"] = nn.Conv2d(channels, width, 3, stride=2, padding=1)
            layers[f"relu_{index}"] = nn.ReLU()
            layers[f"bn_{index}"] = nn.BatchNorm2d(width)
            channels = width
        self.block = nn.Sequential(layers)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, in_channels, 32, W)` to `(N, W / 4, 512)`, the columns from left to right."""
        return self.block(x).permute(0, 3, 2, 1).flatten(2)
