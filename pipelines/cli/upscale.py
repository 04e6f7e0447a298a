"""`python -m pipelines upscale PATH...`: super-resolve low-resolution images of one line each."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np

from pipelines.cli.options import network_parser, runtime_options
from pipelines.cli.page_runner import run_pages
from pipelines.cli.page_workers import LINES_PER_WORKER
from pipelines.io.exporters import IMAGE_FORMATS
from pipelines.io.items import PageImage, frame_of
from pipelines.super_resolution.predictor import Upscaler


def build_parser() -> argparse.ArgumentParser:
    """Build the argument parser."""
    purpose = "Super-resolve low-resolution images of one line each."
    parser = network_parser(
        "upscale", purpose, "super-resolution network", IMAGE_FORMATS, texts=False, default="png"
    )
    parser.set_defaults(per_worker=LINES_PER_WORKER)
    return parser


def run(options: argparse.Namespace) -> int:
    """Process all files, write the images, and return the exit code."""
    return run_pages(options, PageUpscaler)


class PageUpscaler:
    """Super-resolves an image of one line."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._upscaler = Upscaler(options.weights, **runtime_options(options))

    def __call__(self, image: np.ndarray) -> Sequence[PageImage]:
        """Super-resolve an `(H, W, 3) uint8` BGR image."""
        return [PageImage(frame_of(image), self._upscaler(image))]
