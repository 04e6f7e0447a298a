"""The head of EAST: where text is, and for each place the four corners around it.

EAST: An Efficient and Accurate Scene Text Detector, https://arxiv.org/abs/1704.03155;
PaddleOCR: `ppocr/modeling/heads/det_east_head.py`.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from architectures.activations import Activation
from architectures.interfaces import OutputPart
from architectures.layers.conv import ConvBNLayer
from architectures.necks.east_fpn import east_width

FARTHEST = 800.0  # pixels from a place to a corner


class EASTHead(OutputPart):
    """Two convolutions, then one for each result."""

    logits_layers = ("score_conv.bn", "geo_conv.bn")
    activations: Mapping[str, Activation] = {
        "f_geo": Activation("sigmoid", ("geo_conv.bn",), scale=2 * FARTHEST, shift=-FARTHEST),
        "f_score": Activation("sigmoid", ("score_conv.bn",)),
    }
    text_map = ("f_score", 0.8)  # EASTPostProcess's `score_thresh`

    def __init__(self, in_channels: int, model_name: str) -> None:
        super().__init__()
        width = east_width(model_name)
        self.det_conv1 = ConvBNLayer(in_channels, width, 3, act="relu")
        self.det_conv2 = ConvBNLayer(width, width // 2, 3, act="relu")
        self.score_conv = ConvBNLayer(width // 2, 1, 1)
        self.geo_conv = ConvBNLayer(width // 2, 8, 1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """`(N, in_channels, H / 4, W / 4)` to two maps of the same size.

        `f_score`, one channel, is the probability of text. `f_geo`, eight channels, is how far to
        the left and above each corner is, x and y in turns, in pixels of the image.
        """
        x = self.det_conv2(self.det_conv1(x))
        return {
            "f_geo": (self.geo_conv(x).sigmoid() - 0.5) * (2 * FARTHEST),
            "f_score": self.score_conv(x).sigmoid(),
        }
