"""`python -m pipelines recognize PATH...`: read images of one line each."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np

from pipelines.cli.page_runner import load_networks, parser_of_network, read_all
from pipelines.io.exporters import TEXT_FORMATS, frame_of
from pipelines.ocr import TextLine
from pipelines.recognition.predictor import Recognizer
from pipelines.runtime import as_network


def parser() -> argparse.ArgumentParser:
    """Return what the command takes."""
    purpose = "Read images of one line each."
    return parser_of_network(
        "recognize", purpose, "the recogniser", TEXT_FORMATS, texts=True, scored=True
    )


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
