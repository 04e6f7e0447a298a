"""ShallowCNN, the backbone of SATRN: two convolutions, a pooling behind each.

On Recognizing Texts of Arbitrary Shapes with 2D Self-Attention, https://arxiv.org/abs/1910.04396;
PaddleOCR: `ppocr/modeling/backbones/rec_shallow_cnn.py`.
"""

from __future__ import annotations

from torch import Tensor, nn

from architectures.layers.conv import ConvBNAct
from architectures.layers.pooling import max_pool2d


class ShallowCNN(nn.Module):
    """Keeps a map of `hidden_dim` channels, a quarter as high and as wide as the image."""

    def __init__(self, in_channels: int = 1, hidden_dim: int = 512) -> None:
        super().__init__()
        self.out_channels = hidden_dim
        self.conv1 = ConvBNAct(in_channels, hidden_dim // 2, 3, act="relu")
        self.conv2 = ConvBNAct(hidden_dim // 2, hidden_dim, 3, act="relu")

    def forward(self, x: Tensor) -> Tensor:
        """`(N, in_channels, H, W)` to `(N, hidden_dim, H / 4, W / 4)`."""
        return max_pool2d(self.conv2(max_pool2d(self.conv1(x), 2)), 2)
