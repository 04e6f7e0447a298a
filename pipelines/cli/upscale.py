"""`python -m pipelines upscale PATH...`: draw blurred images of one line each anew, larger."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np

from pipelines.cli.page_runner import load_networks, parser_of_network, read_all
from pipelines.io.exporters import IMAGE_FORMATS, UpscaledImage, frame_of
from pipelines.super_resolution.predictor import Upscaler


def parser() -> argparse.ArgumentParser:
    """Return what the command takes."""
    purpose = "Draw blurred images of one line each anew, larger."
    return parser_of_network(
        "upscale", purpose, "the network", IMAGE_FORMATS, texts=False, default="png"
    )


def run(options: argparse.Namespace) -> int:
    """Draw everything, write the pictures, list what failed, and return the exit code."""
    return read_all(options, lambda: load_networks(lambda: Draughtsman(options)))


class Draughtsman:
    """Draws images anew."""

    def __init__(self, options: argparse.Namespace) -> None:
        device = {"half": options.half, "compile": options.compile}
        self._upscale = Upscaler(options.weights, device=options.device, **device)

    def __call__(self, image: np.ndarray) -> Sequence[UpscaledImage]:
        """Draw an `(H, W, 3) uint8` BGR image anew."""
        return [UpscaledImage(frame_of(image), self._upscale(image))]
