"""The closed set of operations that a mapping may apply to a tensor.

Each computes the shape of its result, so that a plan is checked before any array moves, and the
result itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

Shape = tuple[int, ...]


class Operation(Protocol):
    """One step on one tensor."""

    def shape(self, shape: Shape) -> Shape:
        """Return the shape of the result; ValueError where the operation does not apply."""
        ...

    def array(self, array: np.ndarray) -> np.ndarray:
        """Return the result, a view where that is possible."""
        ...

    def undo(self, array: np.ndarray) -> np.ndarray:
        """Return the array of which `array` is the result, a view where that is possible."""
        ...


@dataclass(frozen=True)
class Transpose:
    """Swap the two axes of a matrix: Paddle's Linear is [in, out], PyTorch's [out, in]."""

    def shape(self, shape: Shape) -> Shape:
        if len(shape) != 2:
            raise ValueError(f"transpose takes a matrix, not {shape}")
        return shape[::-1]

    def array(self, array: np.ndarray) -> np.ndarray:
        return array.T

    def undo(self, array: np.ndarray) -> np.ndarray:
        return array.T


@dataclass(frozen=True)
class Squeeze:
    """Remove an axis of length one."""

    axis: int

    def shape(self, shape: Shape) -> Shape:
        if not -len(shape) <= self.axis < len(shape) or shape[self.axis] != 1:
            raise ValueError(f"squeeze {self.axis} takes an axis of length one, not {shape}")
        axis = self.axis % len(shape)
        return shape[:axis] + shape[axis + 1 :]

    def array(self, array: np.ndarray) -> np.ndarray:
        return np.squeeze(array, self.axis)

    def undo(self, array: np.ndarray) -> np.ndarray:
        return np.expand_dims(array, self.axis)


@dataclass(frozen=True)
class ReorderGates:
    """Reorder the equal blocks of the first axis: block i of the result is block order[i]."""

    order: tuple[int, ...]

    def shape(self, shape: Shape) -> Shape:
        if not shape or shape[0] % len(self.order):
            raise ValueError(f"{len(self.order)} gates do not divide {shape}")
        return shape

    def array(self, array: np.ndarray) -> np.ndarray:
        blocks = np.split(array, len(self.order))
        return np.concatenate([blocks[gate] for gate in self.order])

    def undo(self, array: np.ndarray) -> np.ndarray:
        blocks = np.split(array, len(self.order))
        return np.concatenate([blocks[self.order.index(gate)] for gate in range(len(blocks))])


def parse(step: Any) -> Operation:
    """Read one step of a mapping file: `transpose`, `{squeeze: 0}`, `{reorder_gates: [0, 1]}`."""
    if step == "transpose":
        return Transpose()
    if isinstance(step, dict) and len(step) == 1:
        name, value = next(iter(step.items()))
        if name == "squeeze" and type(value) is int:
            return Squeeze(value)
        gates = value if name == "reorder_gates" and isinstance(value, list) else []
        if gates and all(gate in gates for gate in range(len(gates))):
            return ReorderGates(tuple(gates))
    raise ValueError(
        f"unknown operation {step!r}; there are transpose, {{squeeze: AXIS}} "
        "and {reorder_gates: [a permutation]}"
    )


def shape_after(operations: Sequence[Operation], shape: Shape) -> Shape:
    """Return the shape of the result when all operations are applied in turn."""
    for operation in operations:
        shape = operation.shape(shape)
    return shape


def array_after(operations: Sequence[Operation], array: np.ndarray) -> np.ndarray:
    """Return the result when all operations are applied in turn."""
    for operation in operations:
        array = operation.array(array)
    return array


def array_before(operations: Sequence[Operation], array: np.ndarray) -> np.ndarray:
    """Return the array that all operations, applied in turn, made `array` of."""
    for operation in reversed(operations):
        array = operation.undo(array)
    return array


def concat_shape(shapes: Sequence[Shape], axis: int) -> Shape:
    """Return the shape of tensors joined along `axis`; ValueError where they do not fit."""
    first = shapes[0]
    rest = {shape[:axis] + shape[axis + 1 :] for shape in shapes}
    if len(rest) != 1 or any(len(shape) <= axis for shape in shapes):
        raise ValueError(f"cannot join {', '.join(map(str, shapes))} along axis {axis}")
    return (*first[:axis], sum(shape[axis] for shape in shapes), *first[axis + 1 :])


def split_shape(shape: Shape, parts: int, axis: int) -> Shape:
    """Return the shape of each of `parts` equal pieces along `axis`; ValueError if uneven."""
    if len(shape) <= axis or shape[axis] % parts:
        raise ValueError(f"cannot split {shape} into {parts} along axis {axis}")
    return (*shape[:axis], shape[axis] // parts, *shape[axis + 1 :])
