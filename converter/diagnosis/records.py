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
from converter.references.recorded.record import Record, read_record
from converter.references.recorded.reference import subjects

# Raised where the facts of a record contradict each other, or its inputs do not fit the network.
_UNFIT = (
    KeyError,
    IndexError,
    TypeError,
    ValueError,
    AttributeError,
    RuntimeError,
    AssertionError,
)


def prove(record: Record, form: str = "train", limit: float = LIMIT) -> ParityReport:
    """Build the record's network with its seeded weights and compare it with Paddle's outputs.

    Every output is compared at `limit`, and so is every layer that the network has in that form;
    layers that work on the means of a map are compared at `INNER` times the limit. If the record
    states that rounding alone changes a result by more, the measured noise is subtracted.

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
    """The outcome of one record.

    Attributes:
        folder: folder of the record.
        result: the report, or the error that stopped it.
        record: the record; None if it could not be read.
        plans: plan of each network in it.
        seconds: duration of the proof.
    """

    folder: Path
    result: ParityReport | ConverterError
    record: Record | None
    plans: list[Plan]
    seconds: float


def verify(folders: list[Path]) -> Iterator[Verified]:
    """Prove every record, continuing after one that fails."""
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
            reason = f"{folder} is inconsistent ({type(error).__name__}: {error})"
            result = SourceError(reason)
        yield Verified(folder, result, record, plans, time.perf_counter() - start)
