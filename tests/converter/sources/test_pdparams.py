"""Training checkpoints: every form that Paddle writes, and hostile pickles."""

from __future__ import annotations

import collections
import os
import pickle
import tempfile
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from converter.errors import SourceError, UnsafeSource
from converter.sources.pdparams import read_pdparams
from tests.support.paddle_files import attempt

PROTOCOLS = (2, 3, 4, 5)
DTYPES = st.sampled_from(["?", "i1", "i2", "i4", "i8", "u1", "u4", "u8", "f2", "f4", "f8", "c8"])
ARRAYS = st_numpy.arrays(
    DTYPES, st_numpy.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5)
)
PRINTABLE = st.characters(codec="utf-8").filter(str.isprintable)  # others are refused
NAMES = st.text(PRINTABLE, max_size=40).map("{}.weight".format)


@pytest.fixture
def write(tmp_path):
    """Write `content` as the pickle, or the bytes, of a checkpoint."""

    def _write(content, protocol=4):
        file = tmp_path / "a.pdparams"
        raw = content if isinstance(content, bytes) else pickle.dumps(content, protocol)
        file.write_bytes(raw)
        return file

    return _write


def read_bytes(content: bytes):
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "a.pdparams")
        file.write_bytes(content)
        return read_pdparams(file)


class Tensor:
    """Pickled as paddle.save pickles a tensor."""

    def __init__(self, name, array):
        self.pair = name, array

    def __reduce__(self):
        return tuple, (self.pair,)


