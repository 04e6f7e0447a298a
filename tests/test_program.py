"""Exported programs and weights: both formats in one form, Paddle's word on it, corrupt files."""

from __future__ import annotations

import json
import math
import pickle
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paddle_files import (
    PARAMETERS,
    arrays,
    attempt,
    description,
    pir,
    pir_operation,
    program_desc,
    tensor_type,
    weights,
    write_export,
)

from converter.errors import SourceError, UnsafeSource
from converter.sources import (
    Program,
    TensorSpec,
    open_source,
    pdiparams,
    read_pdparams,
    read_program,
    schema,
)

FORMATS = ("pdmodel", "pir")
REAL = ("ch_PP-OCRv4_det_infer", "ch_PP-OCRv4_rec_infer", "ch_ppocr_mobile_v2_cls_infer")


def parse(content: bytes) -> Program:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "inference.pdmodel")
        file.write_bytes(content)
        return read_program(file)


def parse_pir(*operations, parameters=PARAMETERS) -> Program:
    return parse(json.dumps(pir(parameters, operations)).encode())


def content(format: str) -> bytes:
    if format == "pir":
        return json.dumps(pir()).encode()
    return program_desc().SerializeToString()


# What Paddle says.


@pytest.fixture(scope="module")
def paddle(tmp_path_factory, real_models) -> Path:
    """The folder that `paddle_child.py` fills, in its one run."""
    folder = tmp_path_factory.mktemp("paddle")
    programs = [real_models / name / "inference.pdmodel" for name in REAL]
    command = [sys.executable, Path(__file__).with_name("paddle_child.py"), folder, *programs]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


@pytest.mark.parametrize("name", ["net", "old", *REAL])
def test_other_outputs_by_paddle(paddle, name):
    """Paddle runs the changed program and computes the same, after the value asked for."""
    results = np.load(paddle / "results.npz")
    plain = [key for key in results if key.startswith(f"{name}/plain/")]
    changed = [key for key in results if key.startswith(f"{name}/changed/")]
    assert len(changed) == len(plain) + 1
    assert results[f"{name}/changed/0"].ndim == 4
    assert results[f"{name}/changed/0"].std() > 0
    for i, key in enumerate(plain, 1):
        np.testing.assert_array_equal(results[f"{name}/changed/{i}"], results[key])


@pytest.mark.parametrize("file", ["net.json", "old.pdmodel"])
def test_layers_of_both_formats(paddle, file):
    source = open_source(paddle / file)
    program = source.export.program
    assert program.inputs == (
        TensorSpec("x", (-1, 3, 16, 16), "float32"),
        TensorSpec("ids", (-1, 1), "int64"),
    )
    layers = {}
    for op in program.operations:
        roles = {r: v for r, v in op.inputs.items() if set(v) & set(program.parameters)}
        if roles:
            layers.setdefault(op.kind, []).append((roles, op.attributes))
    steps = ("strides", "paddings", "dilations", "groups")

    def convolution(kind):
        return [
            (roles["weight"][0], [attributes[step] for step in steps])
            for roles, attributes in layers[kind]
        ]

    one, two, none = (1, 1), (2, 2), (0, 0)
    assert convolution("conv2d") == [
        ("conv2d_0.w_0", [two, one, one, 1]),
        ("conv2d_1.w_0", [one, one, one, 2]),
        ("conv2d_3.w_0", [one, one, one, 1]),
    ]
    assert convolution("depthwise_conv2d") == [("conv2d_2.w_0", [one, one, one, 8])]
    assert convolution("conv2d_transpose") == [("conv2d_transpose_0.w_0", [two, none, one, 1])]
    ((roles, attributes),) = layers["batch_norm"]
    assert roles == {
        "mean": ("batch_norm2d_0.w_1",),
        "variance": ("batch_norm2d_0.w_2",),
        "scale": ("batch_norm2d_0.w_0",),
        "bias": ("batch_norm2d_0.b_0",),
    }
    assert attributes["epsilon"] == pytest.approx(1e-5)
    ((roles, attributes),) = layers["layer_norm"]
    assert roles == {"scale": ("layer_norm_0.w_0",), "bias": ("layer_norm_0.b_0",)}
    assert attributes["epsilon"] == pytest.approx(1e-5)
    ((roles, attributes),) = layers["matmul"]
    assert roles == {"y": ("linear_0.w_0",)}
    assert (attributes["transpose_x"], attributes["transpose_y"]) == (False, False)
    assert [r for r, _ in layers["embedding"]] == [{"weight": ("embedding_0.w_0",)}]
    ((roles, attributes),) = layers["rnn"]
    slots = [f"lstm_cell_{c}.{s}_{i}" for s in ("w", "b") for c in (0, 1) for i in (0, 1)]
    assert roles == {"weights": tuple(slots)}
    assert (attributes["mode"], attributes["is_bidirec"]) == ("LSTM", True)


