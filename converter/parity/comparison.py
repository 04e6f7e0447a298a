"""Comparing what Paddle and PyTorch computed, and the report of it.

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
INTEGERS = "iub"  # kinds of NumPy's that are compared exactly
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
    logits: Mapping[str, np.ndarray] | None = None,
) -> list[Comparison]:
    """Compare each result of a network, `output` or `output.NAME`, and what is decided from them.

    Results may differ by `INNER` times the limit; those that the network declares as a function of
    logits, by what the limit of these implies (`implied_limits.py`).

    Args:
        network: ours; tells which of its results says where text is, which what it says, and which
            is an image.
        task: one of the catalog's TASKS.
        expected: Paddle's results.
        actual: ours.
        input_shape: for the report.
        limit: that of logits.
        logits: outputs of the reference's last layers, by our full names, that were compared.
    """
    if list(expected) != list(actual):
        theirs, ours = (", ".join(results) or "nothing" for results in (expected, actual))
        fault = f"Paddle gives {theirs}, PyTorch {ours}"
        return [Comparison("results", input_shape, (), math.inf, 0.0, limit, (), fault)]
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
    for kind in _DECIDED.get(task, (task,)):
        name, threshold = _decisive(network, kind)
        decisive = name if name in expected else f"output.{name}"
        pair = [results[decisive] for results in (expected, actual)]
        if task == "e2e" and kind == "rec":
            pair = [_by_place(maps) for maps in pair]
        decided = compare_decisions(
            kind,
            *pair,
            input_shape=input_shape,
            limit=limit,
            threshold=threshold,
            allowed=allowed.get(decisive),
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
    return network.sr_output if kind == "sr" else network.text_scores, 0.0


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
