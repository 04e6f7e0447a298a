"""`python -m pipelines spot PATH...`: find and read text with one network."""

from __future__ import annotations

import argparse

from pipelines.cli.options import network_parser, runtime_options
from pipelines.cli.page_runner import run_pages
from pipelines.io.exporters import TEXT_FORMATS
from pipelines.spotting.predictor import Spotter


def build_parser() -> argparse.ArgumentParser:
    """Build the argument parser."""
    purpose = "Find and read the text of images and PDFs with one network."
    return network_parser("spot", purpose, "PGNet", TEXT_FORMATS, texts=True, scored=True)


def run(options: argparse.Namespace) -> int:
    """Read all files, write their results, and return the exit code."""
    return run_pages(options, _load)


def _load(options: argparse.Namespace) -> Spotter:
    return Spotter(options.weights, min_score=options.min_score, **runtime_options(options))
