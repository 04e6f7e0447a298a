"""Exported programs: both formats in one form, other outputs, corrupt files."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from converter.errors import SourceError
from converter.sources import framework_proto as schema
from converter.sources.ir import Program, TensorSpec
from converter.sources.pir import fetch
from converter.sources.reader import with_integers, with_outputs
from tests.support.paddle_files import (
    PARAMETERS,
    attempt,
    parse,
    pir,
    pir_operation,
    program_desc,
    tensor_type,
)

FORMATS = ("pdmodel", "pir")


def parse_pir(*operations, parameters=PARAMETERS) -> Program:
    return parse(json.dumps(pir(parameters, operations)).encode())


def content(format: str) -> bytes:
    if format == "pir":
        return json.dumps(pir()).encode()
    return program_desc().SerializeToString()


@pytest.mark.parametrize("format", FORMATS)
def test_small_program(format):
    program = parse(content(format))
    assert program.format == format
    assert program.inputs == (TensorSpec("x", (-1, 4), "float32"),)
    assert {n: (s.dtype, s.shape) for n, s in program.parameters.items()} == PARAMETERS
    matmul, add, fetch = program.operations
    assert (matmul.kind, dict(matmul.inputs)) == ("matmul", {"x": ("x",), "y": ("w_0",)})
    assert (add.kind, dict(add.inputs)) == ("add", {"x": matmul.outputs, "y": ("b_0",)})
    assert program.outputs == fetch.inputs["x"] == add.outputs
    assert "content" not in repr(program)


@pytest.mark.parametrize("format", FORMATS)
def test_other_outputs(format):
    program = parse(content(format))
    middle = program.operations[0].outputs[0]
    wanted = [middle, *program.outputs, "w_0", "x"]
    changed = parse(with_outputs(program, wanted))
    assert changed.outputs == tuple(wanted)
    assert changed.operations[:2] == program.operations[:2]
    assert changed.parameters == program.parameters
    again = parse(with_outputs(changed, program.outputs))
    assert again.outputs == program.outputs
    assert again.operations[:2] == program.operations[:2]
    with pytest.raises(ValueError, match=r"no (value|tensor) 'nothing'"):
        with_outputs(program, ["nothing"])


def test_a_program_that_is_written_again_holds_what_was_checked_alone():
    """The version, by which Paddle reads old operators, is kept; what is not known here is not."""
    version, unknown = b"\x22\x04\x08\xe5\xa7\x7a", b"\x9a\x06\x04evil"
    changed = with_outputs(parse(content("pdmodel") + version + unknown), ["m"])
    assert version in changed
    assert b"evil" not in changed
    changed = with_outputs(parse(json.dumps({**pir(), "evil": 1}).encode()), ["%21"])
    assert b"evil" not in changed


def test_other_integers():
    """Integer constants of one value get another one; real numbers of that value stay."""
    message = program_desc()
    values = {}
    for name, dtype, value in (("a", 3, 500), ("b", 5, 500), ("c", 3, 7)):
        op = message.blocks[0].ops.add(type=b"fill_constant")
        op.outputs.add(parameter=b"Out", arguments=[name.encode()])
        op.attrs.add(name=b"dtype", type=schema.INT, i=dtype)
        op.attrs.add(name=b"value", type=1, f=value)
        op.attrs.add(name=b"str_value", type=2, s=str(value).encode())
    assigned = message.blocks[0].ops.add(type=b"assign_value")
    assigned.attrs.add(name=b"dtype", type=schema.INT, i=3)
    assigned.attrs.add(name=b"values", type=17).scalars.add(type=2, i=500)
    changed = with_integers(parse(message.SerializeToString()), {500: 24}).content
    *filled, assigned = schema.message("ProgramDesc").FromString(changed).blocks[0].ops[-4:]
    for op in filled:
        stated = {attribute.name: attribute for attribute in op.attrs}
        values[op.outputs[0].arguments[0]] = stated[b"value"].f, stated[b"str_value"].s
    assert values == {b"a": (24, b"24"), b"b": (500, b"500"), b"c": (7, b"7")}
    assert assigned.attrs[1].scalars[0].i == 24


def test_other_integers_of_pir():
    def full(number, dtype, value):
        stated = FULL | {
            "dtype": attribute("1.a_dtype", dtype),
            "value": attribute("0.a_f64", value),
        }
        return pir_operation("1.full", [], {number: tensor_type(dtype, ())}, **stated)

    listed = {
        "dtype": attribute("1.a_dtype", "int64"),
        "values": attribute("0.a_array", [attribute("0.a_f64", 500.0)]),
    }
    program = parse_pir(
        full(30, "int64", 500.0),
        full(31, "float32", 500.0),
        pir_operation("1.assign_value", [], {32: tensor_type("int64", ())}, **listed),
    )
    changed = with_integers(program, {500: 24})
    text = changed.content.decode()
    assert text.count("500.0") == 1
    assert text.count('"D":24') == 2
    assert with_integers(program, {}) is program


def attribute(dtype, value):
    return {"#": dtype, "D": value}


def whole_numbers(*values):
    return attribute("0.a_array", [attribute("0.a_i64", value) for value in values])


ROW = tensor_type("float32", (-1, 3))
LIST = {"#": "0.t_vec", "D": [ROW, ROW]}
FULL = {"shape": attribute("1.a_intarray", [1]), "dtype": attribute("1.a_dtype", "int32")}


def test_pir_lists_and_constants_vanish():
    program = parse_pir(
        pir_operation("1.full", [], {30: ROW}, value=attribute("0.a_f64", 1.0), **FULL),
        pir_operation("1.split_with_num", [22, 30], {31: LIST}, num=attribute("0.a_i32", 2)),
        pir_operation("0.split", [31], {32: ROW, 33: ROW}),
        pir_operation("0.combine", [33, 32, 1], {34: LIST}),
        pir_operation("0.split", [34], {35: ROW, 36: ROW, 37: ROW}),
        pir_operation("1.concat", [34, 30], {38: ROW}),
        pir_operation("1.stack", [31], {39: ROW}, axis=attribute("0.a_i32", 0)),
        pir_operation("1.relu_", [36], {40: ROW}),
        pir_operation("1.nearest_interp", [22, 0, 0, 0], {41: ROW}),
        pir_operation("4.Reshard", [22], {42: ROW}),
    )
    split, concat, stack, relu, resize, other = program.operations[3:-1]
    assert (split.kind, split.outputs) == ("split", ("%32", "%33"))
    assert split.attributes == {"num": 2, "axis": 1}
    assert type(split.attributes["axis"]) is int
    assert dict(split.inputs) == {"x": ("%22",)}
    assert (dict(concat.inputs), concat.attributes) == ({"x": ("%33", "%32", "w_0")}, {"axis": 1})
    assert dict(stack.inputs) == {"x": ("%32", "%33")}
    assert (relu.kind, dict(relu.inputs)) == ("relu", {"x": ("%32",)})
    assert dict(resize.inputs) == {"x": ("%22",)}
    assert (other.kind, dict(other.inputs)) == ("dist.reshard", {"0": ("%22",)})
    assert parse(fetch(program.content, ["%33", "%32"])).outputs == ("%33", "%32")


def test_pir_computed_operands_stay():
    program = parse_pir(
        pir_operation("1.shape64", [22], {30: ROW}),
        pir_operation("1.reshape", [22, 30], {31: ROW}),
        pir_operation("1.full_int_array", [], {32: ROW}, value=whole_numbers(0, -1)),
        pir_operation("1.reshape", [22, 32], {33: ROW}),
    )
    shape, computed, _, constant = program.operations[2:-1]
    assert shape.kind == "shape"
    assert dict(computed.inputs) == {"x": ("%22",), "shape": ("%30",)}
    assert (dict(constant.inputs), constant.attributes) == ({"x": ("%22",)}, {"shape": (0, -1)})


def test_pir_attributes():
    values = {
        "struct_name": attribute("0.a_str", "/Net/"),
        "place": attribute("1.a_place", [1, 0, ""]),
        "low": {"#": "0.a_f32", "VD": "-INF"},
        "data_layout": attribute("0.a_str", "NCHW"),
        "flags": attribute("0.a_array", [attribute("0.a_bool", True)]),
    }
    (op,) = parse_pir(pir_operation("1.thing", [], {30: ROW}, **values)).operations[2:-1]
    assert op.attributes == {"low": -math.inf, "data_format": "NCHW", "flags": (True,)}


def test_pir_loops_hold_their_body():
    body = [
        pir_operation("1.relu", [-1], {31: ROW}),
        pir_operation("2.yield", [30, 31], {}),
    ]
    block = {"#": "block_1", "args": [{"#": -1, "TT": ROW}], "ops": body}
    loop = pir_operation("1.while", [30, 22], {32: ROW})
    loop["regions"] = [{"#": "region_1", "blocks": [block]}]
    program = parse_pir(pir_operation("1.any", [22], {30: ROW}), loop)
    _, loop = program.operations[2:-1]
    assert (loop.kind, dict(loop.inputs)) == ("while", {"condition": ("%30",), "carried": ("%22",)})
    (inside,) = loop.blocks
    (relu,) = inside.operations
    assert inside.arguments == relu.inputs["x"]
    assert inside.results == relu.outputs == ("%31",)
    assert inside.arguments[0] not in ("%22", "%31", "%32")
    with pytest.raises(ValueError, match="main block"):
        with_outputs(program, ["%31"])


def test_pir_branches_give_their_results():
    branches = [
        {"#": "block", "args": [], "ops": [*ops, pir_operation("2.yield", [result], {})]}
        for ops, result in (([pir_operation("1.relu", [22], {31: ROW})], 31), ([], 22))
    ]
    condition = pir_operation("1.if", [30], {32: ROW})
    condition["regions"] = [{"#": "region", "blocks": [branch]} for branch in branches]
    *_, found, _ = parse_pir(pir_operation("1.any", [22], {30: ROW}), condition).operations
    assert dict(found.inputs) == {"condition": ("%30",)}
    assert [block.results for block in found.blocks] == [("%31",), ("%22",)]
    assert [len(block.operations) for block in found.blocks] == [1, 0]


@pytest.mark.parametrize(
    ("ops", "args"),
    [
        ([], [-1]),
        ([pir_operation("1.relu", [-1], {31: ROW})], [-1]),
        ([pir_operation("2.yield", [30], {})], [-1]),
        ([pir_operation("2.yield", [30, -1], {})], [-1, -2]),
    ],
)
def test_pir_loops_without_what_they_hand_on(ops, args):
    block = {"#": "block_1", "args": [{"#": number, "TT": ROW} for number in args], "ops": ops}
    loop = pir_operation("1.while", [30, 22], {32: ROW})
    loop["regions"] = [{"#": "region_1", "blocks": [block]}]
    with pytest.raises(SourceError, match="no complete PIR program"):
        parse_pir(pir_operation("1.any", [22], {30: ROW}), loop)


def test_pir_lists_are_no_outputs():
    program = parse_pir(pir_operation("1.meshgrid", [22], {30: LIST}))
    with pytest.raises(ValueError, match="no tensor '%30'"):
        with_outputs(program, ["%30"])


def test_pir_absent_results():
    program = parse_pir(pir_operation("1.unique", [22], {30: ROW, 0: {"#": "NULL"}}))
    assert program.operations[2].outputs == ("%30",)
    assert parse(with_outputs(program, ["%30"])).outputs == ("%30",)


def test_pir_parameters_that_are_not_stored():
    document = pir()
    document["program"]["regions"][0]["blocks"][0]["ops"][2]["OA"][0] = 0
    assert "half" not in parse(json.dumps(document).encode()).parameters


def add_operation(program, kind, slots, outputs, block=0, **attributes):
    op = schema.message("OpDesc")(type=kind.encode())
    for slot, names in slots.items():
        op.inputs.add(parameter=slot.encode(), arguments=[name.encode() for name in names])
    for slot, names in outputs.items():
        op.outputs.add(parameter=slot.encode(), arguments=[name.encode() for name in names])
    for name, (number, value) in attributes.items():
        item = op.attrs.add(name=name.encode(), type=number)
        target = schema.ATTRIBUTE_FIELDS[number]
        if isinstance(value, list):
            getattr(item, target).extend(value)
        elif target == "scalar":
            item.scalar.CopyFrom(value)
        else:
            setattr(item, target, value)
    program.blocks[block].ops.append(op)


def test_old_operations():
    program = program_desc()
    scalar = schema.message("Scalar")(type=3, r=0.5)
    statistics = {"Y": ["y"], "MeanOut": ["b_0"], "SavedMean": ["saved"]}
    add_operation(program, "mul", {"X": ["x"], "Y": ["w_0"]}, {"Out": ["a"]}, x_num_col_dims=(0, 2))
    add_operation(program, "batch_norm", {"X": ["x"], "Mean": ["b_0"]}, statistics)
    add_operation(
        program,
        "Unheard_Of",
        {"B": ["x"], "A": ["m", "out"], "C": []},
        {"Mask": ["n"], "Out": ["p"]},
        text=(2, b"NCHW"),
        texts=(5, [b"a", b"b"]),
        floats=(4, [0.5]),
        truth=(6, True),
        dtype=(0, 5),
        scalar=(16, scalar),
        scalars=(17, [scalar, scalar]),
        op_callstack=(5, [b"file.py"]),
        data_layout=(2, b"NHWC"),
    )
    mul, norm, other = parse(program.SerializeToString()).operations[-3:]
    assert (mul.kind, dict(mul.inputs)) == ("matmul", {"x": ("x",), "y": ("w_0",)})
    assert mul.attributes == {"transpose_x": False, "transpose_y": False, "x_num_col_dims": 2}
    assert norm.outputs == ("y", "saved")
    assert (other.kind, other.outputs) == ("unheard_of", ("p", "n"))
    assert dict(other.inputs) == {"0": ("x",), "1": ("m", "out")}
    assert other.attributes == {
        "text": "NCHW",
        "texts": ("a", "b"),
        "floats": (0.5,),
        "truth": True,
        "dtype": "float32",
        "scalar": 0.5,
        "scalars": (0.5, 0.5),
        "data_format": "NHWC",
    }


def test_old_loops_hold_their_body():
    program = program_desc()
    for index in (1, 2):
        program.blocks.add(idx=index, parent_idx=0)
    add_operation(program, "relu", {"X": ["m"]}, {"Out": ["r"]}, 1)
    add_operation(program, "tanh", {"X": ["r"]}, {"Out": ["t"]}, 2, back=(8, 1))
    operands = {"X": ["m"], "Condition": ["go"]}
    results = {"Out": ["r"], "StepScopes": ["scope"]}
    add_operation(program, "while", operands, results, sub_block=(8, 1))
    add_operation(program, "cases", {"X": ["m"]}, {"Out": ["t"]}, blocks=(10, [1, 2]))
    loop, cases = parse(program.SerializeToString()).operations[-2:]
    assert dict(loop.inputs) == {"condition": ("go",), "carried": ("r",)}
    assert loop.outputs == loop.blocks[0].arguments == loop.blocks[0].results == ("r",)
    assert [[op.kind for op in block.operations] for block in loop.blocks] == [["relu"]]
    assert [[op.kind for op in block.operations] for block in cases.blocks] == [["tanh"]]
    assert cases.outputs == ("t",)


# What is no program.


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "is empty"),
        (b"<html>", "the download went wrong"),
        (b"hello", "is not a Paddle program: it starts with b'hello'"),
        (b"\n\xff\xff\xff\xff\x0f", "no complete ProgramDesc"),
        (b"{", "no complete PIR program"),
        (b'{"a": 1}', "KeyError: 'base_code'"),
        (b'{"base_code": {"magic": "onnx"}}', "not marked as PIR"),
        (b'{"base_code": []}', "TypeError"),
        (b"[" * 10, "is not a Paddle program"),
        (b'{"a":' * 100_000, "RecursionError|no complete PIR"),
        (b'{"a": ' + b"9" * 10_000 + b"}", "no complete PIR program"),
        (b'\xff{"a"', "is not a Paddle program"),
        (b'{"\xff"', "UnicodeDecodeError"),
    ],
)
def test_no_program(raw, message):
    with pytest.raises(SourceError, match=message):
        parse(raw)


def break_pir(change) -> bytes:
    document = pir()
    change(document["program"]["regions"][0]["blocks"][0]["ops"])
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    "change",
    [
        lambda ops: ops[0]["O"]["TT"]["D"].__setitem__(1, [-1, 3]),
        lambda ops: ops[0]["O"]["TT"]["D"].__setitem__(1, ["4", 3]),
        lambda ops: ops[0]["O"]["TT"]["D"].__setitem__(1, [2**40, 2**40]),
        lambda ops: ops[0]["O"]["TT"]["D"].__setitem__(1, [1] * 33),
        lambda ops: ops[0].update(A=[]),
        lambda ops: ops[0].update(A=[0, 1, 1, ["name"]]),
        lambda ops: ops[0].update(A=[0, 1, 1, 7]),
        lambda ops: ops[6].update(I=[{"%": 99}]),
        lambda ops: ops[6].update(O=3),
        lambda ops: ops[6].update(A=[{"N": "x", "AT": {"VD": "MANY"}}]),
        lambda ops: ops[-1].update(I=[]),
        lambda ops: ops[-1].update(A=[]),
        lambda ops: ops.insert(7, pir_operation("9.what", [], {})),
        lambda ops: ops.insert(7, pir_operation("0.split", [22], {60: ROW, 61: ROW})),
        lambda ops: ops.insert(7, None),
    ],
)
def test_malformed_pir(change):
    with pytest.raises(SourceError, match="no complete PIR program"):
        parse(break_pir(change))


def change_block(change) -> bytes:
    program = program_desc()
    change(program.blocks[0])
    return program.SerializeToString()


@pytest.mark.parametrize(
    "change",
    [
        lambda block: block.vars[3].type.dense_tensor.tensor.dims.append(-1),
        lambda block: block.vars[3].type.dense_tensor.tensor.dims.append(2**60),
        lambda block: block.vars[0].type.dense_tensor.tensor.dims.append(-2),
        lambda block: block.ops[0].outputs[0].ClearField("arguments"),
        lambda block: block.ops[0].outputs[0].arguments.__setitem__(0, b"missing"),
        lambda block: block.ops[0].attrs.__delitem__(0),
        lambda block: block.ops[3].attrs.__delitem__(0),
        lambda block: block.ops[3].ClearField("inputs"),
        lambda block: setattr(block.ops[2].attrs[0], "type", 99),
        lambda block: block.ops[2].attrs.add(name=b"s", type=16),
        lambda block: block.ops[2].attrs.add(name=b"b", type=8, block_idx=9),
    ],
)
def test_malformed_program_desc(change):
    with pytest.raises(SourceError, match="not a program that can be followed"):
        parse(change_block(change))


@settings(max_examples=300)
@given(st.sampled_from(FORMATS), st.integers(0, 10_000), st.integers(0, 255), st.booleans())
def test_corrupt_programs_are_an_error_or_a_program(format, position, value, cut):
    raw = bytearray(content(format))
    if cut:
        del raw[position % len(raw) :]
    else:
        raw[position % len(raw)] = value
    assert isinstance(attempt(parse, bytes(raw)), Program | None)
