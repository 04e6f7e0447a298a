"""Networks that decode step by step as two files: the image's part, and a step.

`STEM.encoder` takes images; `STEM.step` takes its results and the tokens so far. What was written
with the step has, under the key `decoding`, the start and the end token, the number of steps, and
the names of results that each step gives anew for all tokens (`whole`), not for the last alone.
`examples/decode_onnx.py` runs the two as ONNX files.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from converter.adapters.base import limited
from converter.conversion.artefact import output_errors
from converter.errors import ExportError, UsageError
from converter.exporting.artefact import Artefact
from converter.exporting.decoders import NEXT, Decoder, ImagePart, StepPart, decoder_of
from converter.exporting.program import ProgramExport, export_module, make_graph
from converter.exporting.proof import Comparison, ExportProof, Runner, compare, difference
from schemas.artefact_files import partial_files

STEPS = 8
"""Steps that are compared at most."""
SEEN = 3
"""Steps of the tokens that a step is exported with."""

Arrays = dict[str, np.ndarray]
Run = Callable[[Mapping[str, np.ndarray]], Arrays]
"""Runs a file on inputs by name, of which it may not need all."""


class Save(Protocol):
    """Writes a graph with names of its inputs and results, and further metadata."""

    def __call__(  # noqa: D102
        self,
        artefact: Artefact,
        program: torch.export.ExportedProgram,
        inputs: Sequence[str],
        outputs: Sequence[str],
        file: Path,
        more: Mapping[str, str] | None = None,
    ) -> None: ...


@dataclass(frozen=True)
class FileFormat:
    """How the two graphs are written and run.

    Attributes:
        suffix: of the files.
        save: writes a graph.
        open: returns what runs a file, from the file and the names of its inputs.
    """

    suffix: str
    save: Save
    open: Callable[[Path, Sequence[str]], Run]


def export_steps(artefact: Artefact, folder: Path, kind: FileFormat) -> ProgramExport:
    """Write a network as `STEM.encoder` and `STEM.step`.

    Args:
        artefact: the network.
        folder: where to write; it exists.
        kind: the format of the files.

    Raises:
        UsageError: a part has no graph, or an operator that the format lacks.
        ExportError: the files do not compute what the network does.
        OutputError: a file cannot be written.
    """
    fused = artefact.fused()
    decoder = decoder_of(fused.network)
    assert decoder is not None
    graph = make_graph(artefact, ImagePart)
    image = ImagePart(fused.network)
    with torch.no_grad():
        memories = [image(torch.from_numpy(batch)) for batch in graph.batches]
    names = tuple(memories[0])
    program, step, outputs = _export_step(artefact, decoder, memories, "batch" in graph.free)
    stem = artefact.path.stem
    files = tuple(folder / f"{stem}.{part}{kind.suffix}" for part in ("encoder", "step"))
    inputs = (("x",), (*names, "tokens"))
    described = {"decoding": json.dumps(_decoding(decoder))}
    with output_errors(), partial_files(*files) as partial:
        kind.save(artefact, graph.program, inputs[0], graph.outputs, partial[0])
        kind.save(artefact, program, inputs[1], outputs, partial[1], described)
        runs = [
            _checked(artefact, kind.open(file, taken))
            for file, taken in zip(partial, inputs, strict=True)
        ]
        proof = _prove(fused, decoder, (image, step), runs, graph.batches)
        for written, file in zip(partial, files, strict=True):
            written.replace(file)
    return ProgramExport(files, graph.describe(), proof)


def _decoding(decoder: Decoder) -> dict[str, int | list[str]]:
    """Return what a program needs that runs the steps."""
    return {
        "start": decoder.start,
        "end": decoder.end,
        "tokens_of_a_step": decoder.width,
        "steps": decoder.longest,
        "whole": list(decoder.whole),
    }


def _export_step(
    artefact: Artefact, decoder: Decoder, memories: Sequence[Mapping[str, Tensor]], batch_free: bool
) -> tuple[torch.export.ExportedProgram, StepPart, tuple[str, ...]]:
    """Export a step; of the memory, those axes are free that differ from image to image."""
    dynamic = torch.export.Dim.DYNAMIC
    shapes = []
    for name in memories[0]:
        sizes = [memory[name].shape for memory in memories]
        if len({len(each) for each in sizes}) > 1:
            raise UsageError(f"{artefact.path} cannot be exported: {name} changes its axes")
        shapes.append(
            {
                axis: dynamic
                for axis, size in enumerate(zip(*sizes, strict=True))
                if len(set(size)) > 1
            }
        )
    shapes.append({1: dynamic, **({0: dynamic} if batch_free else {})})
    step = StepPart(decoder, tuple(memories[0])).eval()
    count = next(iter(memories[0].values())).shape[0]
    tokens = torch.full((count, min(SEEN, decoder.longest) * decoder.width), decoder.start)
    arguments = (*memories[0].values(), tokens)
    with torch.no_grad():
        outputs = tuple(step(*arguments))
    try:
        program = export_module(step, arguments, (tuple(shapes),))
    except Exception as error:  # PyTorch raises many kinds, for each of its stages
        raise UsageError(f"{artefact.path} has a step without a graph: {error}") from error
    return program, step, outputs


def _prove(
    artefact: Artefact,
    decoder: Decoder,
    parts: tuple[ImagePart, StepPart],
    runs: Sequence[Run],
    batches: Sequence[np.ndarray],
) -> ExportProof:
    """Compare steps of the files with those of PyTorch, and with what the network returns."""
    image, step = parts
    steps, worst, noise = min(STEPS, decoder.longest), 0.0, 0.0

    def run_image(images: np.ndarray) -> Arrays:
        with torch.inference_mode():
            return {name: each.numpy() for name, each in image(torch.from_numpy(images)).items()}

    def run_network(images: np.ndarray) -> Arrays:
        with limited(decoder.owner, decoder.setting, steps * decoder.width + decoder.more):
            return artefact.results(images)

    def agree(found: Comparison, batch: np.ndarray, what: str) -> None:
        nonlocal worst, noise
        if found.fault:
            shape = "x".join(map(str, batch.shape))
            raise ExportError(
                f"{artefact.path} with images of {shape}: {what} {found.fault}; nothing was written"
            )
        worst, noise = max(worst, found.difference), max(noise, found.noise)

    for batch in batches:
        (_, *rows), tokens = [{}], np.full((len(batch), decoder.width), decoder.start)
        given = runs[0]({"x": batch})
        for name, memory in run_image(batch).items():
            if memory.any():  # the first state of a recurrent cell is zero
                found = compare(artefact, run_image, batch, name, memory, given[name])
                agree(found, batch, f"{name} of the image")
        for number in range(steps):
            step_results = runs[1]({**given, "tokens": tokens})
            with torch.inference_mode():
                inputs = (*(given[name] for name in step.names), tokens)
                expected = step(*map(torch.from_numpy, inputs))
            for name, result in expected.items():
                gap, fault = difference(result.numpy(), step_results[name])
                agree(Comparison(gap, fault=fault), batch, f"{name} of step {number + 1}")
            rows.append(step_results)
            given |= {
                name.removeprefix(NEXT): step_results[name] for name in step_results if NEXT in name
            }
            tokens = np.concatenate([tokens, step_results["scores"].argmax(2)], 1)
        results = run_network(batch)
        for name, of_network in {**decoder.scores, **decoder.whole}.items():
            common = min(len(rows), results[of_network].shape[1])
            first = partial(_first_steps, run_network, of_network, common)
            if name in decoder.whole:
                theirs = rows[common - 1][name]
            else:
                theirs = np.concatenate([row[name] for row in rows[:common]], 1)
            ours = results[of_network][:, :common]
            agree(compare(artefact, first, batch, of_network, ours, theirs), batch, of_network)
        if decoder.tokens:
            texts = _compare_texts(decoder, results[decoder.tokens], tokens)
            agree(texts, batch, "the text")
    return ExportProof(worst, tuple(batch.shape for batch in batches), noise)


def _first_steps(run: Runner, name: str, steps: int, images: np.ndarray) -> Arrays:
    """Return the first steps of a result."""
    return {name: run(images)[name][:, :steps]}


def _compare_texts(decoder: Decoder, expected: np.ndarray, actual: np.ndarray) -> Comparison:
    """Compare tokens up to the end of each text; what follows it says nothing."""
    expected, actual = expected[:, decoder.starts :], actual[:, decoder.width :]
    steps = min(expected.shape[1], actual.shape[1])
    expected, actual = expected[:, :steps], actual[:, :steps]
    ended = np.cumsum(expected == decoder.end, 1) - (expected == decoder.end) > 0
    gap, fault = difference(np.where(ended, 0, expected), np.where(ended, 0, actual))
    return Comparison(gap, fault=fault)


def _checked(artefact: Artefact, run: Run) -> Run:
    """Return what runs a file, with an error of ours where it does not run."""

    def checked(given: Mapping[str, np.ndarray]) -> Arrays:
        try:
            return run(given)
        except Exception as error:  # those of ONNX Runtime and PyTorch have no common base
            raise ExportError(f"the export of {artefact.path} does not run: {error}") from error

    return checked
