"""Read training checkpoints: `.pdparams`, written by `paddle.save(layer.state_dict(), file)`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

import numpy as np

from converter.errors import SourceError
from converter.sources import mapped_files as files
from converter.sources import unpickler as pickles

NAME_TABLE = "StructuredToParameterName@@"
_SLICES = "UnpackBigParamInfor@@"  # Paddle's spelling
_OPTIMIZER_KEYS = ("LR_Scheduler", "master_weights")
_OPTIMIZER_SUFFIXES = ("_moment1_0", "_moment2_0", "_velocity_0", "_beta1_pow_acc_0")


@dataclass(frozen=True)
class Checkpoint:
    """The named tensors of a training checkpoint, in the file's order.

    Args:
        file: the `.pdparams`.
        tensors: from structured names (`backbone.conv1.weight`) to read-only arrays. With pickle
            protocols 3 to 5 they are views of the mapped file and may be unaligned. bfloat16,
            which NumPy lacks and Paddle stores as uint16, is converted to float32.
        parameter_names: from structured names to Paddle's parameter names (`conv2d_0.w_0`); may be
            empty.
        notes: sentences about what was changed since the file was read.
    """

    file: Path
    tensors: Mapping[str, np.ndarray]
    parameter_names: Mapping[str, str]
    notes: tuple[str, ...] = ()

    def without_prefix(self, prefix: str) -> Checkpoint:
        """Return the checkpoint with names that lack a prefix, which all of them have."""
        cut = len(prefix)
        return replace(
            self,
            tensors=MappingProxyType({name[cut:]: a for name, a in self.tensors.items()}),
            parameter_names=MappingProxyType(
                {name[cut:]: p for name, p in self.parameter_names.items()}
            ),
            notes=(
                *self.notes,
                f"the names of all tensors begin with {prefix!r}, as in a wrapped network; "
                "it was left out",
            ),
        )

    def with_prefix(self, prefix: str) -> Checkpoint:
        """Return the checkpoint of a module with the names that its tensors have in the network."""
        return replace(
            self,
            tensors=MappingProxyType({prefix + name: a for name, a in self.tensors.items()}),
            parameter_names=MappingProxyType(
                {prefix + name: p for name, p in self.parameter_names.items()}
            ),
        )

    def in_float32(self) -> Checkpoint:
        """Return the checkpoint with float64 tensors rounded to float32, as PaddleOCR loads them.

        Tensors with values beyond the range of float32 stay as they are.
        """
        tensors, notes = files.in_float32(self.tensors)
        return replace(self, tensors=tensors, notes=(*self.notes, *notes))


def read_pdparams(file: Path, *, widen: bool = True) -> Checkpoint:
    """Read a checkpoint without Paddle.

    Args:
        file: the `.pdparams`.
        widen: whether bfloat16 becomes float32; else its bits stay, as uint16.

    Raises:
        UnsafeSource: the pickle would create anything but arrays and containers.
        SourceError: the file is truncated, corrupt, of another format, or does not hold named
            tensors.
    """
    data = files.map_file(file)
    if not files.is_pickle(data):
        raise SourceError(
            f"{file} is not a Paddle checkpoint: {files.foreign(data)}. "
            "Expected a .pdparams file written by paddle.save."
        )
    content = pickles.load(data, str(file))
    if not isinstance(content, dict):
        raise SourceError(
            f"{file} holds a {type(content).__name__}; expected a dict of named tensors."
        )
    _refuse_optimizer(file, content)
    names = content.pop(NAME_TABLE, {})
    slices = content.pop(_SLICES, {})
    tensors = {name: _tensor(file, name, value) for name, value in content.items()}
    _join(file, tensors, slices, len(data))
    if not tensors:
        raise SourceError(f"{file} holds no tensors; expected the state of a trained network.")
    return Checkpoint(
        file, MappingProxyType(_finish(file, tensors, len(data), widen)), _name_table(file, names)
    )


def _refuse_optimizer(file: Path, content: dict[str, object]) -> None:
    for name in content:
        if name in _OPTIMIZER_KEYS or name.endswith(_OPTIMIZER_SUFFIXES):
            raise SourceError(
                f"{file} holds the state of an optimizer ({name!r}); "
                "expected the network's .pdparams, which lies beside the .pdopt file."
            )


def _tensor(file: Path, name: str, value: object) -> np.ndarray:
    if not name.isprintable():
        raise SourceError(f"{file} names a tensor {name!r}; expected no control characters.")
    match value:
        case np.ndarray():
            return value
        case (str(), np.ndarray() as array):  # (parameter name, data), to which a Tensor is reduced
            return array
    raise SourceError(f"{file} holds a {type(value).__name__} as {name!r}; expected a tensor.")


def _join(file: Path, tensors: dict[str, np.ndarray], slices: object, size: int) -> None:
    """Put tensors together that Paddle cut into slices, because protocols 2 and 3 end at 4 GB.

    Args:
        file: the checkpoint, for messages.
        tensors: the tensors by name; slices are replaced by the tensors that they make.
        slices: the checkpoint's table of sliced tensors.
        size: the bytes of the file, which all sliced tensors together cannot exceed.
    """
    left = size
    if not isinstance(slices, dict):
        raise SourceError(f"{file}: the table of sliced tensors is no dict.")
    for name, entry in slices.items():
        match entry:
            case {"OriginShape": tuple() as shape, "slices": list() as parts}:
                pieces = [tensors.pop(part, None) for part in parts if isinstance(part, str)]
            case _:
                raise SourceError(f"{file}: the entry of the sliced tensor {name!r} is malformed.")
        arrays = [array.reshape(-1) for array in pieces if array is not None]
        if not arrays or len(arrays) != len(parts):
            raise SourceError(
                f"{file}: found {len(arrays)} of the {len(parts)} slices of {name!r}."
            )
        left -= sum(array.nbytes for array in arrays)
        if left < 0:
            raise SourceError(
                f"{file} holds more tensors than its {size} bytes can; it is corrupt."
            )
        lengths = [n for n in shape[:32] if isinstance(n, int) and 0 <= n < 2**48]
        if len(lengths) != len(shape):
            count = sum(array.size for array in arrays)
            raise SourceError(
                f"{file}: the slices of {name!r} hold {count} numbers; their shape is impossible."
            )
        whole = np.concatenate(arrays)
        if math.prod(lengths) != whole.size:
            raise SourceError(
                f"{file}: the slices of {name!r} hold {whole.size} numbers; "
                f"expected {tuple(lengths)}."
            )
        tensors[name] = whole.reshape(lengths)


def _finish(
    file: Path, tensors: dict[str, np.ndarray], size: int, widen: bool
) -> dict[str, np.ndarray]:
    """Make all arrays read-only, and bfloat16 float32 if wanted, shared arrays only once."""
    distinct = {id(array): array for array in tensors.values()}
    if sum(array.nbytes for array in distinct.values()) > size:
        raise SourceError(f"{file} holds more tensors than its {size} bytes can; it is corrupt.")
    for key, array in distinct.items():
        if widen and array.dtype == np.uint16:
            distinct[key] = files.widen(array)
        distinct[key].setflags(write=False)
    return {name: distinct[id(array)] for name, array in tensors.items()}


def _name_table(file: Path, names: object) -> Mapping[str, str]:
    if isinstance(names, dict) and all(isinstance(value, str) for value in names.values()):
        return MappingProxyType(names)
    raise SourceError(f"{file}: {NAME_TABLE} is not a table of names.")
