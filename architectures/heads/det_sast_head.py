"""The head of SAST: where text is, and how far its borders, corners and centres are.

A Single-Shot Arbitrarily-Shaped Text Detector based on Context Attended Multi-Task Learning,
https://arxiv.org/abs/1908.05498; PaddleOCR: `ppocr/modeling/heads/det_sast_head.py`.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from architectures.activations import Activation
from architectures.interfaces import OutputPart
from architectures.layers.conv import ConvBNLayer


def branch(in_channels: int, out_channels: int) -> nn.Sequential:
    """Four convolutions that give one result."""
    return nn.Sequential(
        ConvBNLayer(in_channels, 64, 1, act="relu"),
        ConvBNLayer(64, 64, 3, act="relu"),
        ConvBNLayer(64, 128, 1, act="relu"),
        ConvBNLayer(128, out_channels, 3),
    )


class SAST_Header1(nn.Module):  # noqa: N801, PaddleOCR's name
    """The branches of the centre line and of the border."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.score_conv = branch(in_channels, 1)
        self.border_conv = branch(in_channels, 4)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """`(N, in_channels, H, W)` to `(N, 1, H, W)` and `(N, 4, H, W)`."""
        return self.score_conv(x).sigmoid(), self.border_conv(x)


class SAST_Header2(nn.Module):  # noqa: N801, PaddleOCR's name
    """The branches of the corners and of the centre."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.tvo_conv = branch(in_channels, 8)
        self.tco_conv = branch(in_channels, 2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """`(N, in_channels, H, W)` to `(N, 8, H, W)` and `(N, 2, H, W)`."""
        return self.tvo_conv(x), self.tco_conv(x)


class SASTHead(OutputPart):
    """Two pairs of branches."""

    logits_layers = (
        "head1.border_conv.3.bn",
        "head1.score_conv.3.bn",
        "head2.tco_conv.3.bn",
        "head2.tvo_conv.3.bn",
    )
    activations: Mapping[str, Activation] = {
        "f_score": Activation("sigmoid", ("head1.score_conv.3.bn",))
    }
    text_map = ("f_score", 0.5)  # SASTPostProcess's `score_thresh`

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.head1 = SAST_Header1(in_channels)
        self.head2 = SAST_Header2(in_channels)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """`(N, in_channels, H / 4, W / 4)` to four maps of the same size.

        `f_score`, one channel, is the probability of a line's centre. The others are offsets, x and
        y in turns: `f_border` to the upper and the lower border, `f_tvo` to the four corners,
        `f_tco` to the middle of the line.
        """
        score, border = self.head1(x)
        tvo, tco = self.head2(x)
        return {"f_border": border, "f_score": score, "f_tco": tco, "f_tvo": tvo}
