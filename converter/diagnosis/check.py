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

    Args:
        reference: the reference.
        network: our network.
        batches: inputs, each (N, C, H, W) float32.
        limit: allowed difference of logits, as a fraction of the reference's maximum.
        versions: versions of the software that takes part, for the report.
        locate: whether to find the first layer that differs, and why, if the check fails.
    """
    start = time.perf_counter()
    comparisons: list[Comparison] = []
    first = cause = ""
    for batch in batches:
        of_batch = reference.compare(network, batch, limit)
        comparisons += of_batch
        if locate and not first and any(comparison.fault for comparison in of_batch):
            first, cause = first_difference(reference.layers(network, batch), limit)
    seconds = time.perf_counter() - start
    return ParityReport(reference.kind, tuple(comparisons), first, seconds, versions or {}, cause)
