"""Operations reduced to layers, on programs written by hand and on traced modules."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from architectures.layers.deformable import DeformableConvBatchNorm
from converter.alignment.layer_graph import INPUT, LayerGraph, layer_graph, network_graph
from converter.alignment.trace import trace
from converter.alignment.written_norms import put_norms_together
from converter.errors import AlignmentError
from converter.sources.ir import Operation
from tests.support.toys import Attention, Branches, Convolutions, graph, toy

CONV = {"strides": (1, 1), "paddings": (0, 0), "dilations": (1, 1), "groups": 1}
PARAMETERS = {"w": (4, 3, 1, 1), "b": (4,), "m": (4, 4), "w2": (4, 4, 1, 1), "b2": (1, 4, 1, 1)}


def op(kind, output, /, *, attributes=None, **inputs) -> Operation:
    roles = {role: (names,) if isinstance(names, str) else names for role, names in inputs.items()}
    return Operation(kind, roles, (output,), attributes or {})


def conv(output, x="x", weight="w") -> Operation:
    return op("conv2d", output, x=x, weight=weight, attributes=CONV)


def reduced(*operations, parameters=PARAMETERS, output=None) -> LayerGraph:
    return layer_graph(operations, parameters, ["x"], [output or operations[-1].outputs[0]])


def roles(layer):
    return {tensor.role: tensor.name for tensor in layer.tensors}


def test_a_bias_that_is_added_belongs_to_its_convolution():
    (layer,) = reduced(conv("y"), op("add", "z", x="y", y="b")).layers
    assert roles(layer) == {"weight": "w", "bias": "b"}
    assert layer.output == "z"
    assert layer.sources == {(INPUT, ())}


def test_a_bias_is_followed_through_a_reshape():
    operations = (conv("y"), op("reshape", "r", x="b"), op("add", "z", x="y", y="r"))
    (layer,) = reduced(*operations).layers
    assert roles(layer) == {"weight": "w", "bias": "b"}
    assert layer.tensors[1].shape == (4,)


def test_a_sum_that_others_see_before_is_no_bias():
    """The convolution's result is also used without what is added to it."""
    operations = (
        conv("y"), op("add", "z", x="y", y="b"), op("add", "s", x="y", y="z"),
    )  # fmt: skip
    first, second = reduced(*operations).layers
    assert roles(first) == {"weight": "w"}
    assert (second.kind, roles(second)) == ("add", {"operand": "b"})


def test_a_result_is_seen_too():
    operations = (conv("y"), op("add", "z", x="y", y="b"))
    assert len(layer_graph(operations, PARAMETERS, ["x"], ["y", "z"]).layers) == 2


def test_a_shift_of_another_width_is_no_bias():
    layers = reduced(conv("y"), op("add", "z", x="y", y="b"), parameters={"w": (4, 3, 1, 1), "b":
                     (1,)}).layers  # fmt: skip
    assert [layer.kind for layer in layers] == ["conv", "add"]


def test_a_second_bias_is_a_layer_of_its_own():
    layers = reduced(conv("y"), op("add", "z", x="y", y="b"), op("add", "s", x="z", y="b2")).layers
    assert [layer.kind for layer in layers] == ["conv", "add"]


@pytest.mark.parametrize("transpose_y", [False, True])
def test_linear(transpose_y):
    """Paddle writes x @ w with [in, out], PyTorch x @ w.T with [out, in]."""
    parameters = {"m": (3, 5)}
    product = op("matmul", "y", x="x", y="m", attributes={"transpose_y": transpose_y})
    (layer,) = reduced(product, parameters=parameters).layers
    (weight,) = layer.tensors
    assert (layer.kind, weight.transposed) == ("linear", not transpose_y)
    assert weight.shape == ((3, 5) if transpose_y else (5, 3))
    assert layer.settings["width"] == weight.shape[0]


@pytest.mark.parametrize("kind", ["transpose", "scale", "dequantize_linear", "slice"])
def test_changed_weights_are_refused(kind):
    with pytest.raises(AlignmentError, match=f"{kind} makes other weights of w.*quantised"):
        reduced(op(kind, "v", x="w"), conv("y", weight="v"))


def test_quantised_weights_are_refused():
    """As PaddleSlim writes them: the scale is a tensor too."""
    with pytest.raises(AlignmentError, match="dequantize_linear makes other weights of w, b"):
        reduced(op("dequantize_linear", "v", x="w", scale="b"), conv("y", weight="v"))