class Call:
    """Pickled as a call of any function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@settings(max_examples=60)
@given(
    st.dictionaries(NAMES, ARRAYS, min_size=1, max_size=5),
    st.sampled_from(PROTOCOLS),
    st.booleans(),
)
def test_round_trip(tensors, protocol, as_tensors):
    saved = {k: Tensor(f"{k}_0", v) for k, v in tensors.items()} if as_tensors else tensors
    read = read_bytes(pickle.dumps(saved, protocol)).tensors
    assert list(read) == list(tensors)
    for name, array in tensors.items():
        assert read[name].dtype == array.dtype
        assert read[name].shape == array.shape
        assert read[name].tobytes() == array.tobytes()
        assert not read[name].flags.writeable


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_large_tensors_names_and_column_order(write, protocol):
    tensors = {
        "large": np.arange(5000, dtype="f4").reshape(50, 100),
        "columns": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "scalar": np.float32(2.5),
        "nothing": np.zeros((0, 3), "f4"),
    }
    names = {"large": "linear_0.w_0"}
    ordered = collections.OrderedDict(tensors)
    ordered["StructuredToParameterName@@"] = names
    checkpoint = read_pdparams(write(ordered, protocol))
    assert checkpoint.parameter_names == names
    assert list(checkpoint.tensors) == list(tensors)
    for name, array in tensors.items():
        np.testing.assert_array_equal(checkpoint.tensors[name], array, strict=True)


@pytest.mark.parametrize("module", ["core", "_core"])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_both_generations_of_numpy(protocol, module):
    raw = pickle.dumps({"a": np.arange(3.0), "b": np.float64(2)}, protocol)
    core = b"_core" if b"numpy._core" in raw else b"core"
    for part in (b"multiarray", b"numeric"):
        written, wanted = b"numpy.%s.%s" % (core, part), f"numpy.{module}.".encode() + part
        if protocol < 4:
            raw = raw.replace(written, wanted)
        else:  # the module is a counted string inside a counted frame
            raw = raw.replace(
                b"\x8c" + bytes([len(written)]) + written, b"\x8c" + bytes([len(wanted)]) + wanted
            )
    if protocol >= 4:
        raw = raw[:3] + (len(raw) - 11).to_bytes(8, "little") + raw[11:]
    assert pickle.loads(raw)["b"] == 2
    assert f"numpy.{module}.multiarray".encode() in raw
    assert (f"numpy.{module}.numeric".encode() in raw) == (protocol == 5)
    assert read_bytes(raw).tensors["a"].tolist() == [0, 1, 2]


def test_bfloat16_becomes_float32(write):
    shared = np.array([0x3F80, 0xC000, 0x7F80], "uint16")
    tensors = read_pdparams(write({"a": shared, "b": shared})).tensors
    assert tensors["a"].dtype == np.float32
    assert tensors["a"].tolist() == [1.0, -2.0, np.inf]
    assert tensors["a"] is tensors["b"]
    assert not tensors["a"].flags.writeable


def sliced(**change):
    whole = np.arange(6, dtype="f4")
    entry = {"OriginShape": (2, 3), "slices": ["w@@.0", "w@@.1"], **change}
    return {
        "first": np.zeros(1),
        "w@@.0": whole[:4],
        "w@@.1": whole[4:],
        "UnpackBigParamInfor@@": {"w": entry},
    }


def test_slices_are_joined(write):
    tensors = read_pdparams(write(sliced(), 2)).tensors
    assert list(tensors) == ["first", "w"]
    assert tensors["w"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert not tensors["w"].flags.writeable


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (sliced(slices=["w@@.0", "w@@.2"]), "found 1 of the 2 slices of 'w'"),
        (sliced(slices=["w@@.0", "w@@.0"]), "found 1 of the 2 slices"),
        (sliced(slices=["w@@.0", []]), "found 1 of the 2 slices"),
        (sliced(slices=[]), "found 0 of the 0 slices"),
        (sliced(OriginShape=(2, 4)), r"hold 6 numbers; expected \(2, 4\)"),
        (sliced(OriginShape=(-2, -3)), "hold 6 numbers"),
        (sliced(OriginShape=6), "'w' is malformed"),
        ({"a": np.zeros(1), "UnpackBigParamInfor@@": []}, "is no dict"),
        ({"a": np.zeros(1), "StructuredToParameterName@@": []}, "is not a table of names"),
        ({"a": np.zeros(1), "StructuredToParameterName@@": {"a": 1}}, "is not a table of names"),
        ([np.zeros(1)], "holds a list; expected a dict"),
        ({}, "holds no tensors"),
        ({"model": {"a": np.zeros(1)}}, "holds a dict as 'model'; expected a tensor"),
        ({"epoch": 3}, "holds a int as 'epoch'"),
        ({"a": np.zeros(1), "LR_Scheduler": {"last_epoch": 1}}, "state of an optimizer"),
        ({"conv_0.w_0_moment1_0": np.zeros(1)}, "state of an optimizer"),
        ({1: np.zeros(1)}, "a int as a key"),
        ({"a": np.zeros(2, ">f4")}, "not little-endian"),
        ({"a": np.zeros(2, "M8[s]")}, "dtype is not a plain number type"),
        ({"a": np.ma.zeros(2)}, "numpy.ma"),
        ({"a": np.zeros(1).view(np.recarray)}, "numpy.rec"),
        ({"a": 2**200}, "a number of 26 bytes"),
    ],
)
def test_what_is_no_checkpoint(write, content, message):
    with pytest.raises(SourceError, match=message):
        read_pdparams(write(content))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"PK\x03\x04rest", "how PyTorch saves"),
        (b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80", "old PyTorch file"),
        (b"<!DOCTYPE html><html>", "the download went wrong"),
        (b"version https://git-lfs.github.com/spec/v1", "git lfs pull"),
        (b"\x1f\x8b\x08", "gzip"),
        (b"hello", "it starts with b'hello'"),
        (b"\x80\x06}.", "pickle protocol 6"),
        (b"\x80", "truncated"),
        (b"\x80\x02", "truncated"),
        (b"\x80\x02.", "truncated"),
        (b"\x80\x02}U\x01a]s.", "SHORT_BINSTRING, which paddle.save does not write"),
        (b"\x80\x02\xff.", "byte 0xff, which"),
    ],
)
def test_foreign_files(write, content, message):
    with pytest.raises(SourceError, match=message):
        read_pdparams(write(content))


def test_places_that_are_no_file(tmp_path):
    with pytest.raises(SourceError, match="is a folder"):
        read_pdparams(tmp_path)
    with pytest.raises(SourceError, match="does not exist"):
        read_pdparams(tmp_path / "missing.pdparams")
    with pytest.raises(SourceError, match="cannot be read"):
        read_pdparams(tmp_path / ("x" * 300))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_no_command_runs(write, tmp_path, protocol):
    marker = tmp_path / "marker"
    attack = {"a": Call(os.system, f"touch {marker}")}
    with pytest.raises(UnsafeSource, match=rf"`({os.name}|nt)\.system`"):
        read_pdparams(write(attack, protocol))
    assert not marker.exists()
    pickle.loads(pickle.dumps(attack, protocol))
    assert marker.exists(), "the attack itself must work"


@pytest.mark.parametrize(
    ("content", "name"),
    [
        ({"a": Call(eval, "1")}, r"builtin(s|__)\.eval"),
        ({"a": Call(getattr, "", "x")}, r"builtin(s|__)\.getattr"),
        ({"a": Call(np.load, "x")}, r"numpy\.load"),
        ({"a": Path()}, r"pathlib"),
        ({"a": np.array([{}])}, "an array of Python objects"),
        (b"\x80\x02(S'x'\nios\nsystem\n.", "STRING"),
        (b"\x80\x02(ios\nsystem\n.", "the opcode INST"),
        (b"\x80\x02(cos\nsystem\no.", r"os\.system"),
        (b"\x80\x02)\x81.", "the opcode NEWOBJ"),
        (b"\x80\x02}\x92.", "the opcode NEWOBJ_EX"),
        (b"\x80\x02Q.", "the opcode BINPERSID"),
        (b"\x80\x02\x82\x01.", "the opcode EXT1"),
        (b"\x80\x04\x8c\x02os\x8c\x06system\x93.", r"os\.system"),
        (b"\x80\x04NN\x93.", "a name that is no text"),
        (b"\x80\x04\x8c\x05numpy\x8c\x07ndarray\x93)R.", "an array made directly"),
    ],
)
def test_refused_by_name(write, content, name):
    with pytest.raises(SourceError, match=name):
        read_pdparams(write(content, 2))


ARRAY = b"cnumpy._core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85C\x01btR"
DTYPE = b"cnumpy\ndtype\nX\x02\x00\x00\x00f4\x89\x88\x87R"


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (ARRAY, "an array without data"),
        (ARRAY + b"(K\x01K\x01\x85" + DTYPE + b"\x89C\x08aaaaaaaatb", "with 8 bytes, not 4"),
        (ARRAY + b"(K\x01J\x00\x00\x00\x7f\x85" + DTYPE + b"\x89C\x04aaaatb", "not 8522825728"),
        (ARRAY + b"(K\x01J\xff\xff\xff\xff\x85" + DTYPE + b"\x89C\x04aaaatb", "impossible shape"),
        (ARRAY + b"(K\x01X\x01\x00\x00\x00a\x85" + DTYPE + b"\x89C\x04aatb", "truncated"),
        (ARRAY + b"(K\x01N\x85" + DTYPE + b"\x89C\x04aaaatb", "impossible shape"),
        (ARRAY + b"(K\x01(" + b"K\x01" * 40 + b"t" + DTYPE + b"\x89C\x04aaaatb", "impossible"),
        (ARRAY + b"(K\x01K\x01\x85" + DTYPE + b"\x89Ntb", "array data of type NoneType"),
        (ARRAY + b"Nb", "an array whose state is not"),
        (b"NNb", "state for a NoneType"),
        (DTYPE + b"Nb", "not little-endian"),
        (DTYPE, "holds a _Dtype"),
        (b"cnumpy\ndtype\n)R", "not a plain number type"),
        (b"cnumpy._core.multiarray\nscalar\n)R", "without dtype and data"),
        (b"cnumpy._core.multiarray\n_reconstruct\n)R", "a subclass"),
        (b"c_codecs\nencode\n)R", "otherwise than as latin1"),
        (b"c_codecs\nencode\nX\x01\x00\x00\x00aX\x04\x00\x00\x00utf8\x86R", "than as latin1"),
        (b"cbuiltins\ntuple\n)R", "a tuple made of something else"),
        (b"cbuiltins\nbytes\nK\x01\x85R", "bytes made of something"),
        (b"ccollections\nOrderedDict\nN\x85R", "an OrderedDict made of something"),
        (b"N)R", "a call of something that is no function"),
        (b"\x87", "a tuple of more items"),
        (b"N0000", "IndexError"),
        (b"0\x93", "a pair of items where there is none"),
        (b"t", "IndexError"),
        (b"(00t", "a mark beyond the stack"),
        (b"NNa", "appended to something"),
        (b"]NNs", "items set on something"),
        (b"(Nu", "items set on something"),
        (b"h\x07", "KeyError"),
        (b"j\x07\x00\x00\x00", "KeyError"),
        (b"c" + b"x" * 600 + b"\n\n", "ValueError"),
        (b"X\x01\x00\x00\x00\xff", "UnicodeDecodeError"),
        (b"\x8e" + b"\xff" * 8, "18446744073709551615 bytes announced"),
        (b"\x8d" + b"\xff" * 7 + b"\x0f", "bytes announced"),
        (b"B\xff\xff\xff\xff", "4294967295 bytes announced"),
        (b"\x95" + b"\xff" * 4, "8 bytes announced, 6 left"),
    ],
)
def test_malformed_pickles(write, code, message):
    with pytest.raises(SourceError, match=message):
        read_pdparams(write(b"\x80\x04}X\x01\x00\x00\x00a" + code + b"s."))


def test_bombs_cost_nothing(write):
    """Sizes and counts that the file only states are not believed."""
    memo = b"\x80\x04" + b"".join(b"Nr" + (2**32 - 1 - i).to_bytes(4, "little") for i in range(99))
    depth = b"\x80\x04}X\x01\x00\x00\x00aN" + b"\x85" * 200_000 + b"s."
    doubling = b"\x80\x04}X\x01\x00\x00\x00aN\x94" + b"(h\x00h\x00t\x94" * 50 + b"s."
    tracemalloc.start()
    start = time.process_time()  # not what other processes take
    for bomb in (memo + b"}.", depth, doubling):
        with pytest.raises(SourceError):
            read_pdparams(write(bomb))
    assert tracemalloc.get_traced_memory()[1] < 60 << 20
    tracemalloc.stop()
    assert time.process_time() - start < 5


def test_shared_data_is_not_multiplied(write):
    """A thousand views of one array, each to be widened, are refused; one array is not."""
    data = np.zeros(10_000, "uint16")
    many = {str(i): data for i in range(1000)}
    assert len(read_pdparams(write(many)).tensors) == 1000
    state = b"(K\x01M\x10\x27\x85" + DTYPE.replace(b"f4", b"u2") + b"\x89h\x00tb"
    views = b"".join(b"\x8c\x01" + bytes([48 + i]) + ARRAY + state for i in range(9))
    blob = b"B" + (20_000).to_bytes(4, "little") + bytes(20_000) + b"\x940"
    with pytest.raises(SourceError, match=r"more tensors than its .* bytes can"):
        read_pdparams(write(b"\x80\x04" + blob + b"}(" + views + b"u."))


def test_text_is_decoded_once(write):
    """Protocol 2 keeps array data as text; a memo reference to it costs nothing more."""
    text = b"X" + (100_000).to_bytes(4, "little") + b"a" * 100_000 + b"q\x000"
    encoded = b"c_codecs\nencode\nh\x00X\x06\x00\x00\x00latin1\x86R" * 500
    tracemalloc.start()
    with pytest.raises(SourceError, match="no tensors"):
        read_pdparams(write(b"\x80\x02" + text + encoded + b"}."))
    assert tracemalloc.get_traced_memory()[1] < 2 << 20
    tracemalloc.stop()


SMALL = {
    p: pickle.dumps(
        {"a.weight": Tensor("w_0", np.arange(6, dtype="f4").reshape(2, 3)),
         "b": np.arange(3, dtype="i8"),
         "StructuredToParameterName@@": {"a.weight": "w_0"}},
        p,
    )
    for p in PROTOCOLS
}  # fmt: skip


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_truncation_is_one_clear_error(write, protocol):
    whole = SMALL[protocol]
    assert list(read_pdparams(write(whole)).tensors) == ["a.weight", "b"]
    for length in range(len(whole)):
        with pytest.raises(SourceError):
            read_pdparams(write(whole[:length]))


@settings(max_examples=400)
@given(
    st.sampled_from(PROTOCOLS),
    st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=3),
)
@example(2, [(2, ord("j"))])
def test_corruption_is_an_error_or_arrays(protocol, changes):
    raw = bytearray(SMALL[protocol])
    for position, value in changes:
        raw[position % len(raw)] = value
    checkpoint = attempt(read_bytes, bytes(raw))
    if checkpoint:
        assert all(isinstance(array, np.ndarray) for array in checkpoint.tensors.values())


def test_arrays_of_protocol_4_are_not_copied(write):
    array = np.zeros((1000, 1000), "f4")
    file = write({"a": array})
    tracemalloc.start()
    tensors = read_pdparams(file).tensors
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()
    np.testing.assert_array_equal(tensors["a"], array)
