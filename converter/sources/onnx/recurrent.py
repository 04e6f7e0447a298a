"""LSTM and GRU operations of ONNX as the one operation that Paddle has for all their layers.

ONNX has an operation for each layer, with its gates in another order and its weights as one tensor
for both directions. Source: https://onnx.ai/onnx/operators/onnx__LSTM.html, onnx__GRU.html;
Paddle2ONNX: `mapper/nn/rnn.cc`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from converter.sources.onnx.graph import Constants, Node, users, uses

KIND = "rnn"
"""The kind of the operations that are made here, which is none of ONNX's."""

# For each gate in Paddle's order (LSTM: input, forget, cell, output; GRU: reset, update, candidate)
# its place in ONNX's.
_GATES = {"LSTM": (0, 2, 3, 1), "GRU": (1, 0, 2)}
_BETWEEN = {"Transpose", "Reshape", "Squeeze"}  # from (T, directions, N, C) to (T, N, C)


@dataclass
class _Stack:
    """Layers that feed each other: what enters the first, what leaves the last."""

    mode: str
    x: str
    output: str
    last: int
    matrices: list[str] = field(default_factory=list)
    biases: list[str] = field(default_factory=list)


def recurrent_layers(
    nodes: Sequence[Node], constants: Constants, outputs: Iterable[str]
) -> tuple[Node, ...]:
    """Return the operations with those of LSTM and GRU layers joined.

    The tensors of each layer and direction are added to the constants, named after the tensor that
    holds the input's weights. Operations whose weights are computed, or which differ from Paddle's
    in their formula, stay as they are, so that no layer corresponds to them.
    """
    used = uses(nodes, outputs)
    following = users(nodes)
    joined: dict[int, Node | None] = {}
    stacks: dict[str, _Stack] = {}
    for place, node in enumerate(nodes):
        parts = _parts(node, constants)
        if parts is None:
            continue
        stack = stacks.pop(node.inputs[0], None)
        if stack is None or stack.mode != node.kind or used[node.inputs[0]] != 1:
            stack = _Stack(node.kind, node.inputs[0], "", place)
        else:
            joined[stack.last] = None
        matrices, biases = parts
        stack.matrices += matrices
        stack.biases += biases
        stack.output, passed = node.outputs[0], [place]
        while used[stack.output] == 1 and (user := following.get(stack.output)) is not None:
            if nodes[user].kind not in _BETWEEN or nodes[user].inputs[0] != stack.output:
                break
            stack.output = nodes[user].outputs[0]
            passed.append(user)
        stack.last = passed[-1]
        stacks[stack.output] = stack
        joined |= dict.fromkeys(passed)
        values = (stack.x, *stack.matrices, *stack.biases)
        joined[stack.last] = Node(KIND, values, (stack.output,), {"mode": stack.mode})
    found = (joined.get(place, node) for place, node in enumerate(nodes))
    return tuple(node for node in found if node is not None)


def _parts(node: Node, constants: Constants) -> tuple[list[str], list[str]] | None:
    """Name the matrices and biases of a layer, in Paddle's order; None for another operation."""
    gates = _GATES.get(node.kind)
    weights = [constants.arrays.get(node.operand(place)) for place in (1, 2, 3)]
    if gates is None or any(array is None or array.dtype != np.float32 for array in weights):
        return None
    if not _as_paddle(node.kind, node.attributes) or node.operand(7):  # 7: peepholes
        return None
    by_input, by_state, bias = (array for array in weights if array is not None)
    if by_input.ndim != 3 or by_state.ndim != 3 or bias.ndim != 2:
        return None
    directions, rows, _ = by_input.shape
    if rows % len(gates) or by_state.shape[:2] != (directions, rows):
        return None
    if bias.shape != (directions, 2 * rows) or by_state.shape[2] != rows // len(gates):
        return None
    origin = constants.origins[node.operand(1)]
    matrices, biases = [], []
    for direction in range(directions):
        both = np.split(bias[direction], 2)
        arrays = (by_input[direction], by_state[direction], *both)
        names = [f"{origin}/{direction}/{part}" for part in ("w_ih", "w_hh", "b_ih", "b_hh")]
        for name, array in zip(names, arrays, strict=True):
            blocks = np.split(array, len(gates))
            constants.add(name, np.concatenate([blocks[gate] for gate in gates]))
        matrices += names[:2]
        biases += names[2:]
    return matrices, biases


def _as_paddle(kind: str, attributes: Mapping[str, object]) -> bool:
    """Return whether a layer computes what Paddle's does: its activations, no clipping."""
    usual = ("Sigmoid", "Tanh", "Tanh") if kind == "LSTM" else ("Sigmoid", "Tanh")
    activations = attributes.get("activations") or usual
    resets = kind == "LSTM" or attributes.get("linear_before_reset") == 1
    forward = attributes.get("direction", "forward") != "reverse"
    others = any(attributes.get(name) for name in ("clip", "input_forget", "layout"))
    return activations in (usual, usual * 2) and resets and forward and not others
