"""Writing graphs as ONNX files, and opening them with ONNX Runtime."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from converter.errors import UsageError
from converter.exporting.artefact import Artefact
from converter.exporting.recurrent import any_length

if TYPE_CHECKING:
    import onnxruntime

OPSET = 18
"""The version of ONNX's operators; the first with all that the networks need."""


def save_onnx(
    artefact: Artefact,
    program: torch.export.ExportedProgram,
    inputs: Sequence[str],
    outputs: Sequence[str],
    file: Path,
    more: Mapping[str, str] | None = None,
) -> None:
    """Write a graph of a network as an ONNX file.

    Args:
        artefact: the network.
        program: the graph.
        inputs: names of its inputs.
        outputs: names of its results.
        file: where to write.
        more: further metadata.

    Raises:
        UsageError: the graph has an operator that ONNX lacks.
    """
    with _silence(), warnings.catch_warnings(), any_length():
        warnings.simplefilter("ignore")
        try:
            written = torch.onnx.export(
                program,
                dynamo=True,
                opset_version=OPSET,
                input_names=list(inputs),
                output_names=list(outputs),
                verbose=False,
            )
        except Exception as error:  # the exporter raises many kinds
            cause: BaseException = error
            while cause.__cause__ is not None:  # the first one names the operator
                cause = cause.__cause__
            (reason, *_) = str(cause).strip().splitlines() or [type(cause).__name__]
            raise UsageError(f"{artefact.path} cannot be written as ONNX: {reason}") from error
    assert written is not None
    written.model.metadata_props.update({**_metadata(artefact), **(more or {})})
    written.model.producer_name = "paddleocr-to-torch"
    written.save(str(file), external_data=False)


def open_session(file: Path) -> onnxruntime.InferenceSession:
    """Open an ONNX file on the CPU."""
    return _session(file.read_bytes())


def open_with_choices(file: Path) -> tuple[onnxruntime.InferenceSession, list[str]]:
    """Open an ONNX file that also returns the positions which each `topk` chooses; their names."""
    import onnx

    model = onnx.load(file)
    # A sort becomes the same operator; the exporter's names tell the two apart.
    nodes = [each for each in model.graph.node if each.op_type == "TopK" and "topk" in each.name]
    names = [each.output[1] for each in nodes]
    model.graph.output.extend(
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.INT64, None) for name in names
    )
    return _session(model.SerializeToString()), names


def _session(content: bytes) -> onnxruntime.InferenceSession:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what stops it is raised too
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def _metadata(artefact: Artefact) -> dict[str, str]:
    entry = artefact.card.dictionary
    metadata = {"card": json.dumps(artefact.card.to_dict(), ensure_ascii=False)}
    if entry is not None and entry.characters is not None:
        characters = list(entry.characters)
        if characters[-1] == " ":  # which RapidOCR adds
            characters.pop()
        metadata["character"] = "\n".join(characters)
    return metadata


def require(*packages: str) -> None:
    """Raise `UsageError` where one of the packages for ONNX files is missing."""
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
