"""Networks as PyTorch programs, which load without this package: torch.export and TorchScript."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch._inductor

from converter.conversion.artefact import output_errors
from converter.errors import ExportError, UsageError
from converter.exporting.artefact import Artefact
from converter.exporting.choices import Chooser, RecordedChoices
from converter.exporting.decoders import decoder_of
from converter.exporting.example_inputs import ExampleInputs, examples_of
from converter.exporting.parts import GraphPart, whole
from converter.exporting.program import Graph, ProgramExport, make_graph, refuse_arrays
from converter.exporting.proof import Runner, prove_graph
from converter.exporting.relations import export_relations, finds_relations
from converter.exporting.steps import FileFormat, Run, export_steps
from schemas.artefact_files import partial_files

CARD = "card.json"
"""The name of the artefact's JSON within the file."""


def export(artefact: Artefact, folder: Path, made: Graph | None = None) -> ProgramExport:
    """Write a network as `STEM.pt2`, which `torch.export.load` reads; its JSON is within.

    One that decodes until the end of a text, or finds relations, becomes two files.

    Args:
        artefact: the network.
        folder: where to write; it exists.
        made: its graph, where several files are made of it; None to make it.

    Raises:
        UsageError: the network has no graph.
        ExportError: the program does not compute what the network does.
        OutputError: the file cannot be written.
    """
    decoder = decoder_of(artefact.network)
    if decoder is not None and not decoder.short:
        return export_steps(artefact, folder, PROGRAMS)
    if finds_relations(artefact):
        return export_relations(artefact, folder, PROGRAMS)
    graph = made or make_graph(artefact)
    file = folder / f"{artefact.path.stem}.pt2"
    with output_errors(), partial_files(file) as (partial,):
        _save(artefact, graph.program, graph.part.inputs, graph.outputs, partial)
        module = _load(partial)
        run = _runner(artefact, graph.part, module, graph.outputs)
        proof = prove_graph(artefact, run, graph.batches, _chooser(run))
        partial.replace(file)
    return ProgramExport((file,), graph.takes, proof)


def export_compiled(artefact: Artefact, folder: Path) -> ProgramExport:
    """Write a network as `STEM.compiled.pt2`, machine code of AOTInductor for this processor.

    `torch._inductor.aoti_load_package` loads it; the JSON is the metadata `card`. The code looks at
    the sizes of its inputs only where `AOTI_RUNTIME_CHECK_INPUTS=1` is set; the metadata `takes`
    states those that it is for.

    Args:
        artefact: the network.
        folder: where to write; it exists.

    Raises:
        UsageError: the network has no graph, or there is no C++ compiler, or it fails.
        ExportError: the code does not compute what the network does.
        OutputError: the file cannot be written.
    """
    compiler = os.environ.get("CXX", "g++")
    if shutil.which(compiler) is None:
        raise UsageError(
            f"--compile needs a C++ compiler, and {compiler} is not installed; install g++, or "
            "name another one in $CXX"
        )
    _refuse_two_files(artefact, "compiled code")
    graph = make_graph(artefact)
    metadata = {"card": _card(artefact), "takes": graph.takes}
    file = folder / f"{artefact.path.stem}.compiled.pt2"
    with output_errors(), tempfile.TemporaryDirectory(prefix=".export-", dir=folder) as place:
        package = Path(place) / file.name
        try:
            torch._inductor.aoti_compile_and_package(
                graph.program,
                package_path=str(package),
                inductor_configs={
                    "aot_inductor.metadata": metadata,
                    # The graph takes a single image, but the checks would ask for two.
                    "aot_inductor.check_lowerbound": False,
                },
            )
        except Exception as error:  # whatever stops in PyTorch's compiler or that of C++
            raise UsageError(f"{artefact.path} cannot be compiled: {error}") from error
        module = torch._inductor.aoti_load_package(str(package))
        run = _runner(artefact, graph.part, module, graph.outputs)
        proof = prove_graph(artefact, run, graph.batches)
        package.replace(file)
    return ProgramExport((file,), graph.takes, proof)