def test_both_formats_are_one_form(paddle):
    """Of operations that both formats have, kinds, roles and named attributes are the same."""
    exports = [read_program(paddle / file) for file in ("net.json", "old.pdmodel")]
    shapes = ("full", "full_int_array", "full_with_tensor", "shape", "stack", "reshape")
    flows = [[op for op in each.operations if op.kind not in shapes] for each in exports]
    assert [op.kind for op in flows[0]] == [op.kind for op in flows[1]]
    for pir_op, old_op in zip(*flows, strict=True):
        roles = [role for role in pir_op.inputs if role != "dropout_state"]
        assert roles == list(old_op.inputs), pir_op.kind
        for role in roles:
            assert len(pir_op.inputs[role]) == len(old_op.inputs[role])
        broadcast = {"axis"} if old_op.kind == "add" else set()  # PIR reshapes a bias instead
        for key in {*old_op.attributes} & {*pir_op.attributes} - broadcast:
            expected = old_op.attributes[key]
            assert pir_op.attributes[key] == pytest.approx(expected, abs=1e-7), (pir_op.kind, key)
            assert type(pir_op.attributes[key]) is type(expected), (pir_op.kind, key)


@pytest.mark.parametrize("file", ["net.json", "old.pdmodel"])
@pytest.mark.parametrize(
    ("kind", "attributes"),
    [
        ("pool2d", {"kernel_size": (2, 2), "strides": (2, 2), "pooling_type": "max"}),
        ("leaky_relu", {"negative_slope": pytest.approx(0.3)}),
        ("mish", {"lambda": 20.0}),
        ("hardtanh", {"t_min": -1.0, "t_max": 1.0}),
        ("hardsigmoid", {"slope": pytest.approx(0.2), "offset": 0.5}),
        ("group_norm", {"groups": 2, "epsilon": pytest.approx(1e-5), "data_format": "NCHW"}),
        ("instance_norm", {"epsilon": pytest.approx(1e-5)}),
        ("prelu", {"mode": "channel"}),
        ("deformable_conv", {"paddings": (1, 1), "deformable_groups": 1}),
        ("nearest_interp", {"scale": (2.0, 2.0), "align_corners": False}),
        ("bilinear_interp", {"out_h": 8, "out_w": 8, "align_mode": 0}),
        ("pad3d", {"paddings": (1, 0, 0, 1, 0, 0), "pad_value": 0.0, "mode": "constant"}),
        ("squeeze", {"axes": (2,)}),
        ("unsqueeze", {"axes": (2,)}),
        ("stack", {"axis": 0}),
        ("mean", {"axis": (0,), "keepdim": False}),
        ("pow", {"factor": 3.0}),
        ("divide", {"axis": -1}),
        ("concat", {"axis": 1}),
        ("split", {"axis": 2, "num": 2}),
        ("slice", {"axes": (1,), "starts": (0,), "ends": (4,)}),
        ("transpose", {"perm": (0, 2, 1)}),
        ("flatten", {"start_axis": 2, "stop_axis": 3}),
        ("softmax", {"axis": -1}),
        ("fetch", {"col": 0}),
    ],
)
def test_attributes_of_both_formats(paddle, file, kind, attributes):
    found = next(op for op in read_program(paddle / file).operations if op.kind == kind)
    assert {key: found.attributes.get(key) for key in attributes} == attributes


def test_weights_by_paddle(paddle):
    """`.pdiparams` under parameter names and `.pdparams` under structured ones agree."""
    state = np.load(paddle / "state.npz")
    tensors = open_source(paddle / "net.json").export.tensors
    for protocol in (2, 3, 4):
        checkpoint = read_pdparams(paddle / f"net{protocol}.pdparams")
        assert set(checkpoint.tensors) == set(state)
        for name, array in checkpoint.tensors.items():
            np.testing.assert_array_equal(array, state[name], strict=True)
    names = checkpoint.parameter_names
    assert names["conv.weight"] == "conv2d_0.w_0"
    for structured in state:
        np.testing.assert_array_equal(tensors[names[structured]], state[structured])


