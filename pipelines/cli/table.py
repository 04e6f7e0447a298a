"""`python -m pipelines table PATH...`: recognise images of one table each."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pipelines.cli.options import network_parser, runtime_options
from pipelines.cli.page_runner import run_pages
from pipelines.errors import UsageError
from pipelines.io.items import PageTable, frame_of
from pipelines.io.tables import TABLE_FORMATS
from pipelines.ocr import OCR
from pipelines.table.predictor import TableRecognizer


def build_parser() -> argparse.ArgumentParser:
    """Build the argument parser."""
    purpose = "Recognise images of one table each: cells, spans and, with --det and --rec, texts."
    weights = "network of table structure"
    parser = network_parser("table", purpose, weights, TABLE_FORMATS, texts=True, default="html")
    add = parser.add_argument
    add("--det", type=Path, metavar="Y.pth", help="detector of text lines")
    add("--rec", type=Path, metavar="Z.pth", help="recogniser of text lines")
    return parser


def run(options: argparse.Namespace) -> int:
    """Process all files, write their results, and return the exit code."""
    if (options.det is None) != (options.rec is None):
        raise UsageError("--det and --rec read the texts together; give both, or neither")
    return run_pages(options, lambda: PageTableRecognizer(options))


class PageTableRecognizer:
    """Recognises a page as one table."""

    def __init__(self, options: argparse.Namespace) -> None:
        runtime = runtime_options(options)
        ocr = OCR(options.det, options.rec, **runtime) if options.det else None
        self._recognizer = TableRecognizer(options.weights, ocr, **runtime)

    def __call__(self, image: np.ndarray) -> Sequence[PageTable]:
        """Recognise an `(H, W, 3) uint8` BGR image."""
        return [PageTable(frame_of(image), self._recognizer(image))]
