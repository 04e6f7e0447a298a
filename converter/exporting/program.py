"""Graphs of a network, with the sizes of its inputs free as far as the network allows."""

from __future__ import annotations

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
from converter.exporting.example_inputs import FreeAxis, examples_of
from converter.exporting.folding import fold_inverses, has_inverses
from converter.exporting.parts import GraphPart, whole
from converter.exporting.proof import ExportProof
from converter.exporting.recurrent import any_length


@dataclass(frozen=True)
class Graph:
    """A network as a graph of PyTorch's operators.

    Attributes:
        program: the graph; it takes the inputs of `part` by position.
        part: the module that it was made of.
        free: the axes of which any size can be run.
        outputs: names of the results, in order.
        batches: the first input, to compare results on, of several sizes of the free axes.
        takes: the shapes of the inputs; letters are free sizes.
    """

    program: torch.export.ExportedProgram
    part: GraphPart
    free: tuple[str, ...]
    outputs: tuple[str, ...]
    batches: tuple[np.ndarray, ...]
    takes: str


@dataclass(frozen=True)
class ProgramExport:
    """What was written.

    Attributes:
        files: the program, or its parts.
        takes: the shapes of the inputs; letters are free sizes.
        proof: its comparison with the network.
    """

    files: tuple[Path, ...]
    takes: str
    proof: ExportProof


def make_graph(
    artefact: Artefact,
    part: Callable[[architectures.Model], GraphPart] | None = None,
    fewer: tuple[str, ...] = (),
) -> Graph:
    """Export a network in the fused form to a graph, with as many free axes as possible.

    Args:
        artefact: the network.
        part: makes the module that is exported, of the fused network; None for the whole.
        fewer: axes that cannot all be free.

    Raises:
        UsageError: the network has no graph, as where the number of steps depends on the image.
    """
    refuse_arrays(artefact)
    artefact = artefact.fused()
    examples = examples_of(artefact)
    module = part(artefact.network) if part else whole(artefact)
    reasons = []
    for free in examples.tried():
        if fewer and len(free) >= len(fewer):
            continue
        batches = examples.batches(free)
        arguments = [module.arguments(artefact.arguments(batch)) for batch in batches]
        sizes = dict(zip(module.inputs, sizes_of(arguments), strict=True))
        try:
            with torch.inference_mode():  # the network itself has to take all of the sizes
                (results, *_) = [module(*each) for each in arguments]
            shapes = free_shapes(examples.axes(free), sizes)
            program = export_module(module, arguments[0], shapes)
            graph = program.module()
            with torch.no_grad():  # its guards tell where a size is kept after all
                for each in arguments:
                    graph(*each)
        except Exception as error:  # PyTorch raises many kinds, for each of its stages
            reasons.append(_first_line(error))
            continue
        outputs = tuple(results) if isinstance(results, dict) else ("output",)
        takes = examples.describe(describe_shapes(examples.axes(free), sizes))
        return Graph(program, module, free, outputs, batches, takes)
    raise UsageError(
        f"{artefact.path} cannot be exported as one graph: {reasons[-1]}. Networks that decode "
        "step by step until the end of a text have no fixed graph"
    )


def refuse_arrays(artefact: Artefact) -> None:
    """Raise UsageError for a network that leaves PyTorch between its layers."""
    if action := artefact.network.on_arrays:
        raise UsageError(
            f"{artefact.path} {action} with NumPy and OpenCV between its layers, which no graph of "
            "PyTorch's operators can hold; run the network with PyTorch"
        )


Sizes = Sequence[tuple[int, ...]]
"""Of each axis of an input, its sizes in several examples."""


def sizes_of(arguments: Sequence[tuple[Tensor, ...]]) -> list[Sizes]:
    """Return the sizes of each input.

    Args:
        arguments: the inputs by position, of several examples.
    """
    shapes = zip(*([each.shape for each in given] for given in arguments), strict=True)
    return [list(zip(*of_input, strict=True)) for of_input in shapes]


def free_shapes(axes: Sequence[FreeAxis], inputs: Mapping[str, Sizes]) -> tuple[Any, ...]:
    """Return the free axes of all inputs, as `export_module` takes them.

    Axes whose sizes are always those of one of `axes` are free with it; others whose sizes differ
    are free, too.

    Args:
        axes: the free axes.
        inputs: the sizes of the inputs.
    """
    known = {inputs[axis.input][axis.number]: axis.dim() for axis in axes}
    first, *extra = (
        {
            number: known.get(size, torch.export.Dim.DYNAMIC)
            for number, size in enumerate(sizes)
            if len(set(size)) > 1
        }
        for sizes in inputs.values()
    )
    return (first, tuple(extra)) if extra else (first,)


def describe_shapes(axes: Sequence[FreeAxis], inputs: Mapping[str, Sizes]) -> dict[str, str]:
    """Return the shape of each input, such as `(N, 3, 48, 8*W)`.

    Args:
        axes: the free axes.
        inputs: the sizes of the inputs.
    """
    known = {inputs[axis.input][axis.number]: axis.symbol for axis in axes}
    return {
        name: f"({', '.join(known.get(size, str(size[0])) for size in sizes)})"
        for name, sizes in inputs.items()
    }


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


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:300]}" if lines else type(error).__name__
