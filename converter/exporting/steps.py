"""Networks that decode step by step as two files: the image's part, and a step.

`STEM.encoder` takes images; `STEM.step` takes its results and the tokens so far. What was written
with the step has, under the key `decoding`, the start and the end token, the number of steps, the
names of results that each step gives anew for all tokens (`whole`), not for the last alone, and how
many texts of each image the network's own search follows (`beams`).
`examples/decode_onnx.py` runs the two as ONNX files.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
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
from converter.exporting.decoders import Decoder, ImagePart, Step, StepPart, Tensors, decoder_of
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


@dataclass(frozen=True)
class PartGraph:
    """A part of a network as a graph.

    Attributes:
        program: the graph.
        inputs: names of its inputs.
        outputs: names of its results.
        metadata: what is written with it.
    """

    program: torch.export.ExportedProgram
    inputs: Sequence[str]
    outputs: Sequence[str]
    metadata: Mapping[str, str] | None = None


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
    described = {"decoding": json.dumps(_decoding(decoder))}
    graphs = {
        "encoder": PartGraph(graph.program, image.inputs, graph.outputs),
        "step": PartGraph(program, (*names, "tokens"), outputs, described),
    }
    files, proof = write_parts(
        artefact,
        folder,
        kind,
        graphs,
        lambda runs: _prove(fused, decoder, (image, step), runs, graph.batches),
    )
    return ProgramExport(files, graph.takes, proof)


def write_parts(
    artefact: Artefact,
    folder: Path,
    kind: FileFormat,
    graphs: Mapping[str, PartGraph],
    prove: Callable[[Sequence[Run]], ExportProof],
) -> tuple[tuple[Path, ...], ExportProof]:
    """Write the graphs of a network's parts as `STEM.PART`, all of them or none.

    Args:
        artefact: the network.
        folder: where to write; it exists.
        kind: the format of the files.
        graphs: by the names of the parts.
        prove: compares the parts with the network, from what runs each file.

    Returns:
        The files, and the proof.
    """
    stem = artefact.path.stem
    files = tuple(folder / f"{stem}.{part}{kind.suffix}" for part in graphs)
    with output_errors(), partial_files(*files) as partial:
        runs = []
        for file, graph in zip(partial, graphs.values(), strict=True):
            kind.save(artefact, graph.program, graph.inputs, graph.outputs, file, graph.metadata)
            runs.append(_checked(artefact, kind.open(file, graph.inputs)))
        proof = prove(runs)
        for written, file in zip(partial, files, strict=True):
            written.replace(file)
    return files, proof


def _decoding(decoder: Decoder) -> dict[str, int | list[str]]:
    """Return what a program needs that runs the steps."""
    return {
        "start": decoder.start,
        "end": decoder.end,
        "tokens_of_a_step": decoder.width,
        "steps": decoder.longest,
        "whole": list(decoder.whole),
        "beams": decoder.beams,
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
    run_image, run_step = runs
    proof = _Proof(artefact, decoder, *parts, run_image, run_step)
    for batch in batches:
        proof.compare(batch)
    return ExportProof(proof.worst, tuple(batch.shape for batch in batches), proof.noise)


@dataclass
class _Proof:
    """Compares two files with the parts of a network that they were made of, and with the network.

    Attributes:
        artefact: the network.
        decoder: its decoder.
        image: its part before the steps.
        step: its step.
        run_image: runs the file of the image's part.
        run_step: runs the file of the step.
        worst: the largest difference so far.
        noise: what was subtracted from it at most.
    """

    artefact: Artefact
    decoder: Decoder
    image: ImagePart
    step: StepPart
    run_image: Run
    run_step: Run
    worst: float = 0.0
    noise: float = 0.0

    @property
    def steps(self) -> int:
        """How many steps are compared."""
        return min(STEPS, self.decoder.longest)

    def compare(self, batch: np.ndarray) -> None:
        """Compare on images (N, C, H, W).

        Raises:
            ExportError: something differs by more than the limit.
        """
        decoder = self.decoder
        given, rows = self.run_image({"x": batch}), _Rows(self, batch)
        noise = 0.0
        for name, memory in self.memory_of(batch).items():
            if memory.any():  # the first state of a recurrent cell is zero
                found = compare(self.artefact, self.memory_of, batch, name, memory, given[name])
                self.agree(found, batch, f"{name} of the image")
                noise = max(noise, found.noise)
        text = self.write(rows.run, given)
        results = self.run_network(batch)
        for name, of_network in {**decoder.scores, **decoder.whole}.items():
            common = min(len(rows.results), results[of_network].shape[1])
            first = partial(_first_steps, self.run_network, of_network, common)
            if name in decoder.whole:
                theirs = rows.results[common - 1][name]
            else:
                theirs = np.concatenate([row[name] for row in rows.results[:common]], 1)
            ours = results[of_network][:, :common]
            found = compare(self.artefact, first, batch, of_network, ours, theirs)
            self.agree(found, batch, of_network)
        if decoder.tokens:
            own = results[decoder.tokens][:, decoder.starts :]
            if noise:  # which may change the text: the step has to make the same of this memory
                same = self.write(self.step_of_network, self.memory_of(batch))
                self.agree(_compare_texts(decoder, own, same), batch, "the text of its own steps")
                own = self.write(self.step_of_network, given)
            self.agree(_compare_texts(decoder, own, text), batch, "the text")

    def memory_of(self, images: np.ndarray) -> Arrays:
        """Run the network's part before the steps."""
        with torch.inference_mode():
            memory = self.image(torch.from_numpy(images))
        return {name: each.numpy() for name, each in memory.items()}

    def step_of_network(self, memory: Tensors, tokens: Tensor) -> Tensors:
        """Run the network's step."""
        with torch.inference_mode():
            results: Tensors = self.step(*(memory[name] for name in self.step.names), tokens)
        return results

    def write(self, step: Step, memory: Arrays) -> np.ndarray:
        """Return what the network writes by steps, without the start tokens; (N, T) int64."""
        decoder = self.decoder
        given = {name: torch.from_numpy(each) for name, each in memory.items()}
        count = len(next(iter(given.values())))
        start = torch.full((count, decoder.width), decoder.start)
        return decoder.write(step, given, start, self.steps)[:, decoder.width :].numpy()

    def run_network(self, images: np.ndarray) -> Arrays:
        """Run the network as far as the steps are compared."""
        decoder = self.decoder
        longest = self.steps * decoder.width + decoder.more
        with limited(decoder.owner, decoder.setting, longest):
            return self.artefact.results(images)

    def agree(self, found: Comparison, batch: np.ndarray, what: str) -> None:
        """Take a comparison into account; raise ExportError where it failed."""
        if found.fault:
            shape = "x".join(map(str, batch.shape))
            raise ExportError(
                f"{self.artefact.path} with images of {shape}: {what} {found.fault}; nothing was "
                "written"
            )
        self.worst = max(self.worst, found.difference)
        self.noise = max(self.noise, found.noise)


@dataclass
class _Rows:
    """Runs steps of a file, each compared with the network's, and keeps their results.

    Attributes:
        proof: what the comparisons belong to.
        batch: the images, for messages.
        results: of each step.
    """

    proof: _Proof
    batch: np.ndarray
    results: list[Arrays] = field(default_factory=list)

    def run(self, memory: Tensors, tokens: Tensor) -> Tensors:
        """Run a step."""
        inputs = {name: each.numpy() for name, each in {**memory, "tokens": tokens}.items()}
        found = self.proof.run_step(inputs)
        self.results.append(found)
        for name, expected in self.proof.step_of_network(memory, tokens).items():
            gap, fault = difference(expected.numpy(), found[name])
            what = f"{name} of step {len(self.results)}"
            self.proof.agree(Comparison(gap, fault=fault), self.batch, what)
        return {name: torch.from_numpy(each) for name, each in found.items()}


def _first_steps(run: Runner, name: str, steps: int, images: np.ndarray) -> Arrays:
    """Return the first steps of a result."""
    return {name: run(images)[name][:, :steps]}


def _compare_texts(decoder: Decoder, expected: np.ndarray, actual: np.ndarray) -> Comparison:
    """Compare tokens up to the end of each text; what follows it says nothing."""
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
