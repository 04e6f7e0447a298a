"""Read the weights of an exported program: `.pdiparams`, mapped into memory and fully checked.

The file is the program's persistable tensors one after the other, sorted by name and without names
(Paddle's `save_combine`). Each: uint32 version, uint64 level-of-detail count and that many levels
(uint64 size, data), uint32 version, int32 size of a TensorDesc, the TensorDesc, the numbers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import numpy as np

from converter.errors import SourceError
from converter.sources import framework_proto as schema
from converter.sources import mapped_files as files
from converter.sources import unpickler as pickles
from converter.sources.ir import Program, TensorSpec, spec
from converter.sources.reader import read_program


@dataclass(frozen=True)
class Export:
    """An exported program with its weights.

    Args:
        program_file: the program.
        weights_file: the `.pdiparams`; of an ONNX file the file itself.
        program: the program as it was read.
        tensors: from parameter names (`conv2d_0.w_0`) to read-only arrays, which are views of the
            mapped file and may be unaligned; bfloat16 is converted to float32, float64 rounded.
        structured_names: from parameter names to structured names (`backbone.conv1.weight`), if
            there is a `.pdiparams.info`. They are only a hint: released exports carry names of
            older code.
        external: further files that weights of an ONNX file are in.
        metadata: what an ONNX file says about itself, by key: its characters or labels.
        notes: lines about what was changed in the tensors.
    """

    program_file: Path
    weights_file: Path
    program: Program
    tensors: Mapping[str, np.ndarray]
    structured_names: Mapping[str, str]
    external: tuple[Path, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def read_export(program_file: Path, weights_file: Path, info_file: Path | None = None) -> Export:
    """Read an exported program and its weights without Paddle.

    Args:
        program_file: a `.pdmodel` or PIR `.json`.
        weights_file: its `.pdiparams`.
        info_file: its `.pdiparams.info`, which holds structured names.

    Raises:
        SourceError: a file is truncated, corrupt or of another format, or the weights are not those
            of the program.
        UnsafeSource: the `info_file` would do more than hold names.
    """
    program = read_program(program_file)
    tensors, notes = files.in_float32(read_pdiparams(weights_file, program))
    names = read_info(info_file) if info_file else MappingProxyType({})
    return Export(program_file, weights_file, program, tensors, names, notes=tuple(notes))


def read_pdiparams(file: Path, program: Program) -> Mapping[str, np.ndarray]:
    """Map the weights of a program; every size, dtype and shape is checked before it is used."""
    reader = _Reader(files.map_file(file), file)
    tensors = {name: reader.tensor(program.parameters[name]) for name in sorted(program.parameters)}
    if left := len(reader.data) - reader.position:
        raise SourceError(
            f"{file} goes on for {left} bytes after the program's {len(tensors)} parameters; "
            "it belongs to another program."
        )
    return MappingProxyType(tensors)


class _Reader:
    """Reads the tensors of a `.pdiparams` file one after the other."""

    def __init__(self, data: memoryview, file: Path) -> None:
        self.data = data
        self.file = file
        self.position = 0
        self.name = ""

    def tensor(self, expected: TensorSpec) -> np.ndarray:
        """Read the next tensor, whose dtype and shape must be those in the program."""
        self.name = expected.name
        self._expect_zero("tensor version")
        for _ in range(self._levels()):
            self._take(self._number(8))
        self._expect_zero("tensor version")
        dtype, shape = self._description()
        if (dtype, shape) != (expected.dtype, expected.shape):
            raise SourceError(
                f"{self.file}: parameter {self.name!r} is {dtype} {shape}; "
                f"the program expects {expected.dtype} {expected.shape}. "
                "The weights belong to another program."
            )
        stored = np.dtype("uint16" if dtype == "bfloat16" else dtype)
        data = self._take(math.prod(shape) * stored.itemsize)
        array = np.frombuffer(data, stored).reshape(shape)
        if dtype == "bfloat16":
            array = files.widen(array)
            array.setflags(write=False)
        return array

    def _take(self, size: int) -> memoryview:
        left = len(self.data) - self.position
        if size > left:
            raise SourceError(
                f"{self.file} is truncated, or belongs to another program: parameter "
                f"{self.name!r} needs {size} bytes at byte {self.position}, found {left}."
            )
        start = self.position
        self.position += size
        return self.data[start : self.position]

    def _number(self, size: int) -> int:
        return int.from_bytes(self._take(size), "little")

    def _expect_zero(self, field: str) -> None:
        if value := self._number(4):
            raise SourceError(
                f"{self.file}: parameter {self.name!r} has {field} {value} before byte "
                f"{self.position}; expected 0. It is corrupt, or not a .pdiparams file: "
                f"{files.foreign(self.data)}."
            )

    def _levels(self) -> int:
        if (count := self._number(8)) > 8:
            raise SourceError(
                f"{self.file}: parameter {self.name!r} has {count} levels of detail before byte "
                f"{self.position}; expected 0. The file is corrupt."
            )
        return count

    def _description(self) -> tuple[str, tuple[int, ...]]:
        from google.protobuf.message import DecodeError

        raw = bytes(self._take(self._number(4)))
        try:
            tensor = schema.message("TensorDesc").FromString(raw)
            stored = spec(self.name, list(tensor.dims), schema.DTYPES[tensor.data_type], known=True)
            return stored.dtype, stored.shape
        except (DecodeError, KeyError, ValueError):
            raise SourceError(
                f"{self.file}: parameter {self.name!r} has no valid description at byte "
                f"{self.position}; the file is corrupt."
            ) from None


def read_info(file: Path) -> Mapping[str, str]:
    """Read a `.pdiparams.info`, a pickle: from parameter names to structured names."""
    content = pickles.load(files.map_file(file), str(file))
    if not isinstance(content, dict):
        raise SourceError(f"{file} holds a {type(content).__name__}; expected a dict of names.")
    names = {
        parameter: entry["structured_name"]
        for parameter, entry in content.items()
        if isinstance(entry, dict) and isinstance(entry.get("structured_name"), str)
    }
    return MappingProxyType(names)
