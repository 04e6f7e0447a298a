"""Read an ONNX file and check it: sizes, operators, external data.

Nothing of the file is run here. Half precision is widened to float32, so that all later steps, and
ONNX Runtime, compute in single precision. Source: https://github.com/onnx/onnx/blob/main/docs/IR.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from converter.errors import ReferenceUnavailable, SourceError, UnsafeSource
from converter.sources import mapped_files as files
from converter.sources.entries import count_entries
from converter.sources.ir import MOST_OPERATIONS
from converter.sources.onnx.tensors import (
    BFLOAT16,
    FLOAT,
    FLOAT16,
    TensorData,
    graphs_of,
    store,
    tensors_of,
)

SUFFIX = ".onnx"
OPSETS = range(7, 21)
"""The versions of the operators that are read, from Paddle2ONNX's oldest on."""
LARGEST = (1 << 31) - 1  # bytes; protobuf takes no more
_MOST_ENTRIES = 2_000_000
_HALVES = (FLOAT16, BFLOAT16)

# The messages that hold other messages, and in which of their fields; what is not listed is counted
# without looking inside. The numbers of a tensor take about as much memory as in the file.
_INSIDE: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node"},
    "graph": {1: "node", 5: "tensor", 11: "value", 12: "value", 13: "value"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 14: "type", 15: "type"},
    "tensor": {},
    "value": {2: "type"},
    "type": {1: "tensor type", 4: "wrapper", 5: "wrapper", 9: "wrapper"},
    "wrapper": {1: "type", 2: "type"},
    "tensor type": {2: "shape"},
    "shape": {},
}

_QUANTISED = {
    "QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "QLinearConv", "QLinearMatMul",
    "ConvInteger", "MatMulInteger",
}  # fmt: skip


@dataclass(frozen=True)
class OnnxModel:
    """An ONNX file that was checked.

    Args:
        proto: its ModelProto, all data inside, in single precision.
        file: the file.
        external: the files beside it that hold data of its tensors.
        metadata: what its exporter says about it, by key.
        notes: sentences about what was changed: that half precision was widened.
    """

    proto: Any
    file: Path
    external: tuple[Path, ...]
    metadata: dict[str, str]
    notes: tuple[str, ...]


def read_model(file: Path) -> OnnxModel:
    """Read an ONNX file.

    Raises:
        SourceError: the file is truncated, corrupt, of another format, quantised, or written for
            other operators than OPSETS.
        UnsafeSource: it has an operator that is none of ONNX's own, or data outside of its folder.
    """
    onnx = _library()
    data = files.map_file(file)
    if len(data) > LARGEST:
        raise SourceError(f"{file} has {len(data)} bytes; an ONNX file has at most {LARGEST}.")
    if count_entries(data, _MOST_ENTRIES, "model", _inside) > _MOST_ENTRIES:
        raise SourceError(
            f"{file} has more than {_MOST_ENTRIES} entries, where released networks have some ten "
            "thousand; it is damaged, or made to exhaust the memory."
        )
    proto = _parsed(onnx, data, file)
    version = _opset(proto, file)
    _check_operators(onnx, proto, version, file)
    tensors = TensorData(file)
    halves = 0
    for tensor in tensors_of(proto.graph):
        half = tensor.data_type in _HALVES
        array = tensors.array(tensor)
        if half or tensor.data_location:
            store(tensor, array.astype(np.float32) if half else array)
        halves += half
    notes = [
        f"{halves} tensors of the ONNX file are of half precision; they were widened to float32, "
        "in which ONNX Runtime computed too"
    ]
    if halves:
        _compute_in_single(proto.graph)
    external = tuple(file.parent / name for name in sorted(tensors.external))
    metadata = {entry.key: entry.value for entry in proto.metadata_props}
    return OnnxModel(proto, file, external, metadata, tuple(notes[: bool(halves)]))


