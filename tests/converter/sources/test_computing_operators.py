"""Operators that Paddle may be asked to run; all others are refused wherever a program has them."""

from __future__ import annotations

import json
import time

import pytest

from converter.cli.main import main
from converter.errors import SourceError, UnsafeSource
from converter.references.paddle import worker
from converter.references.paddle.session import PaddleSession
from converter.references.program import PaddleProgram
from converter.sources import framework_proto as schema
from converter.sources.computing_operators import OPERATORS
from converter.sources.op_table import KINDS
from converter.sources.reader import check_operators, with_outputs
from tests.support.paddle_files import (
    parse,
    pir,
    pir_operation,
    program_desc,
    tensor_type,
    write_export,
)

ROW = tensor_type("float32", (-1, 3))
FORBIDDEN = (
    *("save", "save_combine", "load", "load_combine", "py_func", "print", "run_program", "pylayer"),
    *("send_v2", "recv_v2", "c_allreduce_sum", "c_comm_init", "all_gather", "p_send", "barrier"),
    *("read", "read_file", "decode_jpeg", "create_py_reader", "faster_tokenizer", "fusion_group"),
    *("tensorrt_engine", "openvino_engine", "lite_engine", "distributed_push_sparse", "Save", ""),
)
FORBIDDEN_IN_PIR = (
    *(f"1.{kind}" for kind in FORBIDDEN if kind),
    *("1.save_", "3.relu", "4.reshard", "0.set_parameter", "5.relu"),
)


def with_operation(kind: str, block: str) -> bytes:
    """Return a ProgramDesc with one more operation, in `main`, a `sub` or an `unused` block."""
    program = program_desc()
    target = program.blocks[0] if block == "main" else program.blocks.add(idx=1, parent_idx=0)
    if block == "sub":
        op = program.blocks[0].ops.add(type=b"while")
        op.inputs.add(parameter=b"Condition", arguments=[b"x"])
        op.attrs.add(name=b"sub_block", type=schema.BLOCK, block_idx=1)
    target.ops.add(type=kind.encode())
    return program.SerializeToString()


def with_pir_operation(kind: str, block: str) -> bytes:
    """Return a PIR program with one more operation, in the main block or in one that it holds."""
    operation = pir_operation(kind, [22], {40: ROW})
    for level in range({"main": 0, "sub": 1, "deep": 2}[block]):
        holder = pir_operation("1.while", [22, 22], {41 + level: ROW})
        carried = -1 - level
        ops = [operation, pir_operation("2.yield", [22, carried], {})]
        blocks = [{"#": "block_1", "args": [{"#": carried, "TT": ROW}], "ops": ops}]
        holder["regions"] = [{"#": "region_1", "blocks": blocks}]
        operation = holder
    return json.dumps(pir(operations=[operation])).encode()


@pytest.mark.parametrize("block", ["main", "sub", "unused"])
@pytest.mark.parametrize("kind", FORBIDDEN)
def test_a_program_desc_with_an_operator_that_does_more_than_compute(kind, block):
    program = parse(with_operation(kind, block))
    place = "block 0" if block == "main" else "block 1"
    with pytest.raises(UnsafeSource, match=f"{place} has the operator '{kind}'") as caught:
        check_operators(program)
    assert str(caught.value).isprintable()
    with pytest.raises(UnsafeSource):
        with_outputs(program, program.outputs)


@pytest.mark.parametrize("block", ["main", "sub", "deep"])
@pytest.mark.parametrize("kind", FORBIDDEN_IN_PIR)
def test_a_pir_program_with_an_operator_that_does_more_than_compute(kind, block):
    content = with_pir_operation(kind, block)
    try:
        program = parse(content)
    except SourceError:  # of a dialect that the reader does not know
        assert kind == "5.relu"
        return
    where = "block_1 of the 1.while operation" if block != "main" else "block_0 of the program"
    with pytest.raises(UnsafeSource, match=f"{where} has the operator '.*{kind[2:]}'"):
        with_outputs(program, program.outputs)


def test_regions_that_the_reader_does_not_follow_are_checked_too():
    document = pir()
    ops = [pir_operation("1.save", [], {})]
    document["program"]["regions"].append({"blocks": [{"args": [], "ops": ops}]})
    with pytest.raises(UnsafeSource, match="a block of the program has the operator 'save'"):
        check_operators(parse(json.dumps(document).encode()))
    document["program"]["regions"][1] = {"blocks": [{"ops": [{"A": []}]}]}
    with pytest.raises(SourceError, match="a region that cannot be followed"):
        check_operators(parse(json.dumps(document).encode()))


def test_an_embedding_that_asks_another_machine():
    program = program_desc()
    op = program.blocks[0].ops.add(type=b"lookup_table_v2")
    op.attrs.add(name=b"remote_prefetch", type=6, b=False)
    check_operators(parse(program.SerializeToString()))
    op.attrs[0].b = True
    with pytest.raises(UnsafeSource, match="remote_prefetch"):
        check_operators(parse(program.SerializeToString()))


def test_what_the_converter_can_align_is_allowed():
    names = {name for kind in KINDS for name in (*kind.desc, *kind.pir)}
    assert names <= OPERATORS
    for content in (program_desc().SerializeToString(), json.dumps(pir()).encode()):
        check_operators(parse(content))


def test_a_name_that_is_no_text():
    program = program_desc()
    program.blocks[0].ops.add(type=b"\xff\x1b[31m" + 500 * b"x")
    with pytest.raises(UnsafeSource) as caught:
        check_operators(parse(program.SerializeToString()))
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 600


def test_paddle_never_sees_it(tmp_path, monkeypatch):
    """The refusal comes before the process is asked, and even before it is up."""
    script = tmp_path / "worker.py"
    script.write_text("import time\ntime.sleep(60)")
    monkeypatch.setattr(worker, "__file__", str(script))
    start = time.monotonic()
    with PaddleSession() as session, pytest.raises(UnsafeSource):
        session.load_program(parse(with_operation("save", "sub")), tmp_path / "none.pdiparams")
    file = write_export(tmp_path)
    file.write_bytes(with_operation("py_func", "unused"))
    with pytest.raises(UnsafeSource):
        PaddleProgram(file, file.with_suffix(".pdiparams"))
    assert time.monotonic() - start < 20


def test_a_conversion_of_a_program_that_saves(tmp_path, real_models, capsys):
    """A released export with one operation more: `save` to a file of the user's."""
    source = real_models / "ch_ppocr_mobile_v2_cls_infer"
    victim = tmp_path / "victim"
    victim.write_text("precious")
    program = schema.message("ProgramDesc").FromString((source / "inference.pdmodel").read_bytes())
    block = program.blocks[0]
    save = block.ops.add(type=b"save")
    save.inputs.add(parameter=b"X", arguments=[next(iter(block.ops[2].inputs)).arguments[0]])
    save.attrs.add(name=b"file_path", type=2, s=str(victim).encode())
    (tmp_path / "inference.pdmodel").write_bytes(program.SerializeToString())
    (tmp_path / "inference.pdiparams").symlink_to(source / "inference.pdiparams")
    out = tmp_path / "cls.pth"
    code = main(["ch_ppocr_mobile_v2.0_cls", "--paddle-dir", str(tmp_path), "--out", str(out)])
    assert code == 3
    assert "block 0 has the operator 'save'" in capsys.readouterr().err
    assert victim.read_text() == "precious"
    assert not out.exists()
