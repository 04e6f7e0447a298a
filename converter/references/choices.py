"""Whole numbers of a network that rounding, or an unstable sort, decides: choices and places.

PP-DocLayoutV2 takes the positions with the highest scores, sorts them by whether they are regions,
and cuts the corners of their boxes to whole thousandths of the page, each of which has an embedding
of its own. Nearly equal scores change places by rounding, PaddleX's sort leaves equal values in any
order, and a corner at a whole number falls to either side. So both sides take Paddle's numbers, and
these are compared with what ours were computed from. Then all that follows can be held to the usual
limits.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from architectures import Model
from converter.adapters.registry import adapter_for
from converter.parity.comparison import Comparison
from converter.parity.layerwise import failed
from converter.sources.ir import Operation, Program

_CHOOSING = ("topk", "argsort")
_CUTTING = "long"  # PyTorch's name; a program has a cast
_PROBES = {
    "topk": "scores of the chosen positions",
    "argsort": "order of the chosen positions",
    "long": "coordinates in whole numbers",
}
_BY_COORDINATE = {"slice"}  # what a program does with the corners that it has cut


@dataclass(frozen=True)
class Choice:
    """An operation that makes whole numbers of values.

    Attributes:
        kind: `topk` or `argsort`, which choose, or `long`, which cuts.
        values: the name of our values that it chooses among, (N, S), or that it cuts.
        chosen: the name of ours with the numbers: places (N, K), best first, or the cut values.
        in_program: the name of the program's numbers.
    """

    kind: str
    values: str
    chosen: str
    in_program: str


def choices(
    network: Model, operations: Iterable[Operation], program: Program
) -> tuple[Choice, ...]:
    """Return the choices of a network and its program; none if no layer sees their order.

    Args:
        network: ours.
        operations: of its trace.
        program: the exported one, which may choose once more from the network's results.
    """
    if not adapter_for(network.architecture).sees_order:
        return ()
    theirs = {kind: iter(values) for kind, values in _numbers(program.operations).items()}
    found = []
    for operation in operations:
        if value := next(theirs.get(operation.kind, iter(())), ""):
            sources = operation.inputs["0"]
            found.append(Choice(operation.kind, sources[0], operation.outputs[-1], value))
    return tuple(found)


def _numbers(operations: Sequence[Operation]) -> dict[str, list[str]]:
    """Return a program's whole numbers by the kind of the operation that makes ours."""
    uses = Counter(
        (value, operation.kind in _BY_COORDINATE)
        for operation in operations
        for values in operation.inputs.values()
        for value in values
    )
    numbers: dict[str, list[str]] = {kind: [] for kind in (*_CHOOSING, _CUTTING)}
    for operation in operations:
        value = operation.outputs[-1] if operation.outputs else ""
        if operation.kind in _CHOOSING:
            numbers[operation.kind].append(value)
        elif operation.kind == "cast" and uses[value, True] and not uses[value, False]:
            numbers[_CUTTING].append(value)
    return numbers


def compare_numbers(
    chosen: Iterable[Choice],
    theirs: Mapping[str, np.ndarray],
    ours: Mapping[str, np.ndarray],
    input_shape: tuple[int, ...],
    limit: float,
) -> list[Comparison]:
    """Return a failed comparison for all whole numbers that our network cannot take.

    Args:
        chosen: what both sides choose.
        theirs: the program's numbers, by the names of ours.
        ours: our values by name.
        input_shape: of the image.
        limit: for the report.
    """
    return [
        failed(_probe(choice), input_shape, theirs[choice.chosen].shape, 0.0, limit, reason)
        for choice in chosen
        if (reason := _unfit(choice, theirs[choice.chosen], ours))
    ]


def _unfit(choice: Choice, theirs: np.ndarray, ours: Mapping[str, np.ndarray]) -> str:
    """Return why whole numbers cannot take the place of ours; nothing if they can."""
    mine = ours[choice.chosen]
    if theirs.shape != mine.shape:
        return f"the program has {theirs.shape} of them, our network {mine.shape}"
    if choice.kind in _CHOOSING:
        least, most = 0, ours[choice.values].shape[1] - 1
        if (np.diff(np.sort(theirs, 1), axis=1) < 1).any():
            return "the program chose one place twice"
    else:  # the same boxes in another order, cut to either side
        least, most = int(mine.min()) - 1, int(mine.max()) + 1
    if theirs.min() < least or theirs.max() > most:
        return (
            f"they are from {theirs.min()} to {theirs.max()} in the program; from {least} to "
            f"{most} was expected"
        )
    return ""


def compare_choices(
    chosen: Iterable[Choice],
    theirs: Mapping[str, np.ndarray],
    ours: Mapping[str, np.ndarray],
    input_shape: tuple[int, ...],
    limit: float,
) -> list[Comparison]:
    """Compare a program's whole numbers with the values that ours are made of.

    Args:
        chosen: what both sides choose.
        theirs: the program's numbers, by the names of ours.
        ours: our values by name, of a run that took these numbers.
        input_shape: of the image.
        limit: for the difference, relative to the largest of our values: of the scores at the
            chosen places from the highest, of a value from those that are cut to the number.
    """
    comparisons = []
    for choice in chosen:
        numbers, values = theirs[choice.chosen], ours[choice.values].astype(np.float64)
        if choice.kind in _CHOOSING:
            best = -np.sort(-values, 1)[:, : numbers.shape[1]]
            gaps = best - np.take_along_axis(values, numbers, 1)
            gaps = np.abs(gaps)
        else:
            gaps = np.maximum(numbers - (numbers <= 0) - values, values - numbers - (numbers >= 0))
        largest = float(np.abs(values).max())
        gap = max(0.0, float(gaps.max())) / (largest or 1.0)
        fault = "" if gap <= limit else "the program's are not those that our values give"
        comparisons.append(
            Comparison(_probe(choice), input_shape, numbers.shape, gap, largest, limit, (), fault)
        )
    return comparisons


def _probe(choice: Choice) -> str:
    return _PROBES[choice.kind]
