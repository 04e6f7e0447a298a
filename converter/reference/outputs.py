"""Comparing a result of a network with what a record holds of it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from converter.diagnosis.layers import failed
from converter.noise import Noise
from converter.parity import INTEGERS, Comparison, compare, compare_integers

if TYPE_CHECKING:
    from converter.reference.recorded import Record


def compare_output(
    record: Record, row: list[Any], actual: np.ndarray | None, grown: Noise | None, limit: float
) -> list[Comparison]:
    """Compare a result at `limit`, and the classes where the record holds them.

    Args:
        record: the record.
        row: the result's, of the record's `outputs`.
        actual: what our network gives; None where it has no such result.
        grown: how far rounding alone takes it, where that is known.
        limit: of the record's largest value. Integers are the same or at fault.
    """
    path, shape, _, mean, std, largest, stride = row
    image_shape = tuple(record.facts["inputs"][0][1])
    if actual is None or list(actual.shape) != shape:
        ours = "no such result" if actual is None else actual.shape
        fault = f"Paddle gives {tuple(shape)}, PyTorch {ours}"
        return [failed(path, image_shape, shape, largest, limit, fault)]
    expected, sample = record.arrays[path], actual.ravel()[::stride]
    if expected.dtype.kind in INTEGERS:
        return [compare_integers(path, expected, sample, input_shape=image_shape)]
    if grown is not None and grown.values > limit * largest:
        # Values that noise has moved say little, their mean and standard deviation still do.
        expected = np.array([mean, std, *expected])
        sample = grown.spared(expected, np.array([actual.mean(), actual.std(), *sample]))
    # The sample may miss the largest value, by which the difference is measured.
    found = [compare(path, expected, sample, input_shape=image_shape, limit=limit,
                     largest=largest)]  # fmt: skip
    if f"{path}@argmax" in record.arrays:
        theirs, ours = record.arrays[f"{path}@argmax"], actual.argmax(-1)
        same = np.array_equal(theirs.ravel(), ours.ravel())
        fault = "" if same else f"{int((theirs.ravel() != ours.ravel()).sum())} classes differ"
        gap = 0.0 if same else math.inf
        found.append(Comparison(f"{path}, classes", image_shape, ours.shape, gap, 1.0, limit, (),
                                fault))  # fmt: skip
    return found
