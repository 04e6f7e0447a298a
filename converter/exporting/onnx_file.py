"""Networks as ONNX files, compared by ONNX Runtime; the extra `onnx` has what this needs.

A recogniser's characters are in the metadata, under the key `character` that RapidOCR reads. The
key `card` has the artefact's whole JSON.
"""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from converter.conversion.artefact import output_errors
from converter.errors import ExportError, UsageError
from converter.exporting.artefact import Artefact
from converter.exporting.program import make_graph
from converter.exporting.proof import Runner, prove
from converter.exporting.torch_program import ProgramExport
from schemas.artefact_files import partial_files

OPSET = 18
"""The version of ONNX's operators; the first with all that the networks need."""


def export(artefact: Artefact, folder: Path) -> ProgramExport:
    """Write a network as `STEM.onnx`.

    Args:
        artefact: the network.
        folder: where to write; it exists.

    Raises:
        UsageError: the network has no graph, or an operator that ONNX lacks, or a package is
            missing.
        ExportError: ONNX Runtime does not compute what the network does.
        OutputError: the file cannot be written.
    """
    _require("onnx", "onnxruntime", "onnxscript")
    graph = make_graph(artefact)
    with _silence(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            program = torch.onnx.export(
                graph.program,
                dynamo=True,
                opset_version=OPSET,
                input_names=list(graph.inputs),
                output_names=list(graph.outputs),
                verbose=False,
            )
        except Exception as error:  # the exporter raises many kinds
            raise UsageError(f"{artefact.path} cannot be written as ONNX: {error}") from error
    assert program is not None
    program.model.metadata_props.update(_metadata(artefact))
    program.model.producer_name = "paddleocr-to-torch"
    file = folder / f"{artefact.path.stem}.onnx"
    with output_errors(), partial_files(file) as (partial,):
        program.save(str(partial), external_data=False)
        proof = prove(artefact, _runner(artefact, partial), graph.batches)
        partial.replace(file)
    return ProgramExport(file, graph.describe(), proof)


def _metadata(artefact: Artefact) -> dict[str, str]:
    entry = artefact.card.dictionary
    metadata = {"card": json.dumps(artefact.card.to_dict(), ensure_ascii=False)}
    if entry is not None and entry.characters is not None:
        characters = list(entry.characters)
        if characters[-1] == " ":  # which RapidOCR adds
            characters.pop()
        metadata["character"] = "\n".join(characters)
    return metadata


def _runner(artefact: Artefact, file: Path) -> Runner:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        file.read_bytes(), options, providers=["CPUExecutionProvider"]
    )
    inputs = [each.name for each in session.get_inputs()]
    outputs = [each.name for each in session.get_outputs()]

    def run(batch: np.ndarray) -> Mapping[str, np.ndarray]:
        names = ("x", *artefact.network.extra_inputs)
        given = dict(zip(names, artefact.arguments(batch), strict=True))
        try:  # the exporter leaves out inputs that no result depends on
            results = session.run(None, {name: given[name].numpy() for name in inputs})
        except Exception as error:  # ONNX Runtime's exceptions have no common base
            raise ExportError(
                f"ONNX Runtime does not run the export of {artefact.path}: {error}"
            ) from error
        return dict(zip(outputs, results, strict=True))

    return run


def _require(*packages: str) -> None:
    from importlib.util import find_spec

    if missing := [name for name in packages if find_spec(name) is None]:
        raise UsageError(
            f"{', '.join(missing)} is missing, which ONNX files need; install it: "
            "pip install 'paddleocr-to-torch[onnx]'"
        )


@contextmanager
def _silence() -> Iterator[None]:
    """Keep the exporter's own messages away; what it cannot do is an error of its own."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
