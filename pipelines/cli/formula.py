"""`python -m pipelines formula PATH...`: read images of one formula each, as LaTeX."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np

from pipelines.cli.options import network_parser, runtime_options
from pipelines.cli.page_runner import run_pages
from pipelines.formula.predictor import FormulaReader
from pipelines.io.exporters import FORMULA_FORMATS
from pipelines.io.items import Formula, frame_of


def build_parser() -> argparse.ArgumentParser:
    """Build the argument parser."""
    purpose = "Read images of one formula each, as LaTeX."
    return network_parser("formula", purpose, "formula network", FORMULA_FORMATS, texts=True)


def run(options: argparse.Namespace) -> int:
    """Read all files, write their results, and return the exit code."""
    return run_pages(options, PageFormulaReader)


class PageFormulaReader:
    """Reads an image as one formula."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._reader = FormulaReader(options.weights, **runtime_options(options))

    def __call__(self, image: np.ndarray) -> Sequence[Formula]:
        """Read an `(H, W, 3) uint8` BGR image."""
        return [Formula(frame_of(image), self._reader(image))]
