"""`python -m pipelines kie PATH...`: find the key information of forms and receipts."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from pipelines.cli.options import add_page_options, page_parser, runtime_options
from pipelines.cli.page_runner import run_pages
from pipelines.errors import UsageError
from pipelines.io.exporters import ENTITY_FORMATS
from pipelines.kie.field_classifier import FieldClassifier, classifies_fields
from pipelines.kie.predictor import Entity, KeyInformation
from pipelines.kie.tokens import Line
from pipelines.kie.words import WordsError, read_words
from pipelines.ocr import OCR
from pipelines.runtime import as_network
from pipelines.validation import card_of

PageLines = Callable[[np.ndarray], Sequence[Line]]
"""Returns the texts of a page, `(H, W, 3) uint8` BGR."""


def build_parser() -> argparse.ArgumentParser:
    """Build the argument parser."""
    parser = page_parser(
        "kie", "Find the entities of pages, and which answers belong to which questions."
    )
    parser.usage = "%(prog)s PATH [PATH ...] --ser X.pth [--re Y.pth] (--det D --rec R | --words W)"
    add = parser.add_argument
    add(
        "--ser",
        type=Path,
        required=True,
        metavar="X.pth",
        help="network that finds entities, or SDMGR",
    )
    add("--re", type=Path, metavar="Y.pth", help="network that finds relations")
    add("--det", type=Path, metavar="D.pth", help="detector of text lines")
    add("--rec", type=Path, metavar="R.pth", help="recogniser of text lines")
    add(
        "--words",
        type=Path,
        metavar="W.json",
        help="the texts with their boxes, instead of --det and --rec: a list of {text, box} for "
        "one page, a list of such lists, or what `ocr --format json` writes",
    )
    add(
        "--first-tokens",
        action="store_true",
        help="read only as many tokens of a page as the network reads at once, as PaddleOCR does "
        "(default: read the page in parts that overlap)",
    )
    add_page_options(parser, ENTITY_FORMATS, texts=False, default="json")
    return parser


def run(options: argparse.Namespace) -> int:
    """Process all files, write their results, and return the exit code."""
    if (options.words is None) == (options.det is None or options.rec is None):
        raise UsageError("give either --det and --rec, or --words")
    if options.words:
        if options.workers not in (None, 1):
            raise UsageError("--words gives texts page after page, so that --workers has to be 1")
        options.workers = 1
    return run_pages(options, _load)


def _load(options: argparse.Namespace) -> Callable[[np.ndarray], Sequence[Entity]]:
    runtime = runtime_options(options)
    network = as_network(options.ser, **runtime)
    extract: FieldClassifier | KeyInformation
    if classifies_fields(card_of(network, FieldClassifier.task, FieldClassifier.title)):
        if options.re is not None or options.first_tokens:
            raise UsageError(
                f"{options.ser} is SDMGR, which classifies texts and reads no tokens: it takes "
                "neither --re nor --first-tokens"
            )
        extract = FieldClassifier(network)
    else:
        whole = not options.first_tokens
        extract = KeyInformation(network, options.re, whole_pages=whole, **runtime)
    lines = _given(options.words) if options.words else _read(options)
    return lambda page: extract(page, lines(page))


def _read(options: argparse.Namespace) -> PageLines:
    return OCR(options.det, options.rec, **runtime_options(options))


def _given(file: Path) -> PageLines:
    """Return the texts of a file, page after page."""
    try:
        pages = read_words(file)
    except WordsError as error:
        raise UsageError(str(error)) from error
    rest = iter(pages)

    def following(_: np.ndarray) -> Sequence[Line]:
        lines = next(rest, None)
        if lines is None:
            raise UsageError(f"{file} has the texts of {len(pages)} pages, fewer than are read")
        return lines

    return following
