"""The tensors in an ONNX file, each checked against its data before it is used.

Source: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto3, TensorProto.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np

from converter.errors import SourceError, UnsafeSource
from converter.sources import mapped_files as files
from converter.sources.ir import spec

FLOAT, FLOAT16, BFLOAT16 = 1, 10, 16
"""Numbers of TensorProto.DataType."""

DTYPES = {
    FLOAT: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64",
    9: "bool", FLOAT16: "float16", 11: "float64", 12: "uint32", 13: "uint64", BFLOAT16: "bfloat16",
}  # fmt: skip

_EXTERNAL = 1  # TensorProto.DataLocation

# Where numbers are listed instead of being stored as bytes; halves are the bits of an integer.
_FIELDS = {"float32": "float_data", "float64": "double_data", "int64": "int64_data"}
_FIELDS |= dict.fromkeys(("uint32", "uint64"), "uint64_data")
_LISTED = ("float_data", "double_data", "int64_data", "uint64_data", "int32_data", "string_data")


@dataclass
class TensorData:
    """Reads the tensors of one ONNX file.

    Args:
        file: the ONNX file.
        external: the files beside it that hold data of its tensors, mapped, by name.
    """

    file: Path
    external: dict[str, memoryview] = field(default_factory=dict)

    def array(self, tensor: Any) -> np.ndarray:
        """Return a tensor as an array of the stored type; bfloat16 as float32.

        Raises:
            SourceError: type, shape and data do not fit together.
            UnsafeSource: its data is in a file outside of the folder.
        """
        where = f"{self.file}: the tensor {str(tensor.name)[:200]!r}"
        if tensor.data_type not in DTYPES:
            raise SourceError(
                f"{where} is of type {tensor.data_type}, neither numbers of 8 to 64 bits nor "
                "truth values; is the network quantised? Convert the float32 file."
            )
        try:
            known = spec(tensor.name, list(tensor.dims), DTYPES[tensor.data_type], known=True)
        except ValueError as fault:
            raise SourceError(f"{where} is not valid: {fault}; the file is corrupt.") from None
        stored = np.dtype("uint16" if known.dtype == "bfloat16" else known.dtype)
        count = math.prod(known.shape)
        data = self._data(tensor, known.dtype, stored, count, where)
        array = np.frombuffer(data, stored.newbyteorder("<"), count).reshape(known.shape)
        if stored == np.bool_ and count and np.frombuffer(data, np.uint8).max() > 1:
            raise SourceError(f"{where} has truth values other than 0 and 1; it is corrupt.")
        return files.widen(array) if known.dtype == "bfloat16" else array

    def _data(
        self, tensor: Any, dtype: str, stored: np.dtype[Any], count: int, where: str
    ) -> bytes | memoryview:
        """Return the bytes of a tensor, of which there are exactly as many as its shape says."""
        size = count * stored.itemsize
        if tensor.HasField("segment"):
            raise SourceError(f"{where} is stored in segments, which no exporter does.")
        if tensor.data_location == _EXTERNAL:
            return self._outside(tensor, size, where)
        listed = [name for name in _LISTED if len(getattr(tensor, name))]
        if not listed:
            data: bytes = tensor.raw_data
            if len(data) != size:
                raise SourceError(
                    f"{where} has {len(data)} bytes of data; {count} values of {dtype} have "
                    f"{size}. The file is truncated or corrupt."
                )
            return data
        numbers = getattr(tensor, _FIELDS.get(dtype, "int32_data"))
        if listed != [_FIELDS.get(dtype, "int32_data")] or len(numbers) != count or tensor.raw_data:
            raise SourceError(
                f"{where} lists other data than {count} values of {dtype}; the file is corrupt."
            )
        return self._listed(numbers, dtype, stored, where)

    def _listed(self, numbers: Any, dtype: str, stored: np.dtype[Any], where: str) -> bytes:
        bits = np.dtype("uint16") if dtype == "float16" else stored
        values = np.array(numbers, bits if bits.kind == "f" else np.int64)
        if dtype in ("uint32", "uint64"):
            values = np.array(numbers, np.uint64)
        if bits.kind in "iu" and bits != values.dtype:
            limits = np.iinfo(bits)
            if values.size and (values.min() < limits.min or values.max() > limits.max):
                raise SourceError(f"{where} lists values beyond {bits}; the file is corrupt.")
        if bits.kind == "b" and not np.isin(values, (0, 1)).all():
            raise SourceError(f"{where} lists truth values other than 0 and 1; it is corrupt.")
        return values.astype(bits.newbyteorder("<")).tobytes()

    def _outside(self, tensor: Any, size: int, where: str) -> memoryview:
        """Return the part of a file beside the ONNX file that holds a tensor."""
        entries = {entry.key: entry.value for entry in tensor.external_data}
        name = entries.get("location", "")
        data = self.external.get(name)
        if data is None:
            data = self.external[name] = files.map_file(self._beside(name, where))
        numbers = [
            entries.get(key) or default for key, default in (("offset", "0"), ("length", str(size)))
        ]
        if not all(text.isascii() and text.isdecimal() and len(text) < 20 for text in numbers):
            raise SourceError(f"{where} has no valid place in {name!r}; the file is corrupt.")
        start, length = map(int, numbers)
        if length != size or start + length > len(data):
            raise SourceError(
                f"{where} takes {size} bytes; the file says {length} bytes from byte {start} of "
                f"{name!r}, which has {len(data)}. The two files do not belong together, or one "
                "is truncated."
            )
        return data[start : start + length]

    def _beside(self, name: str, where: str) -> Path:
        """Return the path of a file with data; UnsafeSource for one outside of the folder."""
        folder = self.file.absolute().parent
        parts = PurePosixPath(name).parts
        plain = bool(parts) and name.isprintable() and not PureWindowsPath(name).anchor
        if plain and not {"..", "/"} & {*parts} and "\\" not in name:
            path = folder / name
            if path.resolve().is_relative_to(folder.resolve()):
                return path
        raise UnsafeSource(
            f"{where} has its data in {name!r}, which is not a file in the folder of the ONNX "
            "file; no other files are read."
        )


def tensors_of(graph: Any) -> Iterator[Any]:
    """Yield every tensor of a graph and of the graphs within: initializers and attributes."""
    for inner in graphs_of(graph):
        yield from inner.initializer
        for node in inner.node:
            for attribute in node.attribute:
                if attribute.HasField("t"):
                    yield attribute.t
                yield from attribute.tensors


def graphs_of(graph: Any) -> Iterator[Any]:
    """Yield a graph and the graphs in its operations, the outer ones first."""
    waiting = [graph]
    while waiting:
        outer = waiting.pop()
        yield outer
        for node in outer.node:
            for attribute in node.attribute:
                if attribute.HasField("g"):
                    waiting.append(attribute.g)
                waiting.extend(attribute.graphs)


def store(tensor: Any, array: np.ndarray) -> None:
    """Put an array of float32, or of the tensor's own type, into the tensor itself."""
    for name in (*_LISTED, "external_data", "data_location"):
        tensor.ClearField(name)
    if array.dtype == np.float32:
        tensor.data_type = FLOAT
    tensor.raw_data = array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
