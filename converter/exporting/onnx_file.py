"""Networks as ONNX files, compared by ONNX Runtime; the extra `onnx` has what this needs.

A recogniser's characters are in the metadata, under the key `character` that RapidOCR reads. The
key `card` has the artefact's whole JSON.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from converter.conversion.artefact import output_errors
from converter.errors import ExportError
from converter.exporting.artefact import Artefact
from converter.exporting.choices import Chooser
from converter.exporting.decoders import decoder_of
from converter.exporting.onnx_writing import (
    open_session,
    open_with_choices,
    require,
    save_onnx,
)
from converter.exporting.parts import GraphPart
from converter.exporting.program import Graph, ProgramExport, make_graph
from converter.exporting.proof import Runner, prove_graph
from converter.exporting.relations import export_relations, finds_relations
from converter.exporting.steps import FileFormat, Run, export_steps
from schemas.artefact_files import partial_files

if TYPE_CHECKING:
    from onnxruntime import InferenceSession


def export(artefact: Artefact, folder: Path, made: Graph | None = None) -> ProgramExport:
    """Write a network as `STEM.onnx`; one of steps or of relations, as two files.

    Args:
        artefact: the network.
        folder: where to write; it exists.
        made: its graph, where several files are made of it; None to make it.

    Raises:
        UsageError: the network has no graph, or an operator that ONNX lacks, or a package is
            missing.
        ExportError: ONNX Runtime does not compute what the network does.
        OutputError: the file cannot be written.
    """
    require("onnx", "onnxruntime", "onnxscript")
    if decoder_of(artefact.network) is not None:
        return export_steps(artefact, folder, ONNX)
    if finds_relations(artefact):
        return export_relations(artefact, folder, ONNX)
    graph = made or make_graph(artefact)
    while True:
        try:
            return _write(artefact, folder, graph)
        except DoesNotRun:  # as where ONNX Runtime has a size of the example in an operator
            if not graph.free:
                raise
            graph = make_graph(artefact, fewer=graph.free)


class DoesNotRun(ExportError):
    """ONNX Runtime does not run a file on images of some size."""


def _write(artefact: Artefact, folder: Path, graph: Graph) -> ProgramExport:
    file = folder / f"{artefact.path.stem}.onnx"
    with output_errors(), partial_files(file) as (partial,):
        save_onnx(artefact, graph.program, graph.part.inputs, graph.outputs, partial)
        run = _runner(artefact, graph.part, partial)
        chosen = _chooser(artefact, graph.part, partial) if artefact.network.ranks else None
        proof = prove_graph(artefact, run, graph.batches, chosen)
        partial.replace(file)
    return ProgramExport((file,), graph.takes, proof)


def _runner(artefact: Artefact, part: GraphPart, file: Path) -> Runner:
    try:
        session = open_session(file)
    except Exception as error:  # ONNX Runtime's exceptions have no common base
        raise DoesNotRun(
            f"ONNX Runtime does not open the export of {artefact.path}: {error}"
        ) from error
    return _runner_of(artefact, part, session)


def _runner_of(artefact: Artefact, part: GraphPart, session: InferenceSession) -> Runner:
    inputs = [each.name for each in session.get_inputs()]
    outputs = [each.name for each in session.get_outputs()]

    def run(batch: np.ndarray) -> Mapping[str, np.ndarray]:
        arguments = part.arguments(artefact.arguments(batch))
        given = dict(zip(part.inputs, arguments, strict=True))
        try:  # the exporter leaves out inputs that no result depends on
            results = session.run(None, {name: given[name].numpy() for name in inputs})
        except Exception as error:  # ONNX Runtime's exceptions have no common base
            raise DoesNotRun(
                f"ONNX Runtime does not run the export of {artefact.path}: {error}"
            ) from error
        return dict(zip(outputs, results, strict=True))

    return run


def _chooser(artefact: Artefact, part: GraphPart, file: Path) -> Chooser:
    """Return what tells the positions that a file chooses: a copy of it that returns them too."""
    session, names = open_with_choices(file)
    run = _runner_of(artefact, part, session)

    def chosen(batch: np.ndarray) -> list[np.ndarray]:
        results = run(batch)
        return [results[name] for name in names]

    return chosen


def _open(file: Path, _: Sequence[str]) -> Run:
    session = open_session(file)
    inputs = [each.name for each in session.get_inputs()]
    outputs = [each.name for each in session.get_outputs()]

    def run(given: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        # The exporter leaves out inputs that no result depends on.
        results = session.run(None, {name: given[name] for name in inputs})
        return dict(zip(outputs, results, strict=True))

    return run


ONNX = FileFormat(".onnx", save_onnx, _open)
