"""`python -m pipelines recognize PATH...`: read images of one line each."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pipelines.commands.pages import (
    add_page_options,
    load_networks,
    parser_of,
    probability,
    read_all,
)
from pipelines.networks import as_network
from pipelines.ocr import TextLine
from pipelines.output.results import TEXT_FORMATS, frame_of
from pipelines.recognition.recognizer import Recognizer


def parser() -> argparse.ArgumentParser:
    """Return what the command takes."""
    parser = parser_of("recognize", "Read images of one line each.")
    add = parser.add_argument
    add("--weights", type=Path, required=True, metavar="X.pth", help="the recogniser")
    add("--min-score", type=probability, default=0.0, metavar="X",
        help="leave out lines that score less, 0 to 1 (default: 0)")  # fmt: skip
    add_page_options(parser, TEXT_FORMATS, texts=True)
    return parser


def run(options: argparse.Namespace) -> int:
    """Read everything, write the results, list what failed, and return the exit code."""
    return read_all(options, lambda: load_networks(lambda: LineReader(options)))


class LineReader:
    """Reads images as the one line that each shows."""

    def __init__(self, options: argparse.Namespace) -> None:
        device = {"half": options.half, "compile": options.compile}
        self._recognizer = Recognizer(as_network(options.weights, options.device, **device))
        self._min_score = options.min_score

    def __call__(self, image: np.ndarray) -> Sequence[TextLine]:
        """Read an `(H, W, 3) uint8` BGR image."""
        (reading,) = self._recognizer([image])
        if reading.score < self._min_score:
            return []
        scores = tuple(character.score for character in reading.characters)
        return [TextLine(frame_of(image), reading.text, reading.score, scores)]
