"""ONNX files as programs: what exporters write for one layer becomes that layer."""

from __future__ import annotations

import warnings

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from converter.alignment.layer_graph import INPUT, SAME
from converter.sources.ir import TensorSpec
from converter.sources.onnx.model import OPSETS
from converter.sources.onnx.program import read_onnx
from tests.support.onnx_files import constant, export, layers, model, node, save, weight

KERNEL = {"conv2d_0.w_0": weight(4, 3, 3, 3)}
NORM = {name: weight(4, seed=seed) for seed, name in enumerate("sbmv")}


def conv(y="c", *operands, **attributes):
    settings = {"kernel_shape": [3, 3], "strides": [2, 2], "group": 1}
    settings |= {} if "auto_pad" in attributes else {"pads": [1, 1, 1, 1]}
    return node("Conv", ["x", "conv2d_0.w_0", *operands], [y], **{**settings, **attributes})


@pytest.fixture
def file(tmp_path):
    return tmp_path / "model.onnx"


@pytest.mark.parametrize("opset", OPSETS)
def test_every_version_of_the_operators(file, opset):
    nodes = [conv(), node("BatchNormalization", ["c", *NORM], ["y"], epsilon=1e-3)]
    proto = model(nodes, KERNEL | NORM, opset=opset)
    read = read_onnx(save(file, proto))
    assert read.program.format == "onnx"
    assert read.program.inputs == (TensorSpec("x", (-1, 3, -1, -1), "float32"),)
    assert read.tensors.keys() == {"conv2d_0.w_0", *NORM}
    first, second = layers(file, proto).layers
    assert first.settings["strides"] == (2, 2)
    assert first.settings["paddings"] == (1, 1)
    assert second.settings["epsilon"] == pytest.approx(1e-3)
    assert [tensor.role for tensor in second.tensors] == ["scale", "bias", "mean", "variance"]


@pytest.mark.parametrize("channels", [4, 1])
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("form", ["folded", "reshaped", "operand"])
def test_a_bias_behind_a_convolution_is_its_bias(file, channels, transposed, form):
    shape = (3, channels, 3, 3) if transposed else (channels, 3, 3, 3)
    weights = {"conv2d_0.w_0": weight(*shape), "conv2d_0.b_0": weight(channels)}
    names = ["x", "conv2d_0.w_0"]
    kind = "ConvTranspose" if transposed else "Conv"
    nodes = [node(kind, names, ["c"]), node("Add", ["c", "b"], ["y"])]
    bias = "conv2d_0.b_0"
    if form == "folded":  # by a simplifier, which gives it the name of the reshaped value
        weights["p2o.pd_op.reshape.0.0"] = weights.pop(bias).reshape(1, channels, 1, 1)
        bias = nodes[1].input[1] = "p2o.pd_op.reshape.0.0"
    elif form == "reshaped":
        shape = constant("shape", np.array([1, channels, 1, 1]))
        nodes = [shape, node("Reshape", [bias, "shape"], ["b"]), *nodes]
    else:
        nodes = [node(kind, [*names, bias], ["y"])]
    (layer,) = layers(file, model(nodes, weights)).layers
    assert [(t.role, t.name) for t in layer.tensors] == [("weight", "conv2d_0.w_0"), ("bias", bias)]
    assert layer.tensors[1].shape == (channels,)
    assert layer.output == "y"


def test_an_addition_to_a_shared_map_is_no_bias(file):
    weights = KERNEL | {"b.w_0": weight(1, 4, 1, 1)}
    nodes = [conv(), node("Add", ["c", "b.w_0"], ["d"]), node("Add", ["c", "d"], ["y"])]
    assert [layer.kind for layer in layers(file, model(nodes, weights)).layers] == ["conv", "add"]


LAYER_NORM = [
    node("ReduceMean", ["x"], ["mean"], axes=[-1]),
    node("Sub", ["x", "mean"], ["centered"]),
    node("Pow", ["centered", "helper.constant.0"], ["square"]),
    node("ReduceMean", ["square"], ["variance"], axes=[-1]),
    node("Add", ["variance", "helper.constant.1"], ["safe"]),
    node("Sqrt", ["safe"], ["deviation"]),
    node("Div", ["centered", "deviation"], ["normal"]),
    node("Mul", ["normal", "norm.w_0"], ["scaled"]),
    node("Add", ["scaled", "norm.b_0"], ["y"]),
]
LAYER_NORM_WEIGHTS = {
    "helper.constant.0": np.float32(2),
    "helper.constant.1": np.float32(1e-6),
    "norm.w_0": weight(8),
    "norm.b_0": weight(8),
}