def with_outputs(file: Path, values: Sequence[str]) -> bytes:
    """Write an ONNX file again, for ONNX Runtime, so that it returns `values` in this order.

    The file is checked as by `read_model`; data from files beside it is inside.

    Raises:
        SourceError, UnsafeSource: as of `read_model`.
        ValueError: the main graph does not have one of the values.
    """
    onnx = _library()
    proto = read_model(file).proto
    graph = proto.graph
    known = {tensor.name for tensor in graph.initializer} | {value.name for value in graph.input}
    known |= {name for node in graph.node for name in node.output}
    if unknown := [value for value in values if value not in known]:
        raise ValueError(f"the ONNX file has no value {unknown[0]!r}")
    del graph.output[:]
    graph.output.extend(onnx.ValueInfoProto(name=value) for value in values)
    content: bytes = proto.SerializeToString()
    return content


def _library() -> Any:
    """Import the package `onnx`.

    Raises:
        ReferenceUnavailable: it is not installed.
    """
    try:
        import onnx
    except ImportError as error:
        raise ReferenceUnavailable(
            f"ONNX files are read by the package onnx, which cannot be imported ({error}); install "
            'it with pip install "paddleocr-to-torch[onnx]"'
        ) from error
    return onnx


def _inside(message: str, field: int) -> str | None:
    return _INSIDE[message].get(field)


def _parsed(onnx: Any, data: memoryview, file: Path) -> Any:
    """Return the ModelProto of a file without fields that ONNX does not have."""
    from google.protobuf.message import DecodeError

    try:
        proto = onnx.ModelProto.FromString(bytes(data))
    except DecodeError:
        proto = onnx.ModelProto()
    proto.DiscardUnknownFields()
    if not proto.graph.node or not proto.opset_import:
        raise SourceError(
            f"{file} is not a complete ONNX file: {files.foreign(data)}. Export or download it "
            "again."
        )
    if proto.functions or proto.training_info:
        raise SourceError(
            f"{file} holds functions or steps of a training, which exported networks do not; "
            "export it again."
        )
    return proto


def _opset(proto: Any, file: Path) -> int:
    """Return the version of ONNX's own operators; those of other domains may be named, too."""
    versions = [entry.version for entry in proto.opset_import if entry.domain in _OWN]
    if len(versions) != 1 or versions[0] not in OPSETS:
        found = ", ".join(map(str, versions)) or "none"
        raise SourceError(
            f"{file} is written for version {found} of ONNX's operators; expected {OPSETS[0]} to "
            f"{OPSETS[-1]}. Export it again with such a version (--opset_version of Paddle2ONNX)."
        )
    del proto.opset_import[:]
    proto.opset_import.add(version=versions[0])
    return int(versions[0])


_OWN = ("", "ai.onnx")


def _check_operators(onnx: Any, proto: Any, version: int, file: Path) -> None:
    """Refuse operators that are none of ONNX's own, and those of quantised networks."""

    @cache
    def known(operator: str) -> bool:
        return bool(onnx.defs.has(operator, max_inclusive_version=version))

    _check_known(proto, known, file)


def _check_known(proto: Any, known: Callable[[str], bool], file: Path) -> None:
    count = 0
    for graph in graphs_of(proto.graph):
        if graph.sparse_initializer:
            raise SourceError(f"{file} has sparse tensors, which are not read; export dense ones.")
        count += len(graph.node)
        if count > MOST_OPERATIONS:
            raise SourceError(
                f"{file} has more than {MOST_OPERATIONS} operations, which no released network has."
            )
        for node in graph.node:
            if node.op_type in _QUANTISED:
                raise SourceError(
                    f"{file} is quantised ({node.op_type}); only networks of floating-point "
                    "weights are converted. Convert the file that it was made from."
                )
            if node.domain not in _OWN or not known(node.op_type):
                domain = f" of {node.domain[:60]!a}" if node.domain else ""
                raise UnsafeSource(
                    f"{file} has the operator {node.op_type[:60]!a}{domain}, which is none of "
                    "ONNX's own, so it is not known to only compute; nothing was run. Export the "
                    "network without that operator."
                )


def _compute_in_single(main: Any) -> None:
    """Have all operations compute in float32 where they computed in half precision."""
    for graph in graphs_of(main):
        del graph.value_info[:]
        for value in (*graph.input, *graph.output):
            if value.type.tensor_type.elem_type in _HALVES:
                value.type.tensor_type.elem_type = FLOAT
        for node in graph.node:
            for attribute in node.attribute:
                if attribute.name in ("to", "dtype") and attribute.i in _HALVES:
                    attribute.i = FLOAT
