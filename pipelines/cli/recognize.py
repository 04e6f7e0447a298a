"""`python -m pipelines recognize PATH...`: read images of one line each."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np

from pipelines.cli.options import (
    add_line_options,
    network_parser,
    recognizer_settings,
    runtime_options,
)
from pipelines.cli.page_runner import run_pages
from pipelines.cli.page_workers import LINES_PER_WORKER
from pipelines.io.exporters import TEXT_FORMATS
from pipelines.io.items import frame_of
from pipelines.ocr import TextLine
from pipelines.recognition.predictor import Recognizer


def build_parser() -> argparse.ArgumentParser:
    """Build the argument parser."""
    purpose = "Read images of one line each."
    parser = network_parser(
        "recognize", purpose, "recogniser of text lines", TEXT_FORMATS, texts=True, scored=True
    )
    add_line_options(parser)
    parser.set_defaults(per_worker=LINES_PER_WORKER)
    return parser


def run(options: argparse.Namespace) -> int:
    """Read all files, write their results, and return the exit code."""
    return run_pages(options, LineReader)


class LineReader:
    """Reads an image as one text line."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._recognizer = Recognizer(
            options.weights, **runtime_options(options), **recognizer_settings(options)
        )
        self._min_score = options.min_score

    def __call__(self, image: np.ndarray) -> Sequence[TextLine]:
        """Read an `(H, W, 3) uint8` BGR image; return no line where its score is too low."""
        (text,) = self._recognizer([image])
        if text.score < self._min_score:
            return []
        scores = tuple(character.score for character in text.characters)
        return [TextLine(frame_of(image), text.text, text.score, scores)]