@pytest.mark.parametrize("form", ["written out", "square as a product", "reshaped", "operator"])
def test_layer_normalisation(file, form):
    nodes, opset = list(LAYER_NORM), 11
    if form == "square as a product":
        nodes[2] = node("Mul", ["centered", "centered"], ["square"])
    elif form == "reshaped":  # to a shape that depends on the image, as Paddle2ONNX does
        nodes[7] = node("Mul", ["normal", "s"], ["scaled"])
        nodes = [node("Shape", ["x"], ["of"]), node("Reshape", ["norm.w_0", "of"], ["s"]), *nodes]
    elif form == "operator":
        names = ["x", "norm.w_0", "norm.b_0"]
        nodes, opset = [node("LayerNormalization", names, ["y"], epsilon=1e-6)], 17
    (layer,) = layers(file, model(nodes, LAYER_NORM_WEIGHTS, opset=opset)).layers
    assert layer.kind == "layer_norm"
    assert layer.settings["epsilon"] == pytest.approx(1e-6)
    found = {(tensor.role, tensor.name, tensor.shape) for tensor in layer.tensors}
    assert found == {("scale", "norm.w_0", (8,)), ("bias", "norm.b_0", (8,))}
    assert layer.sources == {(INPUT, ())}


@pytest.mark.parametrize("place", range(7))
def test_what_only_resembles_a_layer_normalisation_is_none(file, place):
    """Each operation in turn takes or does something else."""
    others = {
        0: node("ReduceMean", ["other"], ["mean"], axes=[-1]),
        1: node("Sub", ["mean", "x"], ["centered"]),
        2: node("Pow", ["centered", "helper.constant.1"], ["square"]),
        3: node("ReduceMax", ["square"], ["variance"], axes=[-1]),
        4: node("Add", ["variance", "x"], ["safe"]),
        5: node("Exp", ["safe"], ["deviation"]),
        6: node("Div", ["deviation", "centered"], ["normal"]),
    }
    nodes = [node("Relu", ["x"], ["other"]), *LAYER_NORM]
    nodes[1 + place] = others[place]
    kinds = {layer.kind for layer in layers(file, model(nodes, LAYER_NORM_WEIGHTS)).layers}
    assert kinds == {"multiply", "add"}


def test_numbers_of_the_exporter_are_no_weights(file):
    """A written-out hard swish, a scaling, and a learned scale and shift in between."""
    weights = {
        "p2o.helper.constant.2": np.float32([3]), "p2o.helper.constant.3": np.float32(0),
        "p2o.helper.constant.4": np.float32(6), "Constant@0": np.float32([6]),
        "learnable_affine_block_0.w_0": np.float32([1.5]), "helper.constant.1": np.float32(0.5),
        "learnable_affine_block_0.w_1": np.float32([0.25]), "auto.cast.84": np.float32([0.258]),
    }  # fmt: skip
    nodes = [
        conv("c"),
        node("Add", ["c", "p2o.helper.constant.2"], ["a"]),
        node("Clip", ["a", "p2o.helper.constant.3", "p2o.helper.constant.4"], ["b"]),
        node("Mul", ["c", "b"], ["m"]),
        node("Div", ["m", "Constant@0"], ["h"]),
        node("Mul", ["learnable_affine_block_0.w_0", "h"], ["s"]),
        node("Add", ["s", "learnable_affine_block_0.w_1"], ["t"]),
        node("Mul", ["t", "auto.cast.84"], ["u"]),
        node("Add", ["u", "helper.constant.1"], ["y"]),
    ]
    graph = layers(file, model(nodes, KERNEL | weights))
    assert [(layer.kind, layer.name) for layer in graph.layers] == [
        ("conv", "conv2d_0.w_0"),
        ("multiply", "learnable_affine_block_0.w_0"),
        ("add", "learnable_affine_block_0.w_1"),
    ]
    assert graph.results == {(2, ())}
    assert graph.unread == ()


