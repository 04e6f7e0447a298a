"""Proofs by records: each is checked, and the first layer that differs is named."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from converter.diagnosis.explain import first_difference
from converter.errors import ConverterError, SourceError
from converter.mapping.plan import Plan
from converter.parity.comparison import LIMIT, Comparison
from converter.parity.report import ParityReport
from converter.references.recorded.reference import Record, read_record, subjects

# What facts that do not hold together raise, and a network that is fed what it cannot take.
_UNFIT = (
    KeyError, IndexError, TypeError, ValueError, AttributeError, RuntimeError, AssertionError,
)  # fmt: skip


def prove(record: Record, form: str = "train", limit: float = LIMIT) -> ParityReport:
    """Build the record's network with its weights and compare it with what Paddle computed.

    Every output is compared at `limit`, and so is every layer that the network has in that form,
    but for those that work on the means of a map: those at `INNER` times that. Where the record
    states that rounding alone moves a result by more, `noise.py` says what is no fault.

    Raises:
        ConverterError: no config or mapping is known for this network, or it does not fit.
    """
    return _prove(record, form, limit)[0]


def _prove(record: Record, form: str, limit: float) -> tuple[ParityReport, list[Plan]]:
    comparisons: list[Comparison] = []
    plans: list[Plan] = []
    first = cause = ""
    for reference, network, plan in subjects(record, form):
        plans.append(plan)
        sides = reference.layers(network, reference.image)
        found = reference.compare_all(sides, limit)
        comparisons += found
        if not first and any(comparison.fault for comparison in found):
            first, cause = first_difference(sides, limit)
    return ParityReport("recorded", tuple(comparisons), first, likely_cause=cause), plans


class Verified(NamedTuple):
    """What became of one record: the report or what stopped it, and a plan for each network."""

    folder: Path
    result: ParityReport | ConverterError
    record: Record | None
    plans: list[Plan]
    seconds: float


def verify(folders: list[Path]) -> Iterator[Verified]:
    """Prove every record, and go on after one that fails."""
    for folder in folders:
        start = time.perf_counter()
        record, plans = None, list[Plan]()
        result: ParityReport | ConverterError
        try:
            record = read_record(folder)
            result, plans = _prove(record, "train", LIMIT)
        except ConverterError as error:
            result = error
        except _UNFIT as error:
            reason = f"{folder} cannot be followed ({type(error).__name__}: {error})"
            result = SourceError(reason)
        yield Verified(folder, result, record, plans, time.perf_counter() - start)
