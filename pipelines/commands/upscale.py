"""`python -m pipelines upscale PATH...`: draw blurred images of one line each anew, larger."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pipelines.commands.pages import add_page_options, load_networks, parser_of, read_all
from pipelines.output.results import PICTURE_FORMATS, Redrawn, frame_of
from pipelines.upscaling import Upscaler


def parser() -> argparse.ArgumentParser:
    """Return what the command takes."""
    parser = parser_of("upscale", "Draw blurred images of one line each anew, larger.")
    parser.add_argument("--weights", type=Path, required=True, metavar="X.pth", help="the network")
    add_page_options(parser, PICTURE_FORMATS, texts=False, default="png")
    return parser


def run(options: argparse.Namespace) -> int:
    """Draw everything, write the pictures, list what failed, and return the exit code."""
    return read_all(options, lambda: load_networks(lambda: Draughtsman(options)))


class Draughtsman:
    """Draws images anew."""

    def __init__(self, options: argparse.Namespace) -> None:
        device = {"half": options.half, "compile": options.compile}
        self._upscale = Upscaler(options.weights, device=options.device, **device)

    def __call__(self, image: np.ndarray) -> Sequence[Redrawn]:
        """Draw an `(H, W, 3) uint8` BGR image anew."""
        return [Redrawn(frame_of(image), self._upscale(image))]
