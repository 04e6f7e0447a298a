"""Compare a converted network with Paddle's exported program at many sizes of images.

    python scripts/sweep_sizes.py EXPORT WEIGHTS [--sizes 32x320 48x333 ...]

EXPORT is a folder with `inference.pdmodel` or `inference.json` and its `.pdiparams`; WEIGHTS the
artefact converted from it. At each size both run on one seeded image. A row of the table says
`equal` with the largest difference, `both refuse`, or which side accepts the size alone or by how
much they differ; then the exit code is 1. Networks that take more than an image are not supported.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

import architectures
from architectures import Model
from architectures.loading import ArtefactError
from converter.errors import ConverterError, ReferenceUnavailable, UsageError
from converter.parity import rendered_inputs
from converter.references.program import PaddleProgram
from converter.sources.open import open_source

LIMIT = 1e-4  # of the largest value
SIDES = (16, 31, 32, 33, 48, 61, 64, 95, 96, 100, 160, 224, 320)
Size = tuple[int, int]


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table and return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("export", type=Path, metavar="EXPORT", help="a folder")
    parser.add_argument("weights", type=Path, metavar="WEIGHTS", help="X.pth or X.safetensors")
    add = parser.add_argument
    add("--sizes", type=read_size, nargs="+", metavar="HxW", help="default: square and oblong ones")
    options = parser.parse_args(argv)
    try:
        return sweep(options.export, options.weights, options.sizes or default_sizes())
    except (ConverterError, ArtefactError) as error:
        print(f"sweep_sizes: {error}", file=sys.stderr)
        return 2


def read_size(text: str) -> Size:
    """Return height and width from `48x320`."""
    height, _, width = text.partition("x")
    if not (height.isdecimal() and width.isdecimal() and int(height) and int(width)):
        raise argparse.ArgumentTypeError(f"{text} is no size; write HEIGHTxWIDTH, such as 48x320")
    return int(height), int(width)


def default_sizes() -> list[Size]:
    """Return each side as a square, and with one of the others as the width."""
    return [*zip(SIDES, SIDES, strict=True), *zip(SIDES, SIDES[::-1], strict=True)]


def sweep(export: Path, weights: Path, sizes: Sequence[Size]) -> int:
    """Compare at each size, print the rows, and return 1 if one of them differs, else 0."""
    network = architectures.load(weights)
    if network.extra_inputs:
        raise UsageError(f"{weights} takes {', '.join(network.extra_inputs)} beside the image")
    source = open_source(export)
    if source.export is None:
        raise UsageError(f"{export} holds no exported program")
    faults = 0
    with PaddleProgram(source.export.program_file, source.export.weights_file) as program:
        for size in sizes:
            batch = image_of(network, size)
            theirs = run_paddle(program, batch)
            ours = run_network(network, batch)
            outcome, agree = compare(theirs, ours)
            faults += not agree
            print(f"{size[0]:5} x {size[1]:<5} {outcome}", flush=True)
    print(f"{len(sizes)} sizes, {faults} differ")
    return int(faults > 0)


def image_of(network: Model, size: Size) -> np.ndarray:
    """Return a seeded page, or line for a recogniser or classifier, (1, C, H, W) float32."""
    card = network.card
    task = "" if card is None or card.task is None else card.task
    draw = rendered_inputs.line if task in ("rec", "cls") else rendered_inputs.page
    image = draw(*size, seed=7).astype(np.float32).transpose(2, 0, 1)[None] / 127.5 - 1
    channels = 3 if card is None else card.input.channels
    return np.ascontiguousarray(image[:, :channels])


def run_paddle(program: PaddleProgram, batch: np.ndarray) -> list[np.ndarray] | str:
    """Return the program's outputs, or why it refuses the image."""
    try:
        return program.run({program.input_names[0]: batch})
    except ReferenceUnavailable as error:
        return str(error)


def run_network(network: Model, batch: np.ndarray) -> list[np.ndarray] | str:
    """Return the network's outputs in the order of the program's, or why it refuses the image."""
    try:
        with torch.inference_mode():
            result = network(torch.from_numpy(batch))
    except (RuntimeError, AssertionError, ValueError) as error:  # of PyTorch's operators
        return str(error)
    values = result.values() if isinstance(result, Mapping) else [result]
    return [value.numpy() for value in values]


def compare(theirs: list[np.ndarray] | str, ours: list[np.ndarray] | str) -> tuple[str, bool]:
    """Return the outcome in words, and whether the two sides agree.

    Args:
        theirs: Paddle's outputs, or its error.
        ours: the network's outputs, or its error.
    """
    if isinstance(theirs, str) or isinstance(ours, str):
        if isinstance(theirs, str) and isinstance(ours, str):
            return "both refuse", True
        if isinstance(theirs, str):
            return f"only PyTorch accepts it; Paddle: {theirs.splitlines()[-1]}", False
        return f"only Paddle accepts it; PyTorch: {str(ours).splitlines()[0]}", False
    shapes = [array.shape for array in theirs], [array.shape for array in ours]
    if shapes[0] != shapes[1]:
        return f"shapes {shapes[0]} in Paddle, {shapes[1]} in PyTorch", False
    worst = max(
        float(np.abs(a - b).max(initial=0) / max(np.abs(a).max(initial=0), 1e-9))
        for a, b in zip(theirs, ours, strict=True)
    )
    equal = worst <= LIMIT  # False for NaN, too
    return f"{'equal' if equal else 'differ'}, {worst:.1e}", equal


if __name__ == "__main__":
    sys.exit(main())
