"""`python -m pipelines formula PATH...`: read images of one formula each, as LaTeX."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np

from pipelines.cli.page_runner import load_networks, parser_of_network, read_all
from pipelines.formula.predictor import FormulaReader
from pipelines.io.exporters import FORMULA_FORMATS, Formula, frame_of


def parser() -> argparse.ArgumentParser:
    """Return what the command takes."""
    purpose = "Read images of one formula each, as LaTeX."
    return parser_of_network(
        "formula", purpose, "the network of formulas", FORMULA_FORMATS, texts=True
    )


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
