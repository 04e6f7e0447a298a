"""Weights of large models: files of several kinds, an index, and damage of each."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from converter.errors import SourceError, UnsafeSource
from converter.sources.weight_folders import BFLOAT16, read_weights

FLOATS = np.arange(6, dtype=np.float32).reshape(2, 3)
BITS = np.array([0x3F80, 0xC000], np.uint16)  # 1 and -2
NAMES = {"F32": np.float32, "BF16": np.uint16}


def safetensors(file: Path, tensors: dict[str, tuple[str, np.ndarray]], **entry: object) -> Path:
    """Write a safetensors file; `entry` replaces parts of the first tensor's entry."""
    header: dict[str, dict[str, object]] = {}
    content = b""
    for name, (dtype, array) in tensors.items():
        offsets = [len(content), len(content) + array.nbytes]
        header[name] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": offsets}
        content += array.tobytes()
    next(iter(header.values())).update(entry)
    text = json.dumps({"__metadata__": {"format": "np"}, **header}).encode()
    file.write_bytes(len(text).to_bytes(8, "little") + text + content)
    return file


def pdparams(file: Path, tensors: dict[str, np.ndarray]) -> Path:
    with file.open("wb") as stream:
        pickle.dump(tensors, stream, protocol=4)
    return file


def indexed(folder: Path, table: object) -> Path:
    content = json.dumps({"metadata": {}, "weight_map": table})
    (folder / "model_state.pdparams.index.json").write_text(content, encoding="utf-8")
    return folder


def both(folder: Path) -> Path:
    pdparams(folder / "a.pdparams", {"floats": FLOATS})
    pdparams(folder / "b.pdparams", {"bits": BITS})
    return indexed(folder, {"floats": "a.pdparams", "bits": "b.pdparams"})


def test_each_kind_of_file_gives_the_same_arrays(tmp_path):
    one = safetensors(
        tmp_path / "x.safetensors", {"floats": ("F32", FLOATS), "bits": ("BF16", BITS)}
    )
    places = [tmp_path / name for name in ("torch", "paddle", "index")]
    for place in places:
        place.mkdir()
    one.rename(places[0] / "model.safetensors")
    pdparams(places[1] / "model_state.pdparams", {"floats": FLOATS, "bits": BITS})
    both(places[2])
    (places[2] / "other.pdparams").write_bytes(b"")  # no part of the index
    for place in places:
        found = read_weights(place).tensors
        assert list(found) == ["floats", "bits"]
        np.testing.assert_array_equal(found["floats"], FLOATS)
        assert found["bits"].dtype == BFLOAT16
        np.testing.assert_array_equal(found["bits"], BITS)
        assert not found["floats"].flags.writeable
        assert not found["floats"].flags.owndata


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"data_offsets": [0, 25]}, "bytes 0 to 25 of 24"),
        ({"data_offsets": [-1, 23]}, "bytes -1 to 23"),
        ({"shape": [2, 4]}, r"shape \(2, 4\)"),
        ({"shape": [2**40, 2**40]}, "truncated or corrupt"),
        ({"shape": [1] * 9}, "malformed"),
        ({"shape": [2, True]}, "malformed"),
        ({"shape": "23"}, "malformed"),
        ({"dtype": "I8"}, "'I8'; expected one of F64, F32, F16, BF16"),
    ],
)
def test_a_damaged_entry(tmp_path, entry, message):
    file = safetensors(tmp_path / "x.safetensors", {"floats": ("F32", FLOATS)}, **entry)
    with pytest.raises(SourceError, match=message):
        read_weights(file)


def test_tensors_that_overlap(tmp_path):
    tensors = {"a": ("F32", FLOATS), "b": ("F32", FLOATS)}
    file = safetensors(tmp_path / "x.safetensors", tensors, data_offsets=[24, 48])
    assert len(read_weights(file).tensors) == 2
    file.write_bytes(file.read_bytes()[:-24])
    with pytest.raises(SourceError, match="bytes 24 to 48 of 24"):
        read_weights(file)
    safetensors(file, {"a": ("F32", FLOATS), **{str(i): ("F32", FLOATS[:0]) for i in range(3)}})
    content = file.read_bytes().replace(b'"shape": [0, 3], "data_offsets": [24, 24]',
                                        b'"shape": [2, 3], "data_offsets": [0, 24] ')  # fmt: skip
    file.write_bytes(content)
    with pytest.raises(SourceError, match="holds more tensors than its"):
        read_weights(file)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"short", "no complete"),
        ((2**60).to_bytes(8, "little") + b"{}", "no complete"),
        ((2).to_bytes(8, "little") + b"[]", "holds a list"),
        ((2).to_bytes(8, "little") + b"{}", "no tensors"),
        ((3).to_bytes(8, "little") + b'{"a', "is no JSON"),
        ((90000).to_bytes(8, "little") + b"[" * 90000, "is no JSON"),
    ],
)
def test_a_file_that_is_no_safetensors(tmp_path, content, message):
    file = tmp_path / "model.safetensors"
    file.write_bytes(content)
    with pytest.raises(SourceError, match=message):
        read_weights(file)


@pytest.mark.parametrize("file", ["../a.pdparams", "/etc/a.pdparams", "b\\a.pdparams"])
def test_an_index_names_files_beside_it_alone(tmp_path, file):
    pdparams(tmp_path / "a.pdparams", {"floats": FLOATS})
    inner = tmp_path / "inner"
    inner.mkdir()
    with pytest.raises(UnsafeSource, match="expected a file beside it"):
        read_weights(indexed(inner, {"floats": file}))


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"floats": "a.pdparams", "bits": "c.pdparams"}, "c.pdparams does not exist"),
        ({"floats": "a.pdparams"}, None),
        ({"floats": "a.pdparams", "more": "a.pdparams"}, "'more' is in the index alone"),
        ({"bits": "b.pdparams", "x": "b.pdparams"}, "'x' is in the index alone"),
        ({"floats": 3}, "has 3 for 'floats'"),
        ({"floats": "a.bin"}, "a.bin"),
        ([], "has no weight_map"),
    ],
)
def test_an_index_and_its_files_agree(tmp_path, table, message):
    both(tmp_path)
    indexed(tmp_path, table)
    if message is None:
        assert list(read_weights(tmp_path).tensors) == ["floats"]
        return
    with pytest.raises(SourceError, match=message):
        read_weights(tmp_path)


def test_one_model_in_a_folder(tmp_path):
    with pytest.raises(SourceError, match="found none"):
        read_weights(tmp_path)
    pdparams(tmp_path / "a.pdparams", {"floats": FLOATS})
    safetensors(tmp_path / "b.safetensors", {"floats": ("F32", FLOATS)})
    with pytest.raises(SourceError, match=r"found a.pdparams, b.safetensors. Name the file"):
        read_weights(tmp_path)
    assert len(read_weights(tmp_path / "b.safetensors").tensors) == 1
    with pytest.raises(SourceError, match="neither a folder nor"):
        read_weights(tmp_path / "a.bin")
