"""`python -m pipelines spot PATH...`: find and read the text of images and PDFs by one network."""

from __future__ import annotations

import argparse

from pipelines.cli.page_runner import load_networks, parser_of_network, read_all
from pipelines.io.exporters import TEXT_FORMATS
from pipelines.spotting.predictor import Spotter


def parser() -> argparse.ArgumentParser:
    """Return what the command takes."""
    purpose = "Find and read the text of images and PDFs by one network."
    return parser_of_network(
        "spot", purpose, "the network, of PGNet", TEXT_FORMATS, texts=True, scored=True
    )


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