@pytest.mark.parametrize("name", REAL)
def test_released_models(real_models, name):
    export = open_source(real_models / name).export
    program = export.program
    assert program.format == "pdmodel"
    assert len(program.outputs) == 1
    assert program.inputs[0].dtype == "float32"
    assert set(export.tensors) == set(program.parameters)
    used = {value for op in program.operations for names in op.inputs.values() for value in names}
    assert set(program.parameters) <= used
    assert set(export.tensors) <= set(export.structured_names)
    made = {spec.name for spec in program.inputs} | set(program.parameters)
    for op in program.operations:
        assert {value for names in op.inputs.values() for value in names} <= made
        assert not set(op.outputs) & set(program.parameters)
        made |= set(op.outputs)


# Programs of our own.


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
    changed = parse(program.with_outputs(wanted))
    assert changed.outputs == tuple(wanted)
    assert changed.operations[:2] == program.operations[:2]
    assert changed.parameters == program.parameters
    again = parse(changed.with_outputs(program.outputs))
    assert again.outputs == program.outputs
    assert again.operations[:2] == program.operations[:2]
    with pytest.raises(ValueError, match=r"no (value|tensor) 'nothing'"):
        program.with_outputs(["nothing"])


def test_unknown_fields_survive():
    """What the schema leaves out is written back."""
    raw = content("pdmodel") + b"\x22\x04\x08\xe5\xa7\x7a"  # version: 2003941
    changed = parse(raw).with_outputs(["m"])
    assert b"\x22\x04\x08\xe5\xa7\x7a" in changed


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
    assert parse(program.with_outputs(["%33", "%32"])).outputs == ("%33", "%32")


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


def test_pir_loops_come_before_their_operation():
    body = [
        pir_operation("1.relu", [-1], {31: ROW}),
        pir_operation("2.yield", [30, 31], {}),
    ]
    block = {"#": "block_1", "args": [{"#": -1, "TT": ROW}], "ops": body}
    loop = pir_operation("1.while", [30, 22], {32: ROW})
    loop["regions"] = [{"#": "region_1", "blocks": [block]}]
    program = parse_pir(pir_operation("1.any", [22], {30: ROW}), loop)
    _, relu, stop, loop = program.operations[2:-1]
    assert (relu.kind, dict(relu.inputs)) == ("relu", {"x": ("%22",)})
    assert (stop.kind, loop.kind) == ("cf.yield", "while")
    with pytest.raises(ValueError, match="main block"):
        program.with_outputs(["%31"])


def test_pir_lists_are_no_outputs():
    program = parse_pir(pir_operation("1.meshgrid", [22], {30: LIST}))
    with pytest.raises(ValueError, match="no tensor '%30'"):
        program.with_outputs(["%30"])


def test_pir_absent_results():
    program = parse_pir(pir_operation("1.batch", [22], {30: ROW, 0: {"#": "NULL"}}))
    assert program.operations[2].outputs == ("%30",)
    assert parse(program.with_outputs(["%30"])).outputs == ("%30",)


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


def test_old_loops_come_before_their_operation():
    program = program_desc()
    for index in (1, 2):
        program.blocks.add(idx=index, parent_idx=0)
    add_operation(program, "relu", {"X": ["m"]}, {"Out": ["r"]}, 1)
    add_operation(program, "tanh", {"X": ["r"]}, {"Out": ["t"]}, 2, back=(8, 1))
    add_operation(program, "while", {"X": ["m"]}, {"Out": ["t"]}, sub_block=(8, 1))
    add_operation(program, "cases", {"X": ["m"]}, {"Out": ["t"]}, blocks=(10, [1, 2]))
    operations = parse(program.SerializeToString()).operations
    assert [op.kind for op in operations[-4:]] == ["relu", "while", "tanh", "cases"]


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


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(FORMATS), st.integers(0, 10_000), st.integers(0, 255), st.booleans())
def test_corrupt_programs_are_an_error_or_a_program(format, position, value, cut):
    raw = bytearray(content(format))
    if cut:
        del raw[position % len(raw) :]
    else:
        raw[position % len(raw)] = value
    assert isinstance(attempt(parse, bytes(raw)), Program | None)


# Weights.


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


@settings(max_examples=300, deadline=None)
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
