"""Weights of exported programs: in both formats, and files that do not fit or are corrupt."""

from __future__ import annotations

import pickle
import struct
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from converter.errors import SourceError, UnsafeSource
from converter.sources import pdiparams
from converter.sources.open import open_source
from tests.support.paddle_files import (
    PARAMETERS,
    arrays,
    attempt,
    description,
    parse,
    program_desc,
    weights,
    write_export,
)

FORMATS = ("pdmodel", "pir")


@pytest.mark.parametrize("format", FORMATS)
def test_weights(tmp_path, format):
    tensors = open_source(write_export(tmp_path, format=format)).export.tensors
    assert list(tensors) == sorted(PARAMETERS)
    for name, array in arrays().items():
        if name == "brain":
            assert tensors[name].dtype == np.float32
            assert tensors[name].tolist() == [1.0, -2.0]
        else:
            np.testing.assert_array_equal(tensors[name], array, strict=True)
        assert not tensors[name].flags.writeable


def read_weights(folder: Path, raw: bytes, parameters=PARAMETERS):
    file = folder / "w.pdiparams"
    file.write_bytes(raw)
    program = parse(program_desc(parameters).SerializeToString())
    return pdiparams.read_pdiparams(file, program)


def entry(dtype="float32", shape=(3,), *, levels=b"\0" * 8, version=0, data=bytes(12)) -> bytes:
    desc = description(dtype, shape)
    return struct.pack("<I", version) + levels + struct.pack("<Ii", 0, len(desc)) + desc + data


ONE = {"b_0": ("float32", (3,))}


def test_float64_is_rounded_and_stated(tmp_path):
    """Numbers beyond the range of float32 stay, so that the plan refuses them."""
    parameters = {"b_0": ("float64", (3,)), "w_0": ("float64", (2,))}
    values = {"b_0": np.array([1 / 3, 2, 3]), "w_0": np.array([1e300, 0])}
    raw = b"".join(
        entry(*parameters[name], data=values[name].tobytes()) for name in sorted(parameters)
    )
    (tmp_path / "inference.pdiparams").write_bytes(raw)
    program = tmp_path / "inference.pdmodel"
    program.write_bytes(program_desc(parameters).SerializeToString())
    export = open_source(program).export
    np.testing.assert_array_equal(
        export.tensors["b_0"], values["b_0"].astype(np.float32), strict=True
    )
    assert export.tensors["w_0"].dtype == np.float64
    assert export.notes == ("1 tensors are float64 and were rounded to float32",)


def test_levels_of_detail_are_passed_over(tmp_path):
    levels = struct.pack("<QQQ", 1, 8, 3)
    assert read_weights(tmp_path, entry(levels=levels), ONE)["b_0"].tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "is empty"),
        (b"\0\0", "'b_0' needs 4 bytes at byte 0, found 2"),
        (entry(shape=(4,)), r"'b_0' is float32 \(4,\); the program expects float32 \(3,\)"),
        (entry("float16"), r"'b_0' is float16 \(3,\); the program expects float32 \(3,\)"),
        (entry(data=bytes(8)), "needs 12 bytes at byte 24, found 8"),
        (entry(data=bytes(16)), "goes on for 4 bytes after the program's 1 parameters"),
        (entry(version=7), "'b_0' has tensor version 7 before byte 4; expected 0"),
        (b"<html><body>not found</body></html>", "the download went wrong"),
        (entry(levels=b"\xff" * 8), "18446744073709551615 levels of detail"),
        (entry(levels=struct.pack("<QQ", 1, 2**60)), "needs 1152921504606846976 bytes"),
        (struct.pack("<IQIi", 0, 0, 0, -1), "needs 4294967295 bytes at byte 20, found 0"),
        (struct.pack("<IQIi", 0, 0, 0, 2) + b"\x08\x63", "no valid description"),
        (struct.pack("<IQIi", 0, 0, 0, 2) + b"\xff\xff", "no valid description"),
        (entry(shape=(-3,)), "no valid description"),
    ],
)
def test_weights_that_do_not_fit(tmp_path, raw, message):
    with pytest.raises(SourceError, match=message):
        read_weights(tmp_path, raw, ONE)


@settings(max_examples=300)
@given(st.integers(0, 10_000), st.integers(0, 255), st.booleans())
def test_corrupt_weights_are_an_error_or_arrays(position, value, cut):
    raw = bytearray(weights())
    if cut:
        del raw[position % len(raw) :]
    else:
        raw[position % len(raw)] = value
    with tempfile.TemporaryDirectory() as folder:
        tensors = attempt(read_weights, Path(folder), bytes(raw))
    if tensors:
        assert not cut
        shapes = {name: array.shape for name, array in tensors.items()}
        assert shapes == {name: shape for name, (_, shape) in PARAMETERS.items()}


def test_names_beside_the_weights(tmp_path):
    info = tmp_path / "inference.pdiparams.info"
    content = {"w_0": {"structured_name": "fc.weight", "trainable": True}, "b_0": {}, "half": 3}
    info.write_bytes(pickle.dumps(content, 2))
    assert open_source(write_export(tmp_path)).export.structured_names == {"w_0": "fc.weight"}
    info.write_bytes(pickle.dumps([1], 2))
    with pytest.raises(SourceError, match="holds a list; expected a dict of names"):
        open_source(tmp_path)
    info.write_bytes(pickle.dumps({"w_0": print}, 2))
    with pytest.raises(UnsafeSource, match=r"print"):
        open_source(tmp_path)
