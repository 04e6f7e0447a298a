"""Plans applied backwards: what `apply` made of arrays becomes the arrays again."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from converter.errors import MappingError
from converter.mapping import ops
from converter.mapping.invert import invert
from converter.mapping.ops import Operation, ReorderGates, Squeeze, Transpose
from converter.mapping.plan import Move, Plan, Signature, signature_of

MATRIX = np.arange(24, dtype=np.float32).reshape(4, 6)

steps = st.lists(
    st.one_of(
        st.just(Transpose()),
        st.permutations(range(2)).map(tuple).map(ReorderGates),
    ),
    max_size=4,
)


@given(steps)
def test_operations_are_undone_in_reverse(operations: list[Operation]):
    result = ops.array_after(operations, MATRIX)
    assert np.array_equal(ops.array_before(operations, result), MATRIX)


@pytest.mark.parametrize("axis", [0, 2, -1, -3])
def test_an_axis_of_length_one_comes_back(axis):
    array = MATRIX[None, :, :1] if axis in (0, -3) else MATRIX[:, :, None]
    step = Squeeze(axis)
    assert step.undo(step.array(array)).shape == array.shape


def test_three_gates_come_back():
    step = ReorderGates((1, 2, 0))
    array = np.arange(6)
    assert step.array(array).tolist() == [2, 3, 4, 5, 0, 1]
    assert step.undo(step.array(array)).tolist() == array.tolist()


def inverted(plan: Plan, source: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Apply the moves of a plan, and its inverse to the result."""
    state = {}
    for move in plan.moves:
        arrays = [ops.array_after(move.operations, source[name]) for name in move.sources]
        joined = np.concatenate(arrays, move.axis)
        state[move.target] = np.split(joined, move.parts, move.axis)[move.part]
    return invert(plan, state, {name: signature_of(array) for name, array in source.items()})


def same(found: dict[str, np.ndarray], source: dict[str, np.ndarray]) -> bool:
    return list(found) == list(source) and all(np.array_equal(found[k], source[k]) for k in source)


def test_joined_tensors_are_taken_apart():
    source = {"a": MATRIX, "b": MATRIX[:2] + 100}
    plan = Plan((Move("ab", ("a", "b"), (Transpose(),), axis=1),))
    assert same(inverted(plan, source), source)


def test_pieces_are_joined():
    pieces = (Move("x", ("ab",), (), 0, 0, 2), Move("y", ("ab",), (), 0, 1, 2))
    for moves in (pieces, pieces[::-1]):
        assert same(inverted(Plan(moves), {"ab": MATRIX}), {"ab": MATRIX})


def test_second_names_hold_the_first_ones_array():
    source = {"first": MATRIX, "second": MATRIX}
    plan = Plan((Move("x", ("first",), (Transpose(),)),), aliases={"second": "first"})
    assert same(inverted(plan, source), source)


def test_dropped_tensors_are_left_out():
    plan = Plan((Move("x", ("a",)),), drops={"guide": "training"})
    assert list(inverted(plan, {"guide": MATRIX, "a": MATRIX})) == ["a"]


def test_joined_tensors_of_other_lengths_are_an_error():
    plan = Plan((Move("ab", ("a", "b")),))
    lengths = {"a": Signature((2, 6)), "b": Signature((3, 6))}
    with pytest.raises(MappingError, match="ab has 4 rows, a, b have 2 \\+ 3"):
        invert(plan, {"ab": MATRIX}, lengths)
