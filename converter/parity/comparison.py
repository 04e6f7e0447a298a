"""Comparing arrays that Paddle and PyTorch computed.

The measure is max|difference| / max|reference|, on logits wherever they can be had: a softmax sums
to one and a sigmoid saturates whatever the weights, so probabilities alone prove little. Honest
conversions stay below 2e-5, one square Linear left untransposed gives 0.4. What hides in the
rounding, the epsilon of a normalisation, is compared by structure instead.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from converter.parity import decisions
from converter.parity.implied_limits import implied_limit

if TYPE_CHECKING:
    from architectures import Model

LIMIT = 1e-4
INNER = 10  # apart from logits the limit is ten times as wide; honest rounding reaches 5e-4 there
INTEGERS = "iub"  # NumPy's kinds of data types that are compared exactly
DECADES = tuple(10.0**exponent for exponent in range(-9, 0))


@dataclass(frozen=True)
class Comparison:
    """One array of the reference against ours.

    `difference` is max|difference| / max|reference|; `where` is the index of the largest
    difference. Where each element has a limit of its own, `difference`, `limit` and `where` are
    those of the element that is nearest to its limit, or furthest beyond it.

    `fault` is empty if the comparison passed, else says why not. `histogram` counts the elements by
    |difference| / max|reference|: up to the first of DECADES, from each to the next, above the
    last. It is empty where no elements were compared (decisions, epsilons, statistics of a layer,
    arrays that are not finite) or where they have no limit in common.
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
    allowed: np.ndarray | None = None,
) -> Comparison:
    """Compare two arrays of one shape; NaN, infinity and another shape are faults.

    Args:
        probe: name of the arrays in the report.
        expected: the reference's.
        actual: ours.
        input_shape: shape of the network's input, for the report.
        limit: allowed difference, as a fraction of max|reference|.
        constant_passes: whether a constant reference, which proves nothing, may pass.
        largest: max|reference| of the whole, where the arrays are samples of it.
        allowed: allowed absolute difference of each element, in place of `limit`.
    """
    whole = _largest(expected) if largest is None else largest
    histogram: tuple[int, ...] = ()

    def outcome(
        difference: float, where: tuple[int, ...] = (), fault: str = "", limit: float = limit
    ) -> Comparison:
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
    if allowed is not None and whole:
        return _within(outcome, gap / whole, allowed / whole)
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


def _within(
    outcome: Callable[..., Comparison], difference: np.ndarray, allowed: np.ndarray
) -> Comparison:
    """Return the outcome where each element, (...) relative to the maximum, has its own limit."""
    where = np.unravel_index((difference / allowed).argmax(), difference.shape)
    worst, most = float(difference[where]), float(allowed[where])
    place = tuple(map(int, where))
    fault = (
        f"the difference at {place} is {worst:.2e} of the reference's maximum; what its logits may "
        f"differ by allows {most:.1e} there"
    )
    return outcome(worst, place, "" if worst <= most else fault, limit=most)