def test_an_unknown_operation_is_a_layer_of_its_own_kind():
    (layer,) = reduced(op("mystery", "y", x="x", weight="w")).layers
    assert (layer.kind, roles(layer)) == ("mystery", {"weight": "w"})


def test_unread_parameters_are_listed():
    assert reduced(conv("y")).unread == ("b", "m", "w2", "b2")


def test_constants_feed_nothing():
    constant = op("full", "zeros")
    state = op("concat", "c", x=("zeros", "zeros"))
    (layer,) = reduced(constant, state, op("add", "s", x="x", y="c"), conv("y", "s")).layers
    assert layer.sources == {(INPUT, ())}


def test_the_place_in_a_concatenation_is_marked():
    operations = (conv("l"), conv("r", weight="w2"), op("concat", "c", x=("l", "r")),
                  conv("y", "c", "m"))  # fmt: skip
    layers = reduced(*operations).layers
    assert layers[2].sources == {(0, ("concat:0",)), (1, ("concat:1",))}


def test_parts_of_one_value_have_no_order():
    """Boxes that are refined layer by layer divide a value by one made of it, again and again."""
    rounds = [op("divide", f"{n + 1}", x=f"{n}", y=f"{n}") for n in range(40)]
    graph = reduced(conv("0"), *rounds, conv("y", "40", "m"))
    assert graph.layers[1].sources == {(0, ())}


def test_the_places_in_a_sum_are_not():
    operations = (conv("l"), conv("r", weight="w2"), op("add", "c", x="l", y="r"),
                  conv("y", "c", "m"))  # fmt: skip
    assert reduced(*operations).layers[2].sources == {(0, ()), (1, ())}


# Modules.


def test_convolutions():
    network, example = toy("convolutions")
    layers = graph(network, example).layers
    assert [layer.kind for layer in layers] == [
        "conv", "batch_norm", "conv", "conv", "multiply", "add", "conv_transpose",
    ]  # fmt: skip
    first, norm, depthwise, *_, up = layers
    assert first.settings == {
        "strides": (2, 2), "paddings": (1, 1), "dilations": (1, 1), "groups": 1, "width": 8,
    }  # fmt: skip
    assert norm.settings == {"epsilon": 1e-5}
    assert depthwise.settings["groups"] == 8
    assert up.settings["width"] == 6
    assert {index for index, _ in up.sources} == {1, 5}  # the residual sum


def test_a_convolution_of_a_sequence_is_one_of_a_map_of_height_one():
    network = nn.Sequential(nn.Conv1d(4, 6, 5, stride=3, padding=2, dilation=2, groups=2))
    (layer,) = graph(network, torch.zeros(1, 4, 16)).layers
    assert (layer.kind, list(roles(layer))) == ("conv", ["weight", "bias"])
    assert layer.settings == {
        "strides": (1, 3), "paddings": (0, 2), "dilations": (1, 2), "groups": 2, "width": 6,
    }  # fmt: skip


def test_attention():
    layers = graph(*toy("attention")).layers
    linear = [layer.name for layer in layers if layer.kind == "linear"]
    assert linear == [f"{n}.weight" for n in ("query", "key", "value", "project", "last")]
    project = next(layer for layer in layers if layer.name == "project.weight")
    assert sorted(marks for _, marks in project.sources) == [
        ("matmul:0", "matmul:0"), ("matmul:1",), ("matmul:1", "matmul:0"),
    ]  # fmt: skip


def test_attention_in_one_call_is_written_as_two_products():
    class Scaled(Attention):
        def forward(self, x):
            x = x + self.positions
            y = self.norm(x)
            q, k, v = self.query(y), self.key(y), self.value(y)
            y = nn.functional.scaled_dot_product_attention(q, k, v, scale=1.0)
            return self.last(x + self.project(y))

    example = torch.zeros(1, 6, 12)
    assert [layer.sources for layer in graph(Scaled(), example).layers] == [
        layer.sources for layer in graph(Attention(), example).layers
    ]


def test_recurrent_layers_list_matrices_before_biases():
    lstm, gru, _ = graph(*toy("recurrent")).layers
    assert [lstm.settings, gru.settings] == [{"mode": "LSTM"}, {"mode": "GRU"}]
    shapes = [len(tensor.shape) for tensor in lstm.tensors]
    assert len(shapes) == 16
    by_place = {tensor.role: tensor for tensor in lstm.tensors}
    assert by_place["weights.2"].name == "lstm.weight_ih_l0_reverse"
    assert by_place["weights.8"].name == "lstm.bias_ih_l0"


