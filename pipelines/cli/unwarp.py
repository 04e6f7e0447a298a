"""`python -m pipelines unwarp PATH...`: flatten photographs of pages."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np

from pipelines.cli.options import network_parser, runtime_options
from pipelines.cli.page_runner import run_pages
from pipelines.io.exporters import IMAGE_FORMATS
from pipelines.io.items import PageImage, frame_of
from pipelines.unwarping.predictor import Unwarper


def build_parser() -> argparse.ArgumentParser:
    """Build the argument parser."""
    purpose = "Flatten photographs of pages that are bent or tilted."
    return network_parser("unwarp", purpose, "UVDoc", IMAGE_FORMATS, texts=False, default="png")


def run(options: argparse.Namespace) -> int:
    """Process all files, write the images, and return the exit code."""
    return run_pages(options, PageUnwarper)


class PageUnwarper:
    """Flattens a page."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._unwarper = Unwarper(options.weights, **runtime_options(options))

    def __call__(self, image: np.ndarray) -> Sequence[PageImage]:
        """Flatten an `(H, W, 3) uint8` BGR image."""
        return [PageImage(frame_of(image), self._unwarper(image))]
