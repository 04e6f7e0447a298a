"""`python -m pipelines detect PATH...`: find the lines of text in images and PDFs."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np

from pipelines.cli.page_runner import load_networks, parser_of_network, read_all
from pipelines.detection.curved import sort_top_down
from pipelines.detection.predictor import Detector
from pipelines.geometry import reading_order
from pipelines.io.exporters import DETECTION_FORMATS, DetectedLine
from pipelines.runtime import as_network


def parser() -> argparse.ArgumentParser:
    """Return what the command takes."""
    purpose = "Find the lines of text in images and PDFs."
    return parser_of_network(
        "detect", purpose, "the detector of lines", DETECTION_FORMATS, texts=False
    )


def run(options: argparse.Namespace) -> int:
    """Find everything, write the results, list what failed, and return the exit code."""
    return read_all(options, lambda: load_networks(lambda: Finder(options)))


class Finder:
    """Finds the lines of a page, in the order of reading."""

    def __init__(self, options: argparse.Namespace) -> None:
        device = {"half": options.half, "compile": options.compile}
        self._detector = Detector(as_network(options.weights, options.device, **device))

    def __call__(self, image: np.ndarray) -> Sequence[DetectedLine]:
        """Find the lines of an `(H, W, 3) uint8` BGR image."""
        lines = self._detector(image)
        poly = self._detector.decoder.box_type == "poly"
        return [
            DetectedLine(line) for line in (sort_top_down(lines) if poly else reading_order(lines))
        ]
