"""The head of FCENet: where text is, and the Fourier series of the contour around it.

Fourier Contour Embedding for Arbitrary-Shaped Text Detection, https://arxiv.org/abs/2104.10442;
PaddleOCR: `ppocr/modeling/heads/det_fce_head.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from architectures.interfaces import OutputPart


class FCEHead(OutputPart):
    """Two convolutions, the same for the maps of every size."""

    logits_layers = ("out_conv_cls", "out_conv_reg")
    # The first channel is the probability that there is none: where it ends, text begins.
    text_map = ("level_0", 0.5)

    def __init__(self, in_channels: int, fourier_degree: int = 5) -> None:
        super().__init__()
        coefficients = 2 * (2 * fourier_degree + 1)
        self.out_conv_cls = nn.Conv2d(in_channels, 4, 3, padding=1)
        self.out_conv_reg = nn.Conv2d(in_channels, coefficients, 3, padding=1)

    def forward(self, maps: Sequence[Tensor]) -> dict[str, Tensor]:
        """Each of the neck's maps to `level_I: (N, 4 + 2 * (2 * fourier_degree + 1), H, W)`.

        Two channels are the probabilities of no text and of text, two those of no core and of the
        core of a line; the others are the real parts of the coefficients, then the imaginary ones.
        """
        levels = [(self.out_conv_cls(x), self.out_conv_reg(x)) for x in maps]
        return {
            f"level_{level}": torch.cat(
                [scores[:, :2].softmax(1), scores[:, 2:].softmax(1), contour], 1
            )
            for level, (scores, contour) in enumerate(levels)
        }
