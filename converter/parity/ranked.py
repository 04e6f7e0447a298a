"""Rows that follow a top-k over scores, whose order rounding can change."""

from __future__ import annotations

import numpy as np

UNMATCHED = 50


def row_gap(expected: np.ndarray, actual: np.ndarray) -> float:
    """Return the largest absolute difference of a row from the nearest one on the other side.

    Rounding changes the order of rows with nearly equal scores, and which of them come last into
    the choice. So one row in `UNMATCHED` may be without a counterpart.

    Args:
        expected: (R, C), the reference's rows.
        actual: (R, C), ours; finite.
    """
    gaps = np.abs(expected[:, np.newaxis].astype(np.float64) - actual).max(-1)
    # As many rows are without a counterpart in ours as in the reference, or one of ours stands for
    # several rows: so both directions count.
    nearest = [
        np.sort(gaps.min(axis))[: len(expected) - len(expected) // UNMATCHED] for axis in (1, 0)
    ]
    return max(0.0, float(max(side.max() for side in nearest)))
