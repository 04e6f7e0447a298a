"""Graphs of a network, with the sides of its images free as far as the network allows."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import architectures
from converter.errors import UsageError
from converter.exporting.artefact import Artefact
from converter.exporting.folding import fold_inverses, has_inverses
from converter.exporting.proof import ExportProof
from converter.exporting.recurrent import any_length

AXES = {"batch": 0, "height": 2, "width": 3}
"""The axes of images (N, C, H, W) that can be free."""

FREE: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "line": (("batch", "width"), ("batch",), ()),
    "page": (("batch", "height", "width"), ("batch",), ()),
    "table": (("batch",), ()),
}
"""The axes that are tried to be free, the most first, by what a network's images show."""

LINES = ("rec", "cls", "sr")
"""The tasks whose networks read lines as wide as they are, whatever width their card states."""

MULTIPLES = {"line": 8, "page": 32, "table": 32}
"""Of what a free side is a multiple, unless the model's card states it or its images are of other
sizes; in pixels."""


@dataclass(frozen=True)
class Graph:
    """A network as a graph of PyTorch's operators.

    Attributes:
        program: the graph; it takes the image and what the head needs beside, in that order.
        free: the axes of which any size, as a multiple of `multiple`, can be run.
        multiple: of what free sides are multiples, in pixels.
        inputs: names of the inputs.
        outputs: names of the results, in order.
        batches: images to compare results on, of several sizes of the free axes.
    """

    program: torch.export.ExportedProgram
    free: tuple[str, ...]
    multiple: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    batches: tuple[np.ndarray, ...]

    def describe(self) -> str:
        """Return the shape of the images that the graph takes, such as `(N, 3, 48, 8*W)`."""
        shape: list[str] = [str(side) for side in self.batches[0].shape]
        for axis in self.free:
            letter = axis[0].upper() if axis != "batch" else "N"
            shape[AXES[axis]] = letter if axis == "batch" else f"{self.multiple}*{letter}"
        return f"({', '.join(shape)})"


@dataclass(frozen=True)
class ProgramExport:
    """What was written.

    Attributes:
        files: the program, or its parts.
        takes: the shape of its images; letters stand for free sizes.
        proof: its comparison with the network.
    """

    files: tuple[Path, ...]
    takes: str
    proof: ExportProof


class Positional(nn.Module):
    """A network that takes its inputs by position, for exporters."""

    def __init__(self, network: architectures.Model) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, *extra: Tensor) -> Any:
        """Run the network on an image and its extra inputs, in the network's order."""
        return self.network(x, **dict(zip(self.network.extra_inputs, extra, strict=True)))


def make_graph(
    artefact: Artefact,
    part: Callable[[architectures.Model], nn.Module] = Positional,
    fewer: tuple[str, ...] = (),
) -> Graph:
    """Export a network in the fused form to a graph, with as many free axes as possible.

    Args:
        artefact: the network.
        part: makes the module that is exported, of the fused network.
        fewer: axes that cannot all be free.

    Raises:
        UsageError: the network has no graph, as where the number of steps depends on the image.
    """
    refuse_words(artefact)
    refuse_arrays(artefact)
    artefact = artefact.fused()
    module = part(artefact.network)
    multiple = multiple_of(artefact)
    reasons = []
    for free in free_axes(artefact):
        if fewer and len(free) >= len(fewer):
            continue
        batches = batches_of(artefact, free, multiple)
        arguments = [artefact.arguments(batch) for batch in batches]
        try:
            with torch.inference_mode():  # the network itself has to take all of the sizes
                (results, *_) = [module(*each) for each in arguments]
            shapes = _shapes(arguments, free, multiple)
            program = export_module(module, arguments[0], shapes)
            graph = program.module()
            with torch.no_grad():  # its guards tell where a size is kept after all
                for each in arguments:
                    graph(*each)
        except Exception as error:  # PyTorch raises many kinds, for each of its stages
            reasons.append(_first_line(error))
            continue
        outputs = tuple(results) if isinstance(results, dict) else ("output",)
        inputs = ("x", *artefact.network.extra_inputs)
        return Graph(program, free, multiple, inputs, outputs, batches)
    raise UsageError(
        f"{artefact.path} cannot be exported as one graph: {reasons[-1]}. Networks that decode "
        "step by step until the end of a text have no fixed graph"
    )