def compare_integers(
    probe: str, expected: np.ndarray, actual: np.ndarray, *, input_shape: tuple[int, ...]
) -> Comparison:
    """Compare integers (characters, counts, lengths), which must be equal.

    They may be constant: the text that seeded weights produce often is.

    Args:
        probe: name of the arrays in the report.
        expected: the reference's.
        actual: ours.
        input_shape: shape of the network's input, for the report.
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
    logits: Mapping[str, np.ndarray] | None = None,
) -> list[Comparison]:
    """Compare each result of a network, `output` or `output.NAME`, and the decisions they lead to.

    Results may differ by `INNER` times the limit; those that the network declares as a function of
    logits, by what the limit of these implies (`implied_limits.py`).

    Args:
        network: our network, which declares what its results are.
        task: one of the catalog's TASKS.
        expected: Paddle's results, by name.
        actual: ours, by the same names.
        input_shape: shape of the network's input, for the report.
        limit: that of logits.
        logits: outputs of the reference's last layers, by our full names, that were compared.
    """
    if list(expected) != list(actual):
        theirs, ours = (", ".join(results) or "nothing" for results in (expected, actual))
        fault = f"Paddle gives {theirs}, PyTorch {ours}"
        return [Comparison("results", input_shape, (), math.inf, 0.0, limit, (), fault)]
    if network.stepwise:
        expected = {name: common_steps(array, actual[name]) for name, array in expected.items()}
    allowed = _implied_limits(network, expected, logits or {}, limit)
    comparisons = [
        compare_integers(name, array, actual[name], input_shape=input_shape)
        if array.dtype.kind in INTEGERS
        else compare(
            name,
            array,
            actual[name],
            input_shape=input_shape,
            limit=INNER * limit,
            allowed=allowed.get(name),
        )
        for name, array in expected.items()
    ]
    for decided_by in _DECISION_TASKS.get(task, (task,)):
        name, threshold = _deciding_result(network, decided_by)
        key = name if name in expected else f"output.{name}"
        pair = [results[key] for results in (expected, actual)]
        if task == "e2e" and decided_by == "rec":
            pair = [_pixels_as_steps(maps) for maps in pair]
        decided = compare_decisions(
            decided_by,
            *pair,
            input_shape=input_shape,
            limit=limit,
            threshold=threshold,
            allowed=allowed.get(key),
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
    allowed: np.ndarray | None = None,
) -> Comparison:
    """Compare decisions: text for rec, classes for cls, boxes for det, pixels for sr.

    Where rounding alone could cross the threshold, exchange the two best classes or reach the next
    pixel value, either decision is right.

    Args:
        task: det, rec, cls or sr.
        expected: Paddle's final output: (N, C, H, W) for det, whose first channel is high where
            text is, and for sr, with values from 0, black, to 1, white; (N, T, C) for rec, or
            (N, T) class indices; (N, C) for cls.
        actual: ours.
        input_shape: shape of the network's input, for the report.
        limit: allowed rounding, as a fraction of max|expected|.
        threshold: for det, above which a pixel counts as text.
        allowed: allowed absolute difference of each element, in place of `limit`.
    """
    fault = ""
    if expected.shape != actual.shape:
        fault = f"Paddle gives {expected.shape}, PyTorch {actual.shape}"
    else:
        if task == "det":
            decided = decisions.boxes(expected, actual, INNER * limit, threshold, allowed)
        elif task == "sr":
            decided = decisions.pixels(expected, actual, limit)
        else:
            decided = decisions.classes(expected, actual, limit, allowed)
        if unlike := decisions.first_unlike(*decided):
            fault = f"Paddle decides {unlike}"
    return Comparison(
        f"decisions ({_DECISION_NAMES[task]})",
        input_shape,
        tuple(expected.shape),
        np.inf if fault else 0.0,
        1.0,
        limit,
        (),
        fault,
    )


def _deciding_result(network: Model, task: str) -> tuple[str, float]:
    """Return the name of the result that decisions are made from, and its threshold (else 0)."""
    if task == "det":
        return network.text_map
    return network.sr_output if task == "sr" else network.text_scores, 0.0


def _implied_limits(
    network: Model,
    expected: Mapping[str, np.ndarray],
    logits: Mapping[str, np.ndarray],
    limit: float,
) -> dict[str, np.ndarray]:
    """Return the allowed differences of those results that are known functions of logits."""
    if not logits:
        return {}
    limits = {
        name: implied_limit(activation, logits, array, limit)
        for name, array in expected.items()
        if (activation := network.activations.get(name.removeprefix("output."))) is not None
    }
    return {name: array for name, array in limits.items() if array is not None}


def common_steps(expected: np.ndarray, actual: np.ndarray) -> np.ndarray:
    """Cut the step that an export of a decoding loop has after the end token; arrays (N, T, ...).

    The exported loop counts its steps before it sees the end token, so its last row was decoded by
    none. PaddleOCR's post-processing stops at the end token and never reads that row.
    """
    one_more = expected.ndim > 1 and expected.shape[1] == actual.shape[1] + 1
    return expected[:, :-1] if one_more else expected


def _pixels_as_steps(maps: np.ndarray) -> np.ndarray:
    """Reshape maps (N, C, H, W) to sequences (N, H * W, C)."""
    return maps.reshape(*maps.shape[:2], -1).swapaxes(1, 2)


def finite(value: Any) -> Any:
    """Replace the numbers that JSON cannot hold, NaN and infinity, by None."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(finite(item) for item in value)
    return None if isinstance(value, float) and not math.isfinite(value) else value


# Tasks whose decisions are those of other tasks.
_DECISION_TASKS: Mapping[str, tuple[str, ...]] = {
    "e2e": ("det", "rec"),
    "formula": ("rec",),
    "table": ("rec",),
    "unwarp": ("sr",),
    "layout": (),  # boxes are compared as numbers
    "kie": ("tokens",),
}
_DECISION_NAMES = {
    "det": "boxes",
    "rec": "text",
    "cls": "classes",
    "sr": "pixels",
    "tokens": "classes",
}
