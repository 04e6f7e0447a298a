"""Comparing what Paddle and PyTorch computed, and the report of it.

The measure is max|difference| / max|reference|, on logits wherever they can be had: a softmax sums
to one and a sigmoid saturates whatever the weights, so probabilities alone prove little. Honest
conversions stay below 2e-5, one square Linear left untransposed gives 0.4. What hides in the
rounding, the epsilon of a normalisation, is compared by structure instead.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from converter.parity import decisions

if TYPE_CHECKING:
    from architectures import Model

LIMIT = 1e-4
INNER = 10  # apart from logits the limit is ten times as wide; honest rounding reaches 5e-4 there
INTEGERS = "iub"  # kinds of NumPy's that are compared exactly
DECADES = tuple(10.0**exponent for exponent in range(-9, 0))


@dataclass(frozen=True)
class Comparison:
    """One array of the reference against ours.

    `difference` is max|difference| / max|reference|; `where` is the index of the largest
    difference. `fault` is empty if the comparison passed, else says why not. `histogram` counts the
    elements by |difference| / max|reference|: up to the first of DECADES, from each to the next,
    above the last; it is empty where no elements were set against each other (decisions, epsilons,
    statistics of a layer, arrays that are not finite).
    """

    probe: str
    input_shape: tuple[int, ...]
    shape: tuple[int, ...]
    difference: float
    largest: float
    limit: float
    where: tuple[int, ...] = ()
    fault: str = ""
    histogram: tuple[int, ...] = ()


def compare(
    probe: str,
    expected: np.ndarray,
    actual: np.ndarray,
    *,
    input_shape: tuple[int, ...],
    limit: float = LIMIT,
    constant_passes: bool = False,
    largest: float | None = None,
) -> Comparison:
    """Compare two arrays; NaN, infinity and another shape are faults.

    So is a constant reference, which proves nothing, unless `constant_passes`. Where the arrays
    are samples, `largest` is the max|reference| of the whole.
    """
    whole = _largest(expected) if largest is None else largest
    histogram: tuple[int, ...] = ()

    def outcome(difference: float, where: tuple[int, ...] = (), fault: str = "") -> Comparison:
        return Comparison(
            probe,
            input_shape,
            tuple(expected.shape),
            difference,
            whole,
            limit,
            where,
            fault,
            histogram,
        )

    if expected.shape != actual.shape:
        return outcome(np.inf, fault=f"Paddle gives {expected.shape}, PyTorch {actual.shape}")
    if not np.isfinite(expected).all():
        return outcome(np.inf, fault="Paddle gives NaN or infinity")
    if not np.isfinite(actual).all():
        return outcome(np.inf, fault="PyTorch gives NaN or infinity where Paddle does not")
    constant = expected.size == 0 or (expected.size > 1 and expected.min() == expected.max())
    if constant and not constant_passes:
        return outcome(np.inf, fault="Paddle gives a constant, which proves nothing")
    if expected.size == 0:
        return outcome(0.0)
    gap = np.abs(expected.astype(np.float64) - actual)
    where = tuple(int(i) for i in np.unravel_index(gap.argmax(), gap.shape))
    histogram = _by_decade(gap, whole)
    same_zeros = constant_passes and not gap.any()
    difference = float(gap.max()) / whole if whole else 0.0 if same_zeros else np.inf
    if not difference <= limit:  # a record's own maximum may be NaN
        return outcome(
            difference,
            where,
            f"the largest difference is {difference:.2e} of the reference's maximum, at {where}; "
            f"the limit is {limit:.0e}",
        )
    return outcome(difference, where)


def compare_integers(
    probe: str, expected: np.ndarray, actual: np.ndarray, *, input_shape: tuple[int, ...]
) -> Comparison:
    """Compare integers, which are the same or at fault: characters, counts, lengths.

    They may all be one number, as the text of weights without meaning often is.
    """
    fault, where = "", tuple[int, ...]()
    if expected.shape != actual.shape:
        fault = f"Paddle gives {expected.shape}, PyTorch {actual.shape}"
    elif actual.dtype.kind not in INTEGERS:
        fault = f"Paddle gives integers ({expected.dtype}), PyTorch {actual.dtype}"
    elif (unlike := np.argwhere(expected != actual)).size:
        where = tuple(map(int, unlike[0]))
        fault = (
            f"{len(unlike)} of {expected.size} integers differ, the first at {where}: Paddle gives "
            f"{expected[where]}, PyTorch {actual[where]}"
        )
    largest = float(np.abs(expected.astype(np.float64)).max(initial=0.0))
    difference, shape = math.inf if fault else 0.0, tuple(expected.shape)
    return Comparison(probe, input_shape, shape, difference, largest, LIMIT, where, fault)


def _largest(array: np.ndarray) -> float:
    return float(np.abs(array).max(initial=0.0)) if np.isfinite(array).all() else np.inf


def _by_decade(gap: np.ndarray, largest: float) -> tuple[int, ...]:
    # Counting is some ten times as fast as np.histogram of the logarithms, and takes zeros.
    above = [int(np.count_nonzero(gap > decade * largest)) for decade in DECADES]
    return tuple(a - b for a, b in pairwise([gap.size, *above, 0]))


def compare_results(
    network: Model,
    task: str,
    expected: Mapping[str, np.ndarray],
    actual: Mapping[str, np.ndarray],
    *,
    input_shape: tuple[int, ...],
    limit: float = LIMIT,
) -> list[Comparison]:
    """Compare each result of a network, `output` or `output.NAME`, and what is decided from them.

    Args:
        network: ours; tells which of its results says where text is, which what it says, and which
            is an image.
        task: one of the catalog's TASKS.
        expected: Paddle's results.
        actual: ours.
        input_shape: for the report.
        limit: that of logits; results may differ by `INNER` times as much.
    """
    if list(expected) != list(actual):
        theirs, ours = (", ".join(results) or "nothing" for results in (expected, actual))
        fault = f"Paddle gives {theirs}, PyTorch {ours}"
        return [Comparison("results", input_shape, (), math.inf, 0.0, limit, (), fault)]
    comparisons = [
        compare_integers(name, array, actual[name], input_shape=input_shape)
        if array.dtype.kind in INTEGERS
        else compare(name, array, actual[name], input_shape=input_shape, limit=INNER * limit)
        for name, array in expected.items()
    ]
    for kind in _DECIDED.get(task, (task,)):
        name, threshold = _decisive(network, kind)
        decisive = name if name in expected else f"output.{name}"
        pair = [results[decisive] for results in (expected, actual)]
        if task == "e2e" and kind == "rec":
            pair = [_by_place(maps) for maps in pair]
        decided = compare_decisions(
            kind, *pair, input_shape=input_shape, limit=limit, threshold=threshold
        )
        comparisons.append(decided)
    return comparisons


def compare_decisions(
    task: str,
    expected: np.ndarray,
    actual: np.ndarray,
    *,
    input_shape: tuple[int, ...],
    limit: float = LIMIT,
    threshold: float = 0.0,
) -> Comparison:
    """Compare what is decided: text for rec, classes for cls, boxes for det, pixels for sr.

    Where Paddle's own value lies on the edge, within rounding of a threshold, of the second class
    or of the next pixel value, either decision is right.

    Args:
        task: det, rec, cls or sr.
        expected: Paddle's final output; (N, C, H, W) for det, text by the first channel, and for
            sr, black 0 and white 1; (N, T, C) for rec or its integers, (N, C) for cls.
        actual: ours.
        input_shape: for the report.
        limit: the rounding that is allowed, of the largest value.
        threshold: above which there is text, for det.
    """
    fault = ""
    if expected.shape != actual.shape:
        fault = f"Paddle gives {expected.shape}, PyTorch {actual.shape}"
    else:
        if task == "det":
            decided = decisions.boxes(expected, actual, INNER * limit, threshold)
        elif task == "sr":
            decided = decisions.pixels(expected, actual, limit)
        else:
            decided = decisions.classes(expected, actual, limit)
        if unlike := decisions.first_unlike(*decided):
            fault = f"Paddle decides {unlike}"
    return Comparison(
        f"decisions ({_DECISIONS[task]})",
        input_shape,
        tuple(expected.shape),
        np.inf if fault else 0.0,
        1.0,
        limit,
        (),
        fault,
    )


def _decisive(network: Model, kind: str) -> tuple[str, float]:
    """Return the result that something is decided by, and the threshold if there is one."""
    if kind == "det":
        return network.text_map
    return network.picture if kind == "sr" else network.text_scores, 0.0


def _by_place(maps: np.ndarray) -> np.ndarray:
    """Return maps (N, C, H, W) as (N, H * W, C)."""
    return maps.reshape(*maps.shape[:2], -1).swapaxes(1, 2)


def finite(value: Any) -> Any:
    """Return a value with None in place of the numbers that JSON cannot hold."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(finite(item) for item in value)
    return None if isinstance(value, float) and not math.isfinite(value) else value


_DECIDED = {"e2e": ("det", "rec"), "formula": ("rec",)}  # what a task decides that is not one thing
_DECISIONS = {"det": "boxes", "rec": "text", "cls": "classes", "sr": "pixels"}