@pytest.mark.parametrize("example", [Convolutions, Branches])
def test_a_trace_leaves_the_module_as_it_was(example):
    network = example().eval()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    inputs = torch.rand(1, 3, 16, 16)
    traced = trace(network, inputs)
    with torch.inference_mode():
        expected = network(inputs)
    assert torch.equal(traced.values[traced.outputs["output"]], expected)
    assert all(torch.equal(before[name], t) for name, t in network.state_dict().items())


def test_a_deformable_convolution_is_one_layer_of_three_operands():
    layer = DeformableConvBatchNorm(4, 6, 3, 2, 2, "relu").eval()
    layers = graph(layer, torch.zeros(1, 4, 8, 8)).layers
    assert [found.kind for found in layers] == ["conv", "deformable_conv", "batch_norm"]
    convolution = layers[1]
    assert [tensor.name for tensor in convolution.tensors] == ["_conv.conv_dcn.weight"]
    # The image, the offsets and the mask, the last two from one layer.
    marks = {(INPUT, "deformable_conv:0"), (0, "deformable_conv:1"), (0, "deformable_conv:3")}
    assert {(source, mark) for source, (mark,) in convolution.sources} == marks
    assert convolution.settings["deformable_groups"] == 2
    assert convolution.settings["strides"] == (2, 2)


@pytest.mark.parametrize(
    ("cell", "names", "tensors"),
    [
        (nn.LSTMCell, ["weight_ih", "weight_hh", "bias_hh"], [2, 1, 1]),
        (nn.GRUCell, ["weight_ih", "weight_hh"], [2, 2]),
    ],
)
def test_a_step_of_a_cell_is_two_products(cell, names, tensors):
    """As Paddle writes it; what each gives is known, to be compared."""
    torch.manual_seed(0)
    traced = trace(cell(3, 4), torch.ones(1, 3))
    layers = network_graph(traced).layers
    assert [layer.name for layer in layers] == names
    assert [len(layer.tensors) for layer in layers] == tensors
    assert {layer.output for layer in layers} <= set(traced.values)


NORM = {"g": (4,), "s": (4,)}


def written_norm(*, again: str = "mean", scale: str = "g") -> list[Operation]:
    """A normalisation over channels as PaddleOCR's encoder of formulas and tables writes it."""
    return [
        op("mean", "mean", x="x"),
        op("subtract", "d", x="x", y="mean"),
        op("subtract", "e", x="x", y=again),
        op("pow", "p", x="e"),
        op("mean", "v", x="p"),
        op("scale", "v+", x="v", attributes={"bias": 1e-6}),
        op("sqrt", "root", x="v+"),
        op("divide", "n", x="d", y="root"),
        op("unsqueeze", "g3", x=scale),
        op("multiply", "m", x="g3", y="n"),
        op("unsqueeze", "s3", x="s"),
        op("add", "y", x="m", y="s3"),
    ]


def test_a_normalisation_that_is_written_out():
    (layer,) = reduced(*put_norms_together(written_norm(), NORM), parameters=NORM).layers
    assert (layer.kind, roles(layer)) == ("layer_norm", {"scale": "g", "bias": "s"})
    assert layer.settings == {"epsilon": 1e-6}
    assert layer.sources == {(INPUT, ())}


def test_what_only_looks_like_a_normalisation_stays():
    for odd in (written_norm(again="x"), written_norm(scale="x"), written_norm()[1:]):
        assert put_norms_together(odd, NORM) == tuple(odd)


def test_tables_of_positions_are_told_apart_by_the_axis_that_they_follow():
    tables = {"rows": (7, 4), "columns": (7, 4)}
    operations = [
        op("gather_nd", "r", x="rows", index="places"),
        op("einsum", "a", x=("x", "r"), attributes={"equation": "bhwc,hkc->bhwk"}),
        op("gather_nd", "c", x="columns", index="places"),
        op("einsum", "b", x=("x", "c"), attributes={"equation": "nmhwd, wkd -> nmhwk"}),
        op("add", "y", x="a", y="b"),
    ]
    program = layer_graph(operations, tables, ["x"], ["y"], merged=True)
    assert [roles(layer) for layer in program.layers] == [
        {"table-3": "rows"},
        {"table-2": "columns"},
    ]
