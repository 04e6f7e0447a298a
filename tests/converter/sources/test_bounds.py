"""Small files that would take much: each ends in one error, in little time and memory.

Every file is made here and read in a process of its own that may not hold more than `MEMORY`.
"""

from __future__ import annotations

import errno
import io
import json
import os
import pickle
import struct
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from converter.alignment.layer_graph import program_graph
from converter.errors import SourceError
from converter.sources import archive
from converter.sources import framework_proto as schema
from converter.sources.ir import MOST_OPERATIONS
from converter.sources.open import open_source
from tests.support.paddle_files import parse, pir, pir_operation, program_desc, tensor_type
from tests.support.paths import ROOT

MEMORY = 1 << 30  # bytes
SECONDS = 60  # of computing; ten times as many may pass, since others compute at the same time

# Imports the readers once; each file, named by a line of the input, is read in a fork of its own.
READERS = f"""
import os, resource, signal, sys
sys.path.insert(0, {str(ROOT)!r})
from pathlib import Path
from converter.alignment.layer_graph import program_graph
from converter.errors import ConverterError
from converter.sources.open import open_source, read_pdparams, read_program

def read(file):
    signal.alarm({10 * SECONDS})
    resource.setrlimit(resource.RLIMIT_CPU, ({SECONDS}, {SECONDS}))
    resource.setrlimit(resource.RLIMIT_DATA, ({MEMORY}, {MEMORY}))
    for stream in (1, 2):
        os.dup2(os.open(f"{{file}}.{{stream}}", os.O_WRONLY | os.O_CREAT, 0o600), stream)
    try:
        if file.suffix in (".pdmodel", ".json"):
            program_graph(read_program(file))
        else:
            open_source(file)
    except ConverterError as error:
        print(type(error).__name__, error)

for line in sys.stdin:
    if not (child := os.fork()):
        read(Path(line.removesuffix("\\n")))
        sys.stdout.flush()
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""

ROW = tensor_type("float32", (-1, 3))


@pytest.fixture(scope="module")
def refusal() -> Iterator[Callable[[Path], str]]:
    """Read a file in a process of its own and return the error, kind first, that this ends in."""
    with subprocess.Popen(
        [sys.executable, "-c", READERS],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
    ) as readers:
        assert readers.stdin is not None
        assert readers.stdout is not None
        ask, answers = readers.stdin, readers.stdout

        def refusal(file: Path) -> str:
            ask.write(f"{file}\n")
            code = answers.readline()
            said, failed = (Path(f"{file}.{stream}").read_text() for stream in (1, 2))
            assert (code, failed) == ("0\n", ""), failed[-2000:]
            assert said, "it was read"
            assert len(said) < 2000
            return said

        yield refusal
        ask.close()


# Checkpoints.


def pickled(*parts: bytes) -> bytes:
    return b"\x80\x02" + b"".join(parts) + b"."


def text(value: str) -> bytes:
    raw = value.encode()
    return b"X" + struct.pack("<I", len(raw)) + raw


def memo_bomb(depth: int) -> bytes:
    """Return opcodes of a tuple that holds itself twice at each of many levels, by the memo."""
    steps = [b")q\x00"]
    for level in range(depth):
        steps.append(b"0h" + bytes([level]) + b"h" + bytes([level]) + b"\x86q" + bytes([level + 1]))
    return b"".join(steps)


def sliced(shape: bytes) -> bytes:
    """Return a checkpoint with one sliced tensor of this shape."""
    array = pickle.dumps(np.zeros(4, "f4"), protocol=2)[2:-1]
    entry = [b"}(", text("OriginShape"), shape, text("slices"), b"]", text("a"), b"a", b"u"]
    table = [text("UnpackBigParamInfor@@"), b"}", text("w"), *entry, b"s"]
    return pickled(b"}(", text("a"), array, *table, b"u")


CHECKPOINTS: dict[str, tuple[Callable[[], bytes], str]] = {
    "a shape that is a memo bomb": (lambda: sliced(memo_bomb(60)), "SourceError .*shape"),
    "a shape of a nested tuple": (lambda: sliced(b")" + b"\x85" * 100_000), "SourceError .*shape"),
    "a shape of many lengths": (
        lambda: sliced(b"(" + b"\x8a\x10" * 1 + b"\x7f" * 16 + b"K\x00" * 100_000 + b"t"),
        "SourceError .*shape",
    ),
    "empty dicts": (lambda: pickled(b"}" * 24_000_000), "SourceError .*containers"),
    "tuples in tuples": (lambda: pickled(b")", b"\x85" * 24_000_000), "SourceError .*containers"),
    "marks": (lambda: pickled(b"(" * 24_000_000), "SourceError .*containers"),
}


@pytest.mark.parametrize("bomb", CHECKPOINTS)
def test_checkpoints(tmp_path, refusal, bomb):
    make, expected = CHECKPOINTS[bomb]
    file = tmp_path / "x.pdparams"
    file.write_bytes(make())
    message = refusal(file)
    assert message.startswith(expected.split()[0]), message
    assert expected.rpartition("*")[2] in message


def test_slices_of_one_array_under_many_names(tmp_path, refusal):
    """A hundred tensors of one megabyte each, of which the file has one."""
    array = pickle.dumps(np.zeros(250_000, "f4"), protocol=3)[2:-1]
    parts = [text(f"p{i}") + b"h\xff" for i in range(500)]
    entries = [
        text(f"w{i}")
        + b"}("
        + text("OriginShape")
        + b"J"
        + struct.pack("<i", 250_000)
        + b"\x85"
        + text("slices")
        + b"]"
        + text(f"p{i}")
        + b"au"
        for i in range(500)
    ]
    content = [array, b"q\xff0}(", *parts, text("UnpackBigParamInfor@@"), b"}(", *entries, b"uu"]
    file = tmp_path / "x.pdparams"
    file.write_bytes(pickled(*content))
    assert "more tensors than its" in refusal(file)


# Programs.


def empty_operations(count: int) -> bytes:
    block = b"\x08\x00\x10\x00" + b"\x22\x00" * count
    size, length = b"", len(block)
    while True:
        size += bytes([length & 0x7F | (0x80 if length > 0x7F else 0)])
        length >>= 7
        if not length:
            return b"\n" + size + block


def many_pir(count: int) -> bytes:
    operation = json.dumps(pir_operation("1.relu", [22], {40: ROW}))
    document = json.dumps(pir(operations=["HERE"]))
    return document.replace('"HERE"', ", ".join([operation] * count)).encode()


def doubling_combine() -> bytes:
    listed = {"#": "0.t_vec", "D": [ROW, ROW]}
    operations = [pir_operation("0.combine", [22, 22], {100: listed})]
    operations += [
        pir_operation("0.combine", [99 + i, 99 + i], {100 + i: listed}) for i in range(1, 60)
    ]
    return json.dumps(pir(operations=operations)).encode()


def chain(kind: str, slots: tuple[str, str]) -> bytes:
    """Return a program in which two values are made of the two before, in either order.

    The first two are a value of the program, and one that is made of it and the input.
    """
    program = program_desc()
    block = program.blocks[0]

    def add(made: str, *given: str) -> None:
        op = block.ops.add(type=kind.encode())
        for slot in dict.fromkeys(slots):
            arguments = [g.encode() for g, s in zip(given, slots, strict=True) if s == slot]
            op.inputs.add(parameter=slot.encode(), arguments=arguments)
        op.outputs.add(parameter=b"Out", arguments=[made.encode()])

    before = ("m", "n")
    add("n", "x", "m")
    for number in range(60):
        made = (f"v{number}", f"w{number}")
        add(made[0], *before)
        add(made[1], *reversed(before))
        before = made
    return program.SerializeToString()


PROGRAMS: dict[str, tuple[str, Callable[[], bytes], str]] = {
    "too many operations in PIR": ("json", lambda: many_pir(MOST_OPERATIONS + 1), "more than"),
    "combine that doubles": ("json", doubling_combine, "a list of more than"),
    "too many operations": (
        "pdmodel",
        lambda: empty_operations(MOST_OPERATIONS + 1),
        "at most 100000 are read",
    ),
    "20 million empty operations": ("pdmodel", lambda: empty_operations(20_000_000), "entries"),
    "lists in lists": ("json", lambda: b'{"a":' + b"[" * 5_000_000, "lists and tables"),
    "deep lists": ("json", lambda: b'{"a":' + b"[" * 100_000, "RecursionError"),
    "concat that doubles": ("pdmodel", lambda: chain("concat", ("X", "X")), "paths"),
    "subtract that doubles": ("pdmodel", lambda: chain("elementwise_sub", ("X", "Y")), "paths"),
}


@pytest.mark.parametrize("bomb", PROGRAMS)
def test_programs(tmp_path, refusal, bomb):
    suffix, make, expected = PROGRAMS[bomb]
    file = tmp_path / f"inference.{suffix}"
    file.write_bytes(make())
    assert expected in refusal(file)


def test_sparse_files(tmp_path, refusal):
    file = tmp_path / "inference.pdmodel"
    with file.open("wb") as stream:
        stream.write(b"\n")
        stream.truncate(1_500_000_000)
    assert "a program has at most" in refusal(file)


@pytest.mark.parametrize("name", ["x.pdparams", "x.tar", "x.tar.gz", "inference.pdmodel"])
def test_pipes_in_the_place_of_files(tmp_path, refusal, name):
    os.mkfifo(tmp_path / name)
    assert "expected a" in refusal(tmp_path / name)


# Programs that lack something.


def without(attribute: str, slot: str = "") -> bytes:
    """Return a program with a convolution that lacks an attribute or an operand."""
    program = program_desc()
    block = program.blocks[0]
    variable = block.vars.add(name=b"k", persistable=True)
    variable.type.type = schema.DENSE_TENSOR
    variable.type.dense_tensor.tensor.data_type = 5
    variable.type.dense_tensor.tensor.dims.extend([8, 3, 3, 3])
    op = block.ops.add(type=b"conv2d")
    for name, value in (("Input", b"x"), ("Filter", b"k")):
        if name != slot:
            op.inputs.add(parameter=name.encode(), arguments=[value])
    if slot == "Filter":
        op.inputs.add(parameter=b"Bias", arguments=[b"k"])
    if slot != "Output":
        op.outputs.add(parameter=b"Output", arguments=[b"y"])
    for name, values in (("strides", [1, 1]), ("paddings", [0, 0]), ("dilations", [1, 1])):
        if name != attribute:
            op.attrs.add(name=name.encode(), type=3, ints=values)
    if attribute != "groups":
        op.attrs.add(name=b"groups", type=0, i=1)
    return program.SerializeToString()


@pytest.mark.parametrize("attribute", ["groups", "strides", "paddings", "dilations"])
def test_a_convolution_without_an_attribute(attribute):
    with pytest.raises(SourceError, match=f"KeyError: '{attribute}'"):
        program_graph(parse(without(attribute)))


@pytest.mark.parametrize("slot", ["Filter", "Output"])
def test_a_convolution_without_an_operand_or_a_result(slot):
    with pytest.raises(SourceError, match="one of its operands, results or attributes"):
        program_graph(parse(without("", slot)))


def test_columns_of_mixed_types():
    program = program_desc()
    program.blocks[0].ops[3].attrs[0].type = 2
    program.blocks[0].ops[3].attrs[0].s = b"one"
    op = program.blocks[0].ops.add()
    op.CopyFrom(program.blocks[0].ops[3])
    op.attrs[0].type = 0
    with pytest.raises(SourceError, match="TypeError"):
        parse(program.SerializeToString())


def test_blocks_in_blocks():
    program = program_desc()
    for number in range(1, 3000):
        op = program.blocks[number - 1].ops.add(type=b"while")
        op.attrs.add(name=b"sub_block", type=schema.BLOCK, block_idx=number)
        program.blocks.add(idx=number, parent_idx=number - 1)
    with pytest.raises(SourceError, match="RecursionError"):
        parse(program.SerializeToString())


def test_an_integer_that_is_infinite():
    infinite = {"#": "0.a_f64", "VD": "INF"}
    shape, dtype = {"#": "1.a_intarray", "D": [1]}, {"#": "1.a_dtype", "D": "int32"}
    full = pir_operation("1.full", [], {30: ROW}, value=infinite, shape=shape, dtype=dtype)
    with pytest.raises(SourceError, match="OverflowError"):
        parse(json.dumps(pir(operations=[full])).encode())


# Archives.


def member(name: str, size: bytes, kind: bytes = b"0", data: bytes = b"") -> bytes:
    """Return a header with this size field, its checksum right, and data padded to blocks."""
    info = tarfile.TarInfo(name)
    header = bytearray(info.tobuf())
    header[124:136] = size.ljust(12, b"\0")
    header[156:157] = kind
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + data + b"\0" * (-len(data) % 512)


def octal(size: int) -> bytes:
    return b"%011o" % size


def pax(data: bytes) -> bytes:
    return member("x", octal(len(data)), b"x", data)


def long_name(data: bytes = b"a/b\0") -> bytes:
    return member("././@LongLink", octal(len(data)), b"L", data)


LAST = member("a.json", octal(0)) + b"\0" * 1024
NEGATIVE = b"\xff" * 8 + (2**32 - 512).to_bytes(4, "big")
ARCHIVES = {
    "a negative size": member("a.json", NEGATIVE) + LAST,
    "a negative octal size": member("a.json", b"-0000001000") + LAST,
    "a negative size in a pax header": pax(b"14 size=-512\n") + LAST,
    "a pax header of digits": pax(b"1" * 60_000) + LAST,
    "a large pax header": pax(b"0" * 200_000) + LAST,
    "a sparse map in a pax header": pax(b"25 GNU.sparse.map=0,1,2,3\n"[:26]) + LAST,
    "long names in a row": long_name() * 5000 + LAST,
    "pax headers in a row": pax(b"9 a=bcde\n") * 5000 + LAST,
    "a large long name": long_name(b"a" * 100_000) + LAST,
}


@pytest.mark.parametrize("bomb", ARCHIVES)
def test_archives(tmp_path, refusal, bomb):
    file = tmp_path / "x.tar"
    file.write_bytes(ARCHIVES[bomb])
    assert refusal(file).startswith("UnsafeSource")


@pytest.mark.parametrize(("name", "kind"), [("{}.json", b"0"), ("{}/", b"5")])
def test_archives_of_many_entries(tmp_path, refusal, name, kind):
    file = tmp_path / "x.tar"
    entries = [member(name.format(number), octal(0), kind) for number in range(10_001)]
    file.write_bytes(b"".join(entries) + LAST)
    assert refusal(file).startswith("UnsafeSource")


def test_a_size_that_is_no_number(tmp_path):
    file = tmp_path / "x.tar"
    file.write_bytes(member("a.json", b"wide") + LAST)
    with pytest.raises(SourceError, match=r"size is b'wide'"):
        open_source(file)


@pytest.mark.parametrize("format", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT])
def test_archives_as_they_should_be(tmp_path, format):
    """Long names and pax headers of ordinary archives are no reason to refuse one."""
    file = tmp_path / "x.tar"
    name = "a" * 150 + "/" + "x" * 60 + ".pdparams"
    with tarfile.open(file, "w", format=format) as tar:
        for each in (name, "a" * 150 + "/ordinary.txt"):
            info = tarfile.TarInfo(each)
            info.size, info.mtime = 3, 1_700_000_000.5 if format == tarfile.PAX_FORMAT else 0
            tar.addfile(info, io.BytesIO(b"abc"))
    with pytest.raises(SourceError, match="is not a Paddle checkpoint: it starts with b'abc'"):
        open_source(file)


def test_the_temporary_folder_is_full(tmp_path, monkeypatch):
    file = tmp_path / "x.tar"
    with tarfile.open(file, "w") as tar:
        info = tarfile.TarInfo("x.pdparams")
        info.size = 3
        tar.addfile(info, io.BytesIO(b"abc"))

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(archive.shutil, "copyfileobj", full)
    with pytest.raises(SourceError, match=r"temporary folder .* is full"):
        open_source(file)
