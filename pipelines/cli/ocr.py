"""`python -m pipelines ocr PATH...`: read the text of images and PDFs."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from pipelines.batching import BATCH_SIZE
from pipelines.cli.options import (
    add_detector_options,
    add_line_options,
    add_min_score,
    add_page_options,
    detector_settings,
    page_parser,
    positive,
    recognizer_settings,
    runtime_options,
)
from pipelines.cli.page_runner import run_pages
from pipelines.io.exporters import TEXT_FORMATS
from pipelines.ocr import OCR, TextLine


def build_parser() -> argparse.ArgumentParser:
    """Build the argument parser."""
    parser = page_parser("ocr", "Read the text of images and PDFs.")
    parser.usage = "%(prog)s PATH [PATH ...] --det X.pth --rec Y.pth [options]"  # else very long
    add_networks(parser)
    add = parser.add_argument
    add("--words", action="store_true", help="also locate the words of each line, for json")
    add_page_options(parser, TEXT_FORMATS, texts=True)
    add(
        "--together",
        type=positive(int),
        default=1,
        metavar="N",
        help="pages whose lines share batches (default: 1, as PaddleOCR)",
    )
    return parser


def add_networks(parser: argparse.ArgumentParser) -> None:
    """Add the options of the networks that read lines, and of their settings."""
    add = parser.add_argument
    add("--det", type=Path, required=True, metavar="X.pth", help="detector of text lines")
    add("--rec", type=Path, required=True, metavar="Y.pth", help="recogniser of text lines")
    add("--cls", type=Path, metavar="Z.pth", help="classifier of upside-down lines")
    add("--doc", type=Path, metavar="W.pth", help="classifier of page orientation")
    add(
        "--batch-size",
        type=positive(int),
        default=BATCH_SIZE,
        metavar="N",
        help=f"lines per call of a network (default: {BATCH_SIZE})",
    )
    add_min_score(parser, 0.5)
    add_line_options(parser)
    add_detector_options(parser, without=("min_score",))  # of CentripetalText


def run(options: argparse.Namespace) -> int:
    """Read all files, write their results, and return the exit code."""
    return run_pages(options, PagesOCR)


class PagesOCR:
    """Reads pages, the lines of several in common batches."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._ocr = OCR(
            options.det,
            options.rec,
            options.cls,
            options.doc,
            min_score=options.min_score,
            word_boxes=options.words,
            batch_size=options.batch_size,
            tiles=options.tiles,
            det_settings=detector_settings(options),
            rec_settings=recognizer_settings(options),
            **runtime_options(options),
        )
        self._together = options.together

    def outcomes(self, images: Iterable[np.ndarray]) -> Iterator[Sequence[TextLine] | Exception]:
        """Yield the lines of each image, or why it could not be read."""
        return self._ocr.outcomes(images, pages=self._together)
