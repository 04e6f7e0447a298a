"""Whole numbers that rounding or an unstable sort decides: the program's, checked by our values."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace

import numpy as np
import pytest

from converter.references.choices import Choice, choices, compare_choices, compare_numbers
from converter.sources.ir import Operation, Program, TensorSpec

TOPK, SORT, CUT = (
    Choice(kind, "values", "chosen", "theirs") for kind in ("topk", "argsort", "long")
)
SCORES = np.array([[0.5, 0.9, 0.1, 0.9 - 1e-6]])
FLAGS = np.array([[0, 1, 0, 1]], np.int32)
CORNERS = np.array([[0.0, 9.9, 9.99999, 10.00001]])


def compared(choice: Choice, values: np.ndarray, theirs: Sequence[int]) -> str:
    numbers = {"chosen": np.array([theirs])}
    (found,) = compare_choices([choice], numbers, {"values": values}, (1, 3, 8, 8), 1e-4)
    return found.fault


@pytest.mark.parametrize(
    ("choice", "values", "right", "wrong"),
    [
        (TOPK, SCORES, [[1, 3], [3, 1]], [[0, 1], [1, 2]]),
        (SORT, FLAGS, [[1, 3, 0, 2], [3, 1, 2, 0]], [[0, 1, 2, 3], [1, 0, 3, 2]]),
        (SORT, 0 * FLAGS, [[3, 1, 0, 2]], []),
        (CUT, CORNERS, [[0, 9, 9, 10], [0, 9, 10, 9]], [[0, 10, 9, 10], [1, 9, 9, 10]]),
    ],
    ids=["positions", "order", "order of equal ones", "coordinates"],
)  # fmt: skip
def test_only_what_rounding_decides_may_differ(choice, values, right, wrong):
    assert [compared(choice, values, numbers) for numbers in right] == [""] * len(right)
    assert all(compared(choice, values, numbers) for numbers in wrong)


@pytest.mark.parametrize(
    ("choice", "theirs", "reason"),
    [
        (TOPK, [[1, 1]], "one place twice"),
        (TOPK, [[1, 4]], "from 1 to 4 in the program; from 0 to 3"),
        (TOPK, [[-1, 2]], "from -1 to 2"),
        (TOPK, [[1, 2, 3]], "(1, 3) of them, our network (1, 2)"),
        (CUT, [[1, 700]], "from 1 to 700 in the program; from 0 to 4"),
    ],
)
def test_numbers_that_our_network_cannot_take(choice, theirs, reason):
    ours = {"values": SCORES, "chosen": np.array([[1, 3]])}
    (found,) = compare_numbers([choice], {"chosen": np.array(theirs)}, ours, (1, 3, 8, 8), 1e-4)
    assert found.difference == np.inf
    assert reason in found.fault
    assert not compare_numbers([choice], {"chosen": np.array([[3, 1]])}, ours, (1, 3, 8, 8), 1e-4)


OURS = (
    Operation("topk", {"0": ("a",)}, ("b", "places"), {}),
    Operation("argsort", {"0": ("c",)}, ("order",), {}),
    Operation("long", {"0": ("d",)}, ("whole",), {}),
)
THEIRS = (
    Operation("cast", {"x": ("flags",)}, ("numbers",), {"dtype": "int64"}),
    Operation("cumsum", {"x": ("numbers",)}, ("sums",), {}),
    Operation("topk", {"x": ("e",)}, ("best", "best_places"), {}),
    Operation("argsort", {"0": ("g",)}, ("sorted", "sorted_places"), {}),
    Operation("cast", {"x": ("h",)}, ("corners",), {"dtype": "int64"}),
    *(Operation("slice", {"x": ("corners",)}, (side,), {}) for side in ("left", "top")),
    Operation("argsort", {"0": ("left",)}, ("i", "after_the_network"), {}),
)


@pytest.mark.parametrize(("head", "count"), [("PPDocLayoutV2", 3), ("RTDETRTransformer", 0)])
def test_what_both_sides_choose(head, count):
    network = SimpleNamespace(architecture={"Head": {"name": head}})
    specs = (TensorSpec("image", (1, 3, 8, 8), "float32"),)
    found = choices(network, OURS, Program("pir", THEIRS, {}, specs, ("top",), b""))
    expected = (
        Choice("topk", "a", "places", "best_places"),
        Choice("argsort", "c", "order", "sorted_places"),
        Choice("long", "d", "whole", "corners"),
    )
    assert found == expected[:count]