def refuse_words(artefact: Artefact) -> None:
    """Raise UsageError for a network that takes more than images."""
    if artefact.card.task == "kie":
        raise UsageError(
            f"{artefact.path} takes the words of a page beside its image, and graphs are made of "
            "networks that take images alone"
        )


def refuse_arrays(artefact: Artefact) -> None:
    """Raise UsageError for a network that leaves PyTorch between its layers."""
    if action := artefact.network.on_arrays:
        raise UsageError(
            f"{artefact.path} {action} with NumPy and OpenCV between its layers, which no graph of "
            "PyTorch's operators can hold; run the network with PyTorch"
        )


def free_axes(artefact: Artefact) -> tuple[tuple[str, ...], ...]:
    """Return the sets of axes that are tried to be free, the largest first."""
    stated = artefact.card.input
    if artefact.card.task not in LINES and stated.height and stated.width:
        return FREE["table"]
    return FREE[artefact.kind]


def multiple_of(artefact: Artefact) -> int:
    """Return of what the free sides of images are multiples, in pixels."""
    if stated := artefact.card.input.multiple_of:
        return stated
    most, *_ = free_axes(artefact)
    shape = artefact.inputs()[0].shape
    return math.gcd(MULTIPLES[artefact.kind], *(shape[AXES[axis]] for axis in most[1:]))


def batches_of(artefact: Artefact, free: Sequence[str], multiple: int) -> tuple[np.ndarray, ...]:
    """Render images of three sizes, which differ in every free axis; (N, C, H, W) float32."""
    count, _, height, width = artefact.inputs()[0].shape
    count = 2 if "batch" in free else count
    sizes = [(count, height, width)]
    if free:
        for number in (1, 2):
            sizes.append(
                (
                    (1, 3)[number - 1] if "batch" in free else count,
                    height + number * multiple if "height" in free else height,
                    width + 3 * number * multiple if "width" in free else width,
                )
            )
    return tuple(artefact.images(h, w, n) for n, h, w in sizes)


def _shapes(
    arguments: Sequence[tuple[Tensor, ...]], free: Sequence[str], multiple: int
) -> tuple[Any, ...]:
    """Return the free axes of the image and of the inputs beside it, as `export_module` takes them.

    Args:
        arguments: the inputs for images of several sizes; axes whose sizes differ are free.
        free: the free axes of the image.
        multiple: of what free sides are multiples, in pixels.
    """
    dims = {AXES[axis]: _dim(axis, multiple) for axis in free}
    images, *others = (list(zip(*sizes, strict=True)) for sizes in _sizes(arguments))
    known = {images[axis]: dim for axis, dim in dims.items()}
    extra = tuple(
        {
            axis: known.get(sizes, torch.export.Dim.DYNAMIC)
            for axis, sizes in enumerate(axes)
            if len(set(sizes)) > 1
        }
        for axes in others
    )
    return (dims, extra) if extra else (dims,)


def _sizes(arguments: Sequence[tuple[Tensor, ...]]) -> list[list[torch.Size]]:
    """Return the shapes of each input."""
    return [[each.shape for each in given] for given in zip(*arguments, strict=True)]


def export_module(
    module: nn.Module, arguments: tuple[Tensor, ...], shapes: Any
) -> torch.export.ExportedProgram:
    """Export a module to a graph, without the advice that the exporter gives.

    Args:
        module: the module, which takes its inputs by position.
        arguments: inputs.
        shapes: their free axes, as `torch.export.export` takes them.
    """
    with warnings.catch_warnings(), torch.no_grad(), any_length():
        warnings.simplefilter("ignore")
        program = torch.export.export(module, arguments, dynamic_shapes=shapes, strict=False)
        if not has_inverses(program):
            return program
        folded = fold_inverses(program.module())
        return torch.export.export(folded, arguments, dynamic_shapes=shapes, strict=False)


def _dim(axis: str, multiple: int) -> Any:
    dim = torch.export.Dim(axis, min=1)
    return dim if axis == "batch" else multiple * dim


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:300]}" if lines else type(error).__name__
