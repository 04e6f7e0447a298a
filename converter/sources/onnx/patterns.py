"""Layers that exporters write as several operations, put together again.

A bias behind a convolution, and a layer normalisation (https://arxiv.org/abs/1607.06450) of its
mean, variance, scale and shift. Paddle2ONNX: `mapper/nn/layer_norm.cc`, `mapper/tensor/reshape.cc`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from converter.sources.onnx.graph import Constants, Node, users, uses

_CONVOLUTIONS = {"Conv": 0, "ConvTranspose": 1}  # the axis of the weight with the output channels


def put_together(
    nodes: Sequence[Node], constants: Constants, outputs: Iterable[str]
) -> tuple[Node, ...]:
    """Return the operations with each such group replaced by one operation.

    Args:
        nodes: the operations of a graph.
        constants: its constants.
        outputs: the values that it gives.
    """
    search = _Search(nodes, constants, outputs)
    replaced: dict[int, Node | None] = {}
    for place, node in enumerate(nodes):
        if node.kind == "Div":
            replaced |= search.layer_norm(place)
        elif node.kind == "Add" and place not in replaced:
            replaced |= search.bias(place)
    found = (replaced.get(place, node) for place, node in enumerate(nodes))
    return tuple(search.with_bodies(node) for node in found if node is not None)


class _Search:
    def __init__(self, nodes: Sequence[Node], constants: Constants, outputs: Iterable[str]) -> None:
        self.nodes, self.constants = nodes, constants
        self.makers = {value: i for i, node in enumerate(nodes) for value in node.outputs}
        self.uses = uses(nodes, outputs)
        self.users = users(nodes)

    def with_bodies(self, node: Node) -> Node:
        """Return an operation with groups put together in its loop or branches, too."""
        bodies = (
            replace(body, nodes=put_together(body.nodes, self.constants, body.results))
            for body in node.blocks
        )
        return replace(node, blocks=tuple(bodies)) if node.blocks else node

    def bias(self, place: int) -> Mapping[int, Node | None]:
        """Return the convolution with the constant that the addition at `place` adds to it."""
        addition = self.nodes[place]
        for value, constant in _both_ways(addition):
            maker = self.makers.get(value, -1)
            if maker < 0 or constant not in self.constants or self.uses[value] != 1:
                continue
            layer = self.nodes[maker]
            axis = _CONVOLUTIONS.get(layer.kind)
            weight = self.constants.arrays.get(layer.operand(1))
            if axis is None or weight is None or weight.ndim < 3 or layer.operand(2):
                continue
            channels = weight.shape[axis] * (layer.attributes.get("group", 1) if axis else 1)
            shape = self.constants.arrays[constant].shape
            if shape[-weight.ndim + 1 :] != (channels,) + (1,) * (weight.ndim - 2):
                continue
            if len(shape) < weight.ndim or shape[0] == 1:
                inputs = (*layer.inputs[:2], constant)
                return {maker: replace(layer, inputs=inputs, outputs=addition.outputs), place: None}
        return {}

    def layer_norm(self, place: int) -> Mapping[int, Node | None]:
        """Return the layer normalisation in which the division at `place` is; else nothing."""
        centered, deviation = self.nodes[place].inputs[:2]
        subtraction = self.made_by("Sub", centered)
        root = self.made_by("Sqrt", deviation)
        if subtraction is None or root is None:
            return {}
        x, mean = self.nodes[subtraction].inputs[:2]
        first_mean = self.made_by("ReduceMean", mean)
        if first_mean is None or self.nodes[first_mean].inputs[0] != x:
            return {}
        for value, constant in _both_ways(self.nodes[self.makers[self.nodes[root].inputs[0]]]):
            second_mean = self.made_by("ReduceMean", value)
            epsilon = self.constants.setting(constant)
            if second_mean is not None and epsilon is not None:
                break
        else:
            return {}
        square = self.square_of(self.nodes[second_mean].inputs[0], centered)
        if square is None:
            return {}
        inner = [first_mean, subtraction, square, second_mean, root, place]
        inner.append(self.makers[self.nodes[root].inputs[0]])
        value, scale, scaled = self.then("Mul", self.nodes[place].outputs[0])
        value, shift, shifted = self.then("Add", value)
        inner += [i for i in (scaled, shifted) if i is not None]
        axes = self.nodes[first_mean].attributes.get("axes", ())
        attributes = {"epsilon": epsilon, "axes": axes}
        whole = Node("LayerNormalization", (x, scale, shift), (value,), attributes)
        return {**dict.fromkeys(inner), max(inner): whole}

    def made_by(self, kind: str, value: str) -> int | None:
        """Return the place of the operation that gives a value, if it is of this kind."""
        maker = self.makers.get(value)
        return maker if maker is not None and self.nodes[maker].kind == kind else None

    def square_of(self, value: str, base: str) -> int | None:
        """Return the place of the operation by which a value is the square of another."""
        maker = self.makers.get(value)
        if maker is None:
            return None
        node = self.nodes[maker]
        power = node.kind == "Pow" and self.constants.scalar(node.operand(1)) == 2
        product = node.kind == "Mul" and node.operand(1) == base
        return maker if node.inputs[0] == base and (power or product) else None

    def then(self, kind: str, value: str) -> tuple[str, str, int | None]:
        """Return what a following operation with a vector gives, the vector, and its place."""
        user = self.users.get(value)
        if user is not None and self.uses[value] == 1 and self.nodes[user].kind == kind:
            for operand, vector in _both_ways(self.nodes[user]):
                array = self.constants.arrays.get(vector)
                if operand == value and array is not None and is_vector(array):
                    return self.nodes[user].outputs[0], vector, user
        return value, "", None


def is_vector(array: np.ndarray) -> bool:
    """Return whether an array holds several numbers, all along one axis."""
    return np.issubdtype(array.dtype, np.floating) and 1 < array.size == max(array.shape)


def _both_ways(node: Node) -> tuple[tuple[str, str], ...]:
    """Return the two operands of an operation in both orders; nothing if there are others."""
    if len(node.inputs) != 2:
        return ()
    first, second = node.inputs
    return (first, second), (second, first)
