"""`python -m pipelines spot PATH...`: find and read the text of images and PDFs by one network."""

from __future__ import annotations

import argparse
from pathlib import Path

from pipelines.commands.pages import (
    add_page_options,
    load_networks,
    parser_of,
    probability,
    read_all,
)
from pipelines.output.results import TEXT_FORMATS
from pipelines.spotting.spotter import Spotter


def parser() -> argparse.ArgumentParser:
    """Return what the command takes."""
    parser = parser_of("spot", "Find and read the text of images and PDFs by one network.")
    add = parser.add_argument
    add("--weights", type=Path, required=True, metavar="X.pth", help="the network, of PGNet")
    add("--min-score", type=probability, default=0.0, metavar="X",
        help="leave out lines that score less, 0 to 1 (default: 0)")  # fmt: skip
    add_page_options(parser, TEXT_FORMATS, texts=True)
    return parser


def run(options: argparse.Namespace) -> int:
    """Read everything, write the results, list what failed, and return the exit code."""
    return read_all(options, lambda: load_networks(lambda: _spotter(options)))


def _spotter(options: argparse.Namespace) -> Spotter:
    return Spotter(
        options.weights,
        min_score=options.min_score,
        device=options.device,
        half=options.half,
        compile=options.compile,
    )