def test_identities_initializers_and_old_inputs(file):
    """As RapidOCR's files have it; files of IR version 3 list their weights among the inputs."""
    nodes = [
        node("Identity", ["conv2d_0.w_0"], ["k"]),
        node("Identity", ["x"], ["x.1"]),
        node("Identity", ["x.1"], ["x.2"]),
        node("Conv", ["x.2", "k"], ["c"]),
        node("Identity", ["c"], ["y"]),
    ]
    proto = model(nodes)
    proto.graph.initializer.append(numpy_helper.from_array(weight(4, 3, 3, 3), "conv2d_0.w_0"))
    shape = (4, 3, 3, 3)
    proto.graph.input.append(
        helper.make_tensor_value_info("conv2d_0.w_0", TensorProto.FLOAT, shape)
    )
    read = read_onnx(save(file, proto))
    assert [spec.name for spec in read.program.inputs] == ["x"]
    assert read.program.outputs == ("c",)
    (layer,) = layers(file, proto).layers
    assert (layer.name, layer.sources, layer.output) == ("conv2d_0.w_0", {(INPUT, ())}, "c")


@pytest.mark.parametrize("form", ["plain", "transposed", "Gemm", "Gemm transposed"])
def test_matrix_products(file, form):
    matrix, nodes = weight(5, 7), []
    weights = {"linear_0.w_0": matrix.T if "transposed" in form else matrix, "b": weight(7)}
    if form.startswith("Gemm"):
        names = ["x", "linear_0.w_0", "b"]
        nodes = [node("Gemm", names, ["y"], transB=int("transposed" in form))]
    else:
        if form == "transposed":
            nodes = [node("Transpose", ["linear_0.w_0"], ["t"], perm=[1, 0])]
        name = nodes[0].output[0] if nodes else "linear_0.w_0"
        nodes += [node("MatMul", ["x", name], ["m"]), node("Add", ["b", "m"], ["y"])]
    (layer,) = layers(file, model(nodes, weights, shape=("n", 5))).layers
    assert layer.kind == "linear"
    found = [(t.role, t.name, t.shape) for t in layer.tensors]
    assert found == [("weight", "linear_0.w_0", (7, 5)), ("bias", "b", (7,))]
    assert layer.tensors[0].transposed == ("transposed" not in form)


def test_a_gemm_with_a_factor_is_no_linear_layer(file):
    nodes = [node("Gemm", ["x", "w", "b"], ["y"], alpha=2.0)]
    proto = model(nodes, {"w": weight(5, 7), "b": weight(7)}, shape=("n", 5))
    assert layers(file, proto).layers == ()


def test_an_embedding(file):
    nodes = [
        node("Cast", ["x"], ["ids"], to=TensorProto.INT64),
        node("Gather", ["w", "ids"], ["y"]),
    ]
    (layer,) = layers(file, model(nodes, {"w": weight(9, 4)}, shape=("n", "t"))).layers
    assert layer.kind == "embedding"


@pytest.mark.parametrize(
    ("attributes", "paddings"),
    [
        ({"auto_pad": "SAME_UPPER"}, SAME),
        ({"auto_pad": "VALID"}, (0, 0)),
        ({"auto_pad": "SAME_LOWER"}, ("by the size of the map",)),
        ({"pads": [0, 0, 1, 1], "kernel_shape": [2, 2], "strides": [1, 1]}, SAME),
        ({"pads": [0, 1, 1, 1]}, (0, 1, 1, 1)),
        ({"pads": [2, 1, 2, 1]}, (2, 1)),
    ],
)  # fmt: skip
def test_paddings(file, attributes, paddings):
    size = attributes.get("kernel_shape", [3, 3])
    nodes = [conv("y", **attributes)]
    (layer,) = layers(file, model(nodes, {"conv2d_0.w_0": weight(4, 3, *size)})).layers
    assert layer.settings["paddings"] == paddings


# Recurrent layers.


@pytest.mark.parametrize("style", ["Paddle2ONNX", "PyTorch"])
@pytest.mark.parametrize("mode", ["LSTM", "GRU"])
def test_two_recurrent_layers_in_both_directions(file, mode, style):
    """Gates and directions of each layer are those of the network, bit by bit."""
    torch.manual_seed(0)
    network = getattr(nn, mode)(6, 5, num_layers=2, bidirectional=True).eval()
    if style == "PyTorch":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(network, (torch.zeros(3, 1, 6),), file, dynamo=False)
        proto = onnx.load(file)
    else:
        proto = _by_paddle2onnx(mode, dict(network.named_parameters()))
    graph, read = layers(file, proto), read_onnx(file)
    (layer,) = graph.layers
    assert (layer.kind, layer.settings) == ("rnn", {"mode": mode})
    tensors = {tensor.role: read.tensors[tensor.name] for tensor in layer.tensors}
    ours = [p for part in ("weight", "bias") for n, p in network.named_parameters() if part in n]
    found = [tensors[f"weights.{i}"] for i in range(16)]
    for theirs, parameter in zip(found, ours, strict=True):
        np.testing.assert_array_equal(theirs, parameter.detach().numpy())


