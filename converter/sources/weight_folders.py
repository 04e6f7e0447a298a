"""Read the weights of large models: `.pdparams` or `.safetensors`, in one file or in several.

Arrays are views of the mapped files, so that a checkpoint of many gigabytes is read tensor by
tensor. Names, sizes and positions in the files are checked before anything is read.
Safetensors: https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from converter.errors import SourceError, UnsafeSource
from converter.sources import mapped_files as files
from converter.sources.pdparams import read_pdparams

BFLOAT16: np.dtype[Any] = np.dtype(np.uint16)
"""The dtype of arrays of bfloat16, which NumPy lacks: their bits."""

_INDEX = ".index.json"
_READERS = (".pdparams", ".safetensors")
_DTYPES: Mapping[str, np.dtype[Any]] = {
    "F64": np.dtype(np.float64),
    "F32": np.dtype(np.float32),
    "F16": np.dtype(np.float16),
    "BF16": BFLOAT16,
}
_MOST_AXES = 8
_LARGEST_JSON = 100_000_000  # bytes, the limit of the library safetensors for its headers


@dataclass(frozen=True)
class WeightFolder:
    """The weights of a large model.

    Attributes:
        files: the files that hold them.
        tensors: read-only arrays by name, in the files' order; `BFLOAT16` are bits.
    """

    files: tuple[Path, ...]
    tensors: Mapping[str, np.ndarray]


def read_weights(path: Path) -> WeightFolder:
    """Read the weights at a path, a folder or a file.

    A folder holds either an index (`model_state.pdparams.index.json`) with the files that it names,
    or one `.pdparams` or `.safetensors` file.

    Raises:
        UnsafeSource: an index names a file elsewhere, or a pickle would do more than hold arrays.
        SourceError: there are no weights or several, or a file is damaged.
    """
    if not path.is_dir():
        if path.suffix not in _READERS:
            raise SourceError(f"{path} is neither a folder nor a .pdparams or .safetensors file.")
        return _joined({path: None})
    found = _visible(path.glob("*" + _INDEX))
    if not found:
        found = _visible(file for suffix in _READERS for file in path.glob("*" + suffix))
    if len(found) != 1:
        listed = ", ".join(file.name for file in found[:10]) or "none"
        raise SourceError(
            f"{path} should hold the weights of one model, a .pdparams or .safetensors file or an "
            f"index of several ({_INDEX}); found {listed}. Name the file, or move the others away."
        )
    return _joined(_shards(found[0]) if found[0].name.endswith(_INDEX) else {found[0]: None})


def read_json(file: Path) -> dict[str, object]:
    """Read a JSON file that holds an object.

    Raises:
        SourceError: it is missing, too large, no JSON, or holds something else.
    """
    return _json_object(files.map_file(file), str(file))


def _visible(found: Iterable[Path]) -> list[Path]:
    return sorted(file for file in found if file.is_file() and not file.name.startswith("."))


def _shards(index: Path) -> dict[Path, set[str] | None]:
    """Return the files that an index names, each with the names of its tensors."""
    table = read_json(index).get("weight_map")
    if not isinstance(table, dict) or not table:
        raise SourceError(f"{index} has no weight_map, a table from tensors to files.")
    shards: dict[Path, set[str] | None] = {}
    for name, file in table.items():
        if not isinstance(file, str) or not file.endswith(_READERS):
            raise SourceError(f"{index} has {ascii(file)[:100]} for {name!r}; expected a file.")
        if Path(file).name != file or "\\" in file:
            raise UnsafeSource(
                f"{index} names the file {file!r}; expected a file beside it, so nothing was read."
            )
        shard = index.with_name(file)
        shards[shard] = {*(shards.get(shard) or ()), name}
    return shards


def _joined(shards: Mapping[Path, set[str] | None]) -> WeightFolder:
    """Read files, and check that each holds the tensors that an index gives it."""
    tensors: dict[str, np.ndarray] = {}
    for file, expected in shards.items():
        held = (
            read_pdparams(file, widen=False).tensors
            if file.suffix == ".pdparams"
            else _read_safetensors(file)
        )
        if expected is not None and (other := expected ^ set(held)):
            name = min(other)
            raise SourceError(
                f"{file} and its index do not agree on {len(other)} tensors; {name!r} is in the "
                f"{'index' if name in expected else 'file'} alone. Download both again."
            )
        tensors.update(held)
    return WeightFolder(tuple(shards), MappingProxyType(tensors))


def _read_safetensors(file: Path) -> dict[str, np.ndarray]:
    data = files.map_file(file)
    size = int.from_bytes(data[:8], "little")
    if len(data) < 8 or size > len(data) - 8:
        raise SourceError(f"{file} is no complete .safetensors file; download it again.")
    header = _json_object(data[8 : 8 + size], f"the header of {file}")
    header.pop("__metadata__", None)
    content = data[8 + size :]
    tensors = {name: _view(file, name, entry, content) for name, entry in header.items()}
    if sum(array.nbytes for array in tensors.values()) > len(content):
        raise SourceError(
            f"{file} holds more tensors than its {len(data)} bytes can; it is corrupt."
        )
    if not tensors:
        raise SourceError(f"{file} holds no tensors.")
    return tensors


def _view(file: Path, name: str, entry: object, content: memoryview) -> np.ndarray:
    """Return one tensor of a safetensors file as a view of its content."""
    if not name.isprintable():
        raise SourceError(f"{file} names a tensor {name!r}; expected no control characters.")
    match entry:
        case {
            "dtype": str(dtype),
            "shape": [*shape],
            "data_offsets": [int(begin), int(end)],
        } if len(shape) <= _MOST_AXES and all(map(_is_length, shape)):
            pass
        case _:
            raise SourceError(f"{file}: the entry of {name!r} is malformed; download it again.")
    if dtype not in _DTYPES:
        raise SourceError(
            f"{file}: {name!r} is {ascii(dtype)[:30]}; expected one of {', '.join(_DTYPES)}. "
            "Quantised weights are not converted."
        )
    kind = _DTYPES[dtype]
    if not 0 <= begin <= end <= len(content) or end - begin != math.prod(shape) * kind.itemsize:
        raise SourceError(
            f"{file}: {name!r}, {dtype} of the shape {tuple(shape[:8])}, lies at the bytes {begin} "
            f"to {end} of {len(content)}; it is truncated or corrupt."
        )
    return np.frombuffer(content[begin:end], kind).reshape(shape)


def _is_length(value: object) -> bool:
    return type(value) is int and 0 <= value < 2**48


def _json_object(data: memoryview, name: str) -> dict[str, object]:
    if len(data) > _LARGEST_JSON:
        raise SourceError(f"{name} has {len(data)} bytes of JSON, more than {_LARGEST_JSON}.")
    try:
        content = json.loads(bytes(data))
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{name} is no JSON: {error}.") from None
    if not isinstance(content, dict):
        raise SourceError(f"{name} holds a {type(content).__name__}; expected an object.")
    return content
