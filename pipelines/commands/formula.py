"""`python -m pipelines formula PATH...`: read images of one formula each, as LaTeX."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pipelines.commands.pages import add_page_options, load_networks, parser_of, read_all
from pipelines.formulas.reader import FormulaReader
from pipelines.output.results import FORMULA_FORMATS, Formula, frame_of


def parser() -> argparse.ArgumentParser:
    """Return what the command takes."""
    parser = parser_of("formula", "Read images of one formula each, as LaTeX.")
    parser.add_argument(
        "--weights", type=Path, required=True, metavar="X.pth", help="the network of formulas"
    )
    add_page_options(parser, FORMULA_FORMATS, texts=True)
    return parser


def run(options: argparse.Namespace) -> int:
    """Read everything, write the results, list what failed, and return the exit code."""
    return read_all(options, lambda: load_networks(lambda: Reader(options)))


class Reader:
    """Reads images as the one formula that each shows."""

    def __init__(self, options: argparse.Namespace) -> None:
        device = {"half": options.half, "compile": options.compile}
        self._read = FormulaReader(options.weights, device=options.device, **device)

    def __call__(self, image: np.ndarray) -> Sequence[Formula]:
        """Read an `(H, W, 3) uint8` BGR image."""
        return [Formula(frame_of(image), self._read(image))]
