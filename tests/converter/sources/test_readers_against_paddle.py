"""The readers against Paddle itself: files that it writes, programs that it runs, its releases."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from converter.sources.ir import TensorSpec
from converter.sources.open import open_source
from converter.sources.pdparams import read_pdparams
from converter.sources.reader import read_program
from tests.support.paths import SUPPORT

REAL = ("ch_PP-OCRv4_det_infer", "ch_PP-OCRv4_rec_infer", "ch_ppocr_mobile_v2_cls_infer")


@pytest.fixture(scope="module")
def paddle(tmp_path_factory, real_models) -> Path:
    """The folder that `paddle_child.py` fills, in its one run."""
    folder = tmp_path_factory.mktemp("paddle")
    programs = [real_models / name / "inference.pdmodel" for name in REAL]
    command = [sys.executable, SUPPORT / "paddle_child.py", folder, *programs]
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