def export_script(artefact: Artefact, folder: Path) -> ProgramExport:
    """Write a network as TorchScript, `STEM.torchscript.pt`, traced on an example.

    A trace keeps the sizes that it has seen wherever the network computes with them, and gives
    wrong results for others in silence. So it is compared on inputs of several sizes, where the
    network itself takes them.

    Raises:
        UsageError: the network cannot be traced.
        ExportError: the trace does not compute what the network does on inputs of other sizes.
        OutputError: the file cannot be written.
    """
    refuse_arrays(artefact)
    _refuse_two_files(artefact, "a trace")
    fused = artefact.fused()
    examples = examples_of(fused)
    free = next(free for free in examples.tried() if _runs(fused, examples, free))
    batches, part = examples.batches(free), whole(fused)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        try:
            arguments = part.arguments(fused.arguments(batches[0]))
            traced = torch.jit.trace(part, arguments, strict=False)
        except Exception as error:  # whatever stops in the network or the tracer
            raise UsageError(f"{artefact.path} cannot be traced: {error}") from error
    outputs = tuple(fused.results(batches[0]))
    file = folder / f"{artefact.path.stem}.torchscript.pt"
    with output_errors(), partial_files(file) as (partial,):
        torch.jit.save(traced, str(partial), _extra_files={CARD: _card(artefact)})
        module = torch.jit.load(str(partial))
        run = _runner(artefact, part, module, outputs)
        proof = prove_graph(artefact, run, batches, _chooser(run))
        partial.replace(file)
    sizes = ", ".join(free) or "none"
    takes = f"{examples.noun} as the network; free axes: {sizes}"
    return ProgramExport((file,), takes, proof)


def _save(
    artefact: Artefact,
    program: torch.export.ExportedProgram,
    inputs: Sequence[str],  # noqa: ARG001 - a program takes them by position
    outputs: Sequence[str],  # noqa: ARG001 - a program states them itself
    file: Path,
    more: Mapping[str, str] | None = None,
) -> None:
    with file.open("wb") as stream, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of parameters that are views of others
        torch.export.save(program, stream, extra_files={CARD: _card(artefact), **(more or {})})


def _load(file: Path) -> Any:
    with file.open("rb") as stream:
        return torch.export.load(stream).module()


def _open(file: Path, inputs: Sequence[str]) -> Run:
    module = _load(file)

    def run(given: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        with torch.inference_mode():
            results = module(*(torch.from_numpy(given[name]) for name in inputs))
        return {name: result.numpy() for name, result in results.items()}

    return run


PROGRAMS = FileFormat(".pt2", _save, _open)


def _refuse_two_files(artefact: Artefact, what: str) -> None:
    """Raise UsageError for a network that becomes two files."""
    if finds_relations(artefact):
        raise UsageError(
            f"{artefact.path} scores the pairs of each page in a loop, which {what} cannot hold; "
            "export it with --to onnx or --to torch, which write its features and a page's pairs "
            "as two files"
        )
    decoder = decoder_of(artefact.network)
    if decoder is not None and not decoder.short:
        raise UsageError(
            f"{artefact.path} decodes step by step until the end of a text, or in more steps than "
            f"{what} can hold; export it with --to onnx or --to torch, which write a single step"
        )


def _runs(artefact: Artefact, examples: ExampleInputs, free: tuple[str, ...]) -> bool:
    """Return whether the network itself takes inputs of these free axes."""
    try:
        for batch in examples.batches(free):
            artefact.results(batch)
    except (RuntimeError, ValueError, IndexError, AssertionError):
        return not free  # a network that takes one size alone
    return True


def _card(artefact: Artefact) -> str:
    return json.dumps(artefact.card.to_dict(), ensure_ascii=False)


def _runner(artefact: Artefact, part: GraphPart, module: Any, outputs: tuple[str, ...]) -> Runner:
    def run(batch: np.ndarray) -> Mapping[str, np.ndarray]:
        arguments = part.arguments(artefact.arguments(batch))
        try:
            with torch.inference_mode():
                results = module(*arguments)
        except Exception as error:  # of a graph that was fixed to another size
            (*_, reason) = str(error).strip().splitlines() or [type(error).__name__]
            raise ExportError(
                f"the export of {artefact.path} does not take {examples_of(artefact).noun} of "
                f"{batch.shape}: {reason}"
            ) from error
        if not isinstance(results, dict):
            results = dict(zip(outputs, [results], strict=True))
        return {name: result.numpy() for name, result in results.items()}

    return run


def _chooser(run: Runner) -> Chooser:
    """Return what tells the positions that a program of PyTorch's operators chooses."""

    def chosen(batch: np.ndarray) -> list[np.ndarray]:
        with RecordedChoices() as choices:
            run(batch)
        return choices.positions

    return chosen
