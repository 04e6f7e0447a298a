"""A check of a network against its reference, which names the first layer that differs."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import numpy as np

from architectures import Model
from converter.diagnosis.explain import first_difference
from converter.parity.comparison import LIMIT, Comparison
from converter.parity.report import ParityReport
from converter.references.base import Reference


def check(
    reference: Reference,
    network: Model,
    batches: Sequence[np.ndarray],
    *,
    limit: float = LIMIT,
    versions: Mapping[str, str] | None = None,
    locate: bool = True,
) -> ParityReport:
    """Compare `network` with `reference` on every batch and return the report, passed or not.

    With `locate`, the report of a network that fails names the first layer that differs, and why.
    """
    start = time.perf_counter()
    comparisons: list[Comparison] = []
    first = cause = ""
    for batch in batches:
        found = reference.compare(network, batch, limit)
        comparisons += found
        if locate and not first and any(comparison.fault for comparison in found):
            first, cause = first_difference(reference.layers(network, batch), limit)
    seconds = time.perf_counter() - start
    return ParityReport(reference.kind, tuple(comparisons), first, seconds, versions or {}, cause)
