"""Comparing a result of a network with what a record holds of it."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from converter.parity.comparison import INTEGERS, Comparison, compare, compare_integers
from converter.parity.decisions import settled_classes
from converter.parity.layerwise import failed
from converter.parity.noise import Noise
from converter.parity.ranked import row_gap
from schemas.record import OutputRow


def compare_output(
    arrays: Mapping[str, np.ndarray],
    row: OutputRow,
    actual: np.ndarray | None,
    grown: Noise | None,
    limit: float,
    input_shape: tuple[int, ...],
) -> list[Comparison]:
    """Compare a result at `limit`, and the classes where the record holds them.

    Args:
        arrays: those of the record's `outputs.npz`.
        row: the result's, of the record's `outputs`.
        actual: what our network gives; None where it has no such result.
        grown: how far rounding alone takes it, where that is known.
        limit: allowed difference as a fraction of the record's largest value; integers must be
            equal.
        input_shape: shape of the record's image, for the report.
    """
    path, shape, largest = row.path, row.shape, row.largest
    if actual is None or actual.shape != shape:
        ours = "no such result" if actual is None else actual.shape
        fault = f"Paddle gives {shape}, PyTorch {ours}"
        return [failed(path, input_shape, shape, largest, limit, fault)]
    expected, sample = arrays[path], actual.ravel()[:: row.stride]
    if expected.dtype.kind in INTEGERS:
        return [compare_integers(path, expected, sample, input_shape=input_shape)]
    room = 0.0
    if grown is not None and grown.matters(limit * largest):
        room = grown.values
        # Values that noise has moved say little, their mean and standard deviation still do.
        expected = np.array([row.mean, row.std, *expected])
        sample = grown.subtracted_from(expected, np.array([actual.mean(), actual.std(), *sample]))
    # The sample may miss the largest value, by which the difference is measured.
    found = [compare(path, expected, sample, input_shape=input_shape, limit=limit,
                     largest=largest)]  # fmt: skip
    if f"{path}@argmax" in arrays:
        best = arrays[f"{path}@argmax"].reshape(actual.shape[:-1])
        # Two classes change places where the limit, or the measured noise, closes their gap.
        classes = settled_classes(best, actual, max(limit * largest, room))
        count = np.count_nonzero(classes != best)
        fault = f"{count} classes differ" if count else ""
        gap = math.inf if fault else 0.0
        found.append(Comparison(f"{path}, classes", input_shape, best.shape, gap, 1.0, limit, (),
                                fault))  # fmt: skip
    return found


def compare_ranked(
    arrays: Mapping[str, np.ndarray],
    row: OutputRow,
    actual: np.ndarray,
    grown: Noise | None,
    limit: float,
    input_shape: tuple[int, ...],
) -> Comparison:
    """Compare a result whose rows follow a top-k: each recorded row with the nearest of ours.

    Args:
        arrays: those of the record's `outputs.npz`.
        row: the result's, of the record's `outputs`; all values are recorded.
        actual: what our network gives, (1, R, C).
        grown: how far rounding alone takes a value, where that is known.
        limit: allowed difference as a fraction of the record's largest value.
        input_shape: shape of the record's image, for the report.
    """
    path, shape, largest = row.path, row.shape, row.largest
    if actual.shape != shape or row.stride != 1 or shape[0] != 1:
        fault = f"Paddle gives {shape} with stride {row.stride}, PyTorch {actual.shape}"
        return failed(path, input_shape, shape, largest, limit, fault)
    if not np.isfinite(actual).all():
        return failed(path, input_shape, shape, largest, limit, "PyTorch gives no finite values")
    expected, ours = arrays[path].reshape(shape)[0], actual[0]
    room = grown.values if grown is not None and grown.matters(limit * largest) else 0.0
    difference = max(0.0, row_gap(expected, ours) - room) / largest
    fault = "" if difference <= limit else "some rows have no counterpart in PyTorch's"
    return Comparison(f"{path}, rows", input_shape, shape, difference, largest, limit, (), fault)
