"""Each operation on readable integers, its shape against numpy's, and round trips."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from converter.mapping.ops import (
    ReorderGates,
    Squeeze,
    Transpose,
    array_after,
    concat_shape,
    parse,
    shape_after,
    split_shape,
)

shapes = st.lists(st.integers(0, 6), max_size=4).map(tuple)
operations = st.one_of(
    st.just(Transpose()),
    st.integers(-4, 4).map(Squeeze),
    st.integers(1, 4).flatmap(lambda n: st.permutations(range(n))).map(tuple).map(ReorderGates),
)


def test_transpose():
    given_, wanted = [[0, 1, 2], [3, 4, 5]], [[0, 3], [1, 4], [2, 5]]
    assert Transpose().array(np.array(given_)).tolist() == wanted


def test_transpose_changes_a_square_matrix_too():
    assert Transpose().array(np.arange(4).reshape(2, 2)).tolist() == [[0, 2], [1, 3]]


def test_squeeze():
    array = np.arange(3).reshape(1, 3, 1)
    assert Squeeze(0).array(array).tolist() == [[0], [1], [2]]
    assert Squeeze(-1).array(array).tolist() == [[0, 1, 2]]


def test_reorder_gates():
    gates = np.arange(8).reshape(8, 1)
    assert ReorderGates((0, 2, 1, 3)).array(gates).ravel().tolist() == [0, 1, 4, 5, 2, 3, 6, 7]
    assert ReorderGates((2, 0, 1)).array(np.arange(6)).tolist() == [4, 5, 0, 1, 2, 3]


def test_operations_are_applied_in_turn():
    steps = (Squeeze(0), Transpose(), ReorderGates((1, 0)))
    array = np.arange(6).reshape(1, 3, 2)
    assert array_after(steps, array).tolist() == [[1, 3, 5], [0, 2, 4]]
    assert shape_after(steps, array.shape) == (2, 3)
    assert array_after((), array) is array


@given(operations, shapes.filter(bool))
def test_the_shape_is_that_of_the_array(operation, shape):
    array = np.arange(np.prod(shape, dtype=int)).reshape(shape)
    try:
        expected = operation.shape(shape)
    except ValueError:
        if not isinstance(operation, Transpose):  # numpy transposes anything
            with pytest.raises((ValueError, IndexError)):
                operation.array(array)
        return
    result = operation.array(array)
    assert result.shape == expected
    assert sorted(result.ravel()) == sorted(array.ravel())


@pytest.mark.parametrize("shape", [(), (3,), (2, 3, 4)])
def test_transpose_takes_matrices_alone(shape):
    with pytest.raises(ValueError, match="takes a matrix"):
        Transpose().shape(shape)


@given(st.integers(1, 5).flatmap(lambda n: st.permutations(range(n))))
def test_reordering_back(order):
    array = np.arange(2 * len(order))
    back = tuple(int(i) for i in np.argsort(order))
    there = ReorderGates(tuple(order)).array(array)
    assert ReorderGates(back).array(there).tolist() == array.tolist()


@given(st.lists(shapes, min_size=1, max_size=3), st.integers(0, 3))
def test_joined_shapes(parts, axis):
    try:
        expected = np.concatenate([np.zeros(part) for part in parts], axis).shape
    except ValueError:
        with pytest.raises(ValueError, match="cannot join"):
            concat_shape(parts, axis)
    else:
        assert concat_shape(parts, axis) == expected


@given(shapes, st.integers(1, 4), st.integers(0, 3))
def test_split_shapes(shape, parts, axis):
    try:
        expected = np.split(np.zeros(shape), parts, axis)[0].shape
    except (ValueError, IndexError):
        with pytest.raises(ValueError, match="cannot split"):
            split_shape(shape, parts, axis)
    else:
        assert split_shape(shape, parts, axis) == expected


@given(shapes.filter(bool), st.data())
def test_splitting_what_was_joined(shape, data):
    axis = data.draw(st.integers(0, len(shape) - 1))
    assert split_shape(concat_shape([shape] * 3, axis), 3, axis) == shape


@pytest.mark.parametrize(
    ("step", "operation"),
    [
        ("transpose", Transpose()),
        ({"squeeze": -1}, Squeeze(-1)),
        ({"reorder_gates": [0, 2, 1, 3]}, ReorderGates((0, 2, 1, 3))),
    ],
)
def test_parse(step, operation):
    assert parse(step) == operation


@pytest.mark.parametrize(
    "step",
    [
        "transpose!",
        "squeeze",
        None,
        3,
        {},
        {"transpose": 0},
        {"squeeze": "0"},
        {"squeeze": True},
        {"squeeze": 0, "transpose": 1},
        {"reorder_gates": []},
        {"reorder_gates": [0, 0]},
        {"reorder_gates": [1, 2]},
        {"reorder_gates": [[0]]},
        {"reorder_gates": 1},
        {"reorder_gates": "01"},
    ],
)
def test_the_set_of_operations_is_closed(step):
    with pytest.raises(ValueError, match="unknown operation"):
        parse(step)