def _by_paddle2onnx(mode, parameters):
    """Write two layers as Paddle2ONNX does: weights unsqueezed, joined, cut into gates, joined."""
    cuts = {"LSTM": ((0, 1), (3, 4), (1, 3)), "GRU": ((1, 2), (0, 1), (2, 3))}[mode]
    weights = {name: p.detach().numpy() for name, p in parameters.items()}
    weights |= {"zero": np.zeros((2, 1, 5), np.float32), "shape": np.array([0, 0, -1])}
    weights["first"] = np.array([0])
    nodes, x = [], "x"

    def joined(part, layer):
        both = []
        for direction in ("", "_reverse"):
            name = f"{part}_l{layer}{direction}"
            nodes.append(node("Unsqueeze", [name, "first"], [f"{name}.u"]))
            both.append(f"{name}.u")
        nodes.append(node("Concat", both, [f"{part}{layer}"], axis=0))
        pieces = []
        for i, cut in enumerate(cuts):
            for end, value in zip(("from", "to"), cut, strict=True):
                weights[f"{part}{layer}.{i}.{end}"] = np.array([5 * value])
            weights["one"] = np.array([1])
            ends = [f"{part}{layer}.{i}.{end}" for end in ("from", "to")]
            pieces.append(f"{part}{layer}.{i}")
            nodes.append(node("Slice", [f"{part}{layer}", *ends, "one"], [pieces[-1]]))
        nodes.append(node("Concat", pieces, [f"{part}{layer}.gates"], axis=1))
        return f"{part}{layer}.gates"

    for layer in range(2):
        w, r, *biases = (joined(part, layer) for part in
                         ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))  # fmt: skip
        nodes.append(node("Concat", biases, [f"b{layer}"], axis=1))
        states = ["zero"] * (2 if mode == "LSTM" else 1)
        settings = {"linear_before_reset": 1} if mode == "GRU" else {}
        nodes += [
            node(mode, [x, w, r, f"b{layer}", "", *states], [f"o{layer}"],
                 direction="bidirectional", hidden_size=5, **settings),
            node("Transpose", [f"o{layer}"], [f"t{layer}"], perm=[0, 2, 1, 3]),
            node("Reshape", [f"t{layer}", "shape"], [f"y{layer}"]),
        ]  # fmt: skip
        x = f"y{layer}"
    return model(nodes, weights, shape=("t", 1, 6), output=x, opset=13)


@pytest.mark.parametrize(
    "attributes",
    [{"linear_before_reset": 0}, {"clip": 1.0}, {"direction": "reverse"},
     {"activations": ["Relu", "Tanh"]}],
)  # fmt: skip
def test_a_gru_of_another_formula_is_no_layer_of_paddles(file, attributes):
    attributes = {"linear_before_reset": 1, **attributes}
    weights = {"w": weight(1, 15, 6), "r": weight(1, 15, 5), "b": weight(1, 30)}
    nodes = [node("GRU", ["x", "w", "r", "b"], ["y"], hidden_size=5, **attributes)]
    assert layers(file, model(nodes, weights, shape=("t", 1, 6))).layers == ()


# Loops and branches.


def _graph(name, nodes, inputs, outputs):
    infos = [[helper.make_tensor_value_info(n, kind, None) for n, kind in each]
             for each in (inputs, outputs)]  # fmt: skip
    return helper.make_graph(nodes, name, *infos)


FLOAT, INT, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL


def test_a_loop_keeps_its_body(file):
    """A state that a layer changes in each step, from the image and from itself."""
    body = _graph(
        "step",
        [
            node("MatMul", ["state", "linear_0.w_0"], ["a"]),
            node("Add", ["a", "x"], ["b"]),
            node("Tanh", ["b"], ["next"]),
            node("Identity", ["go"], ["on"]),
            node("Identity", ["next"], ["seen"]),
        ],
        [("step", INT), ("go", BOOL), ("state", FLOAT)],
        [("on", BOOL), ("next", FLOAT), ("seen", FLOAT)],
    )
    nodes = [
        node("Relu", ["x"], ["start"]),
        node("Loop", ["count", "true", "start"], ["last", "all"], body=body),
        node("Relu", ["last"], ["y"]),
    ]
    weights = {"linear_0.w_0": weight(4, 4), "count": np.array(3), "true": np.array(True)}
    proto = model(nodes, weights, shape=("n", 4))
    operations = read_onnx(save(file, proto)).program.operations
    (loop,) = [operation for operation in operations if operation.kind == "while"]
    assert loop.inputs["carried"] == ("start",)
    assert loop.outputs == ("last",)
    (block,) = loop.blocks
    assert (block.arguments, block.results) == (("state",), ("next",))
    assert [operation.kind for operation in block.operations] == ["matmul", "add", "tanh"]


