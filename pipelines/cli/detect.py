"""`python -m pipelines detect PATH...`: find the text lines in images and PDFs."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np

from pipelines.cli.options import (
    add_detector_options,
    detector_settings,
    network_parser,
    runtime_options,
)
from pipelines.cli.page_runner import run_pages
from pipelines.detection.curved import sort_top_down
from pipelines.detection.predictor import Detector
from pipelines.geometry import reading_order
from pipelines.io.exporters import DETECTION_FORMATS
from pipelines.io.items import DetectedLine


def build_parser() -> argparse.ArgumentParser:
    """Build the argument parser."""
    purpose = "Find the text lines in images and PDFs."
    parser = network_parser(
        "detect", purpose, "detector of text lines", DETECTION_FORMATS, texts=False
    )
    parser.usage = "%(prog)s PATH [PATH ...] --weights X.pth [options]"  # it would be very long
    add_detector_options(parser)
    return parser


def run(options: argparse.Namespace) -> int:
    """Process all files, write their results, and return the exit code."""
    return run_pages(options, LineFinder)


class LineFinder:
    """Finds the text lines of a page, in reading order."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._detector = Detector(
            options.weights,
            tiles=options.tiles,
            **runtime_options(options),
            **detector_settings(options),
        )

    def __call__(self, image: np.ndarray) -> Sequence[DetectedLine]:
        """Find the lines of an `(H, W, 3) uint8` BGR image."""
        boxes = self._detector(image)
        is_curved = self._detector.decoder.box_type == "poly"
        ordered = sort_top_down(boxes) if is_curved else reading_order(boxes)
        return [DetectedLine(box) for box in ordered]
