"""`python -m pipelines ocr PATH...`: read the text of images and PDFs."""

from __future__ import annotations

import argparse
from pathlib import Path

from pipelines.cli.page_runner import (
    add_page_options,
    load_networks,
    parser_of,
    positive,
    probability,
    read_all,
)
from pipelines.io.exporters import TEXT_FORMATS
from pipelines.ocr import OCR


def parser() -> argparse.ArgumentParser:
    """Return what the command takes."""
    parser = parser_of("ocr", "Read the text of images and PDFs.")
    add = parser.add_argument
    add("--det", type=Path, required=True, metavar="X.pth", help="the detector of lines")
    add("--rec", type=Path, required=True, metavar="Y.pth", help="the recogniser")
    add("--cls", type=Path, metavar="Z.pth", help="the classifier of upside-down lines")
    add("--doc", type=Path, metavar="W.pth", help="the classifier of turned pages")
    add("--batch-size", type=positive(int), metavar="N", help="lines read at once (default: 6)")
    add("--words", action="store_true", help="find the words of each line too, for json")
    add("--min-score", type=probability, default=0.5, metavar="X",
        help="leave out lines that score less, 0 to 1 (default: 0.5)")  # fmt: skip
    add_page_options(parser, TEXT_FORMATS, texts=True)
    return parser


def run(options: argparse.Namespace) -> int:
    """Read everything, write the results, list what failed, and return the exit code."""
    return read_all(options, lambda: load_networks(lambda: _ocr(options)))


def _ocr(options: argparse.Namespace) -> OCR:
    chosen = {} if options.batch_size is None else {"batch_size": options.batch_size}
    return OCR(
        options.det,
        options.rec,
        options.cls,
        options.doc,
        min_score=options.min_score,
        device=options.device,
        half=options.half,
        compile=options.compile,
        word_boxes=options.words,
        **chosen,
    )