def test_branches_give_their_results(file):
    yes = _graph("yes", [node("MatMul", ["x", "w"], ["a"])], [], [("a", FLOAT)])
    no = _graph("no", [node("Neg", ["x"], ["b"])], [], [("b", FLOAT)])
    nodes = [node("If", ["go"], ["y"], then_branch=yes, else_branch=no)]
    proto = model(nodes, {"w": weight(4, 4), "go": np.array(True)}, shape=("n", 4))
    graph = layers(file, proto)
    assert [layer.kind for layer in graph.layers] == ["linear"]
    assert graph.results == {(0, ()), (INPUT, ())}


# Half precision.


def test_half_precision_is_widened(file):
    halves = {name: array.astype(np.float16) for name, array in (KERNEL | NORM).items()}
    names = ["c", *NORM]
    nodes = [
        node("Cast", ["x"], ["h"], to=TensorProto.FLOAT16),
        node("Conv", ["h", "conv2d_0.w_0"], ["c"]),
        node("BatchNormalization", names, ["n"]),
        node("Cast", ["n"], ["y"], to=TensorProto.FLOAT),
    ]
    read = read_onnx(save(file, model(nodes, halves)))
    for name, array in halves.items():
        assert read.tensors[name].dtype == np.float32
        np.testing.assert_array_equal(read.tensors[name], array.astype(np.float32))
    (note,) = read.notes
    assert note.startswith("5 tensors of the ONNX file are of half precision")


def test_a_layer_normalisation_between_casts(file):
    """As Paddle2ONNX writes it in half precision, its epsilon rounded down."""
    half = {name: np.float16(array) for name, array in LAYER_NORM_WEIGHTS.items()}
    half["helper.constant.1"] = np.float16(167 * 2.0**-24)
    nodes = []
    for single in LAYER_NORM:
        value = single.output[0]
        to = TensorProto.FLOAT if single.op_type in ("Pow", "ReduceMean") else TensorProto.FLOAT16
        inner = onnx.NodeProto()
        inner.CopyFrom(single)
        inner.output[0] = f"{value}.raw"
        nodes += [inner, node("Cast", [f"{value}.raw"], [value], to=to)]
    nodes.append(node("Cast", ["y"], ["z"], to=TensorProto.FLOAT))
    (layer,) = layers(file, model(nodes, half, output="z")).layers
    assert (layer.kind, layer.settings["epsilon"]) == ("layer_norm", 1e-5)


def test_a_cast_of_whole_numbers_stays(file):
    nodes = [
        node("Cast", ["x"], ["i"], to=TensorProto.INT64),
        node("Add", ["i", "i"], ["j"]),
        node("Cast", ["j"], ["f"], to=TensorProto.FLOAT),
        node("Cast", ["f"], ["y"], to=TensorProto.FLOAT),
    ]
    operations = read_onnx(save(file, model(nodes, output="y"))).program.operations
    assert [operation.kind for operation in operations] == ["cast", "add", "cast"]


def test_listed_numbers(file):
    """Exporters may list the numbers of a tensor, the bits of halves too."""
    half = helper.make_tensor("h", TensorProto.FLOAT16, [2], np.float16([0.5, -2]))
    half.raw_data, half.int32_data[:] = b"", [0x3800, 0xC000]
    half.ClearField("raw_data")
    nodes = [conv("c"), node("Mul", ["c", "v"], ["d"]), node("Add", ["d", "h"], ["y"])]
    proto = model(nodes, KERNEL)
    proto.graph.initializer.append(helper.make_tensor("v", FLOAT, [2], [1.5, 2.5]))
    proto.graph.initializer.append(half)
    tensors = read_onnx(save(file, proto)).tensors
    np.testing.assert_array_equal(tensors["v"], np.float32([1.5, 2.5]))
    np.testing.assert_array_equal(tensors["h"], np.float32([0.5, -2]))


def test_a_whole_network_of_pytorch(file):
    """Its names are gone; folded and kept normalisations both become layers."""
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.Hardswish()
    ).eval()
    for folded, kinds in ((False, ["conv", "batch_norm"]), (True, ["conv"])):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            export(network, file, torch.zeros(1, 3, 8, 8), 11, folded=folded)
        assert [layer.kind for layer in layers(file, onnx.load(file)).layers] == kinds
