"""A ProgramDesc with a loop, written again for Paddle: values of the loop, copies without a use."""

from __future__ import annotations

import pytest

from converter.sources import framework_proto as schema
from converter.sources.program_desc import fetch
from tests.support.paddle_files import program_desc

BODY = [
    ("relu", ("out",), "inner"),
    ("assign", ("inner",), "kept"),
    ("select_input", ("inner", "out"), "chosen"),
    ("assign", ("chosen",), "unread"),
]


def looping() -> bytes:
    """Return a program whose loop computes `inner` and hands on `kept` and `unread`."""
    program = program_desc()
    main, body = program.blocks[0], program.blocks.add(idx=1, parent_idx=0)
    loop = main.ops.add(type=b"while")
    loop.inputs.add(parameter=b"Condition", arguments=[b"x"])
    loop.inputs.add(parameter=b"X", arguments=[b"kept", b"unread", b"out"])
    loop.outputs.add(parameter=b"Out", arguments=[b"kept", b"unread"])
    loop.attrs.add(name=b"sub_block", type=schema.BLOCK, block_idx=1)
    for name in ("kept", "unread"):
        main.vars.add(name=name.encode())
    for kind, operands, result in BODY:
        if result not in ("kept", "unread"):
            body.vars.add(name=result.encode())
        op = body.ops.add(type=kind.encode())
        op.inputs.add(parameter=b"X", arguments=[name.encode() for name in operands])
        op.outputs.add(parameter=b"Out", arguments=[result.encode()])
    return program.SerializeToString()


def written(*values: str):
    program = schema.message("ProgramDesc").FromString(fetch(looping(), values))
    return [[op.type.decode() for op in block.ops] for block in program.blocks], [
        {variable.name.decode() for variable in block.vars} for block in program.blocks
    ]


def test_copies_that_nothing_reads_are_left_out_one_after_the_other():
    (_, body), _ = written("kept")
    assert body == ["relu", "assign"]
    (_, body), _ = written("unread")
    assert body == ["relu", "select_input", "assign"]
    assert written("out")[0][1] == ["relu"]


def test_a_value_of_the_loop_is_declared_outside():
    (main, body), (outside, inside) = written("inner", "kept")
    assert (main[-2:], body) == (["fetch", "fetch"], ["relu", "assign"])
    assert "inner" in outside
    assert inside == {"chosen"}
    with pytest.raises(ValueError, match="the program has no value 'nothing'"):
        fetch(looping(), ["nothing"])
