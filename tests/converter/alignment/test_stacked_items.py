"""Items that a program takes out of a stack are followed as themselves."""

from __future__ import annotations

import pytest

from converter.alignment.layer_graph import LayerGraph, program_graph
from converter.alignment.stacked_items import take_items
from converter.sources.ir import Operation, Program, TensorSpec

SHAPE = (4, 4)


def linear(output: str, weight: str) -> Operation:
    return Operation("matmul", {"x": ("x",), "y": (weight,)}, (output,), {"transpose_y": False})


def taken(**slices: object) -> LayerGraph:
    """Stack what two layers give, take one of both, and put it into a third layer."""
    attributes = {"axes": (1,), "starts": (-1,), "ends": (9,), "decrease_axis": (1,), **slices}
    operations = (
        linear("a", "first"),
        linear("b", "second"),
        Operation("stack", {"x": ("a", "b")}, ("s",), {"axis": 1}),
        Operation("slice", {"x": ("s",)}, ("t",), attributes),
        Operation("matmul", {"x": ("t",), "y": ("third",)}, ("y",), {"transpose_y": False}),
    )
    names = ("first", "second", "third")
    parameters = {name: TensorSpec(name, SHAPE, "float32") for name in names}
    specs = (TensorSpec("x", (-1, 4), "float32"),)
    return program_graph(Program("pir", operations, parameters, specs, ("y",), b""))


def test_a_constant_that_is_cut_is_no_item():
    cut = Operation("slice", {}, ("c",), {"axes": (0,), "starts": (0,)})  # as in ONNX files
    stack = Operation("stack", {"x": ("a", "b")}, ("s",), {"axis": 0})
    assert take_items((stack, cut)) == (stack, cut)


@pytest.mark.parametrize(("start", "layer"), [(-1, 1), (0, 0), (1, 1), (-2, 0)])
def test_an_item_comes_from_its_layer_alone(start, layer):
    assert taken(starts=(start,)).layers[2].sources == {(layer, ())}


@pytest.mark.parametrize(
    "slices",
    [
        {"axes": (0,), "decrease_axis": (0,)},
        {"decrease_axis": ()},
        {"axes": (1, 2), "starts": (0, 0)},
        {"starts": (2,)},
    ],
    ids=["another axis", "a part of the stack", "two axes", "beyond the stack"],
)
def test_other_slices_come_from_the_whole_stack(slices):
    assert taken(**slices).layers[2].sources == {(0, ("concat:0",)), (1, ("concat:1",))}
