"""The head of PGNet: text probability, border offsets, reading direction and characters.

PGNet: Real-time Arbitrarily-Shaped Text Spotting with Point Gathering Network,
https://arxiv.org/abs/2104.05458; PaddleOCR: `ppocr/modeling/heads/e2e_pg_head.py`.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from architectures.activations import Activation
from architectures.interfaces import OutputPart
from architectures.layers.conv import ConvBNLayer

# For each branch the width and the kernel of its layers; a 3x3 convolution of its own ends it.
NARROW = ((64, 1), (64, 3), (128, 1))
WIDE = ((128, 1), (128, 3), (256, 1), (256, 3), (256, 1))
# PaddleOCR's names of the branches, its spelling too, what ends each, and the result.
BRANCHES = {
    "f_score": ("f_score", NARROW, "conv1"),
    "f_border": ("f_boder", NARROW, "conv2"),
    "f_char": ("f_char", WIDE, "conv3"),
    "f_direction": ("f_direc", NARROW, "conv4"),
}


class PGHead(OutputPart):
    """Four branches, each as many convolutions as its table says.

    `out_channels` is the number of characters and one more, which PaddleOCR counts in its
    `character_dict_path`.
    """

    logits_layers = ("conv2", "conv3", "conv4", "conv1")
    activations: Mapping[str, Activation] = {"f_score": Activation("sigmoid", ("conv1",))}
    text_map = ("f_score", 0.5)  # PGPostProcess's `score_thresh`
    text_scores = "f_char"

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        channels = {"f_score": 1, "f_border": 4, "f_char": out_channels, "f_direction": 2}
        self.branches: dict[str, tuple[str, ...]] = {}
        for result, (name, layers, last) in BRANCHES.items():
            names = [f"conv_{name}{place}" for place, _ in enumerate(layers, 1)]
            width = in_channels
            for each, (wider, kernel) in zip(names, layers, strict=True):
                self.add_module(each, ConvBNLayer(width, wider, kernel, act="relu"))
                width = wider
            self.add_module(last, nn.Conv2d(width, channels[result], 3, padding=1, bias=False))
            self.branches[result] = (*names, last)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """`(N, in_channels, H / 4, W / 4)` to four maps of the same size.

        `f_score`, one channel, is the probability of a line's centre. `f_border` are offsets to the
        upper and the lower border, y and x in turns; `f_direction` is where the line runs on, x
        and y; `f_char` are the logits of what it says there, CTC's blank as the last class.
        """
        results = {name: self.branch(name, x) for name in sorted(BRANCHES)}
        return {**results, "f_score": results["f_score"].sigmoid()}

    def branch(self, result: str, x: Tensor) -> Tensor:
        """The output of one branch."""
        for name in self.branches[result]:
            x = self.get_submodule(name)(x)
        return x
