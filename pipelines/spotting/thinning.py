"""Thinning regions to lines that are one pixel wide.

Guo and Hall, "Parallel thinning with two-subiteration algorithms" (1989), as told in Lam, Lee and
Suen, "Thinning methodologies" (1992), p. 879. The result is that of scikit-image's `thin`.
"""

from __future__ import annotations

import cv2
import numpy as np

# The neighbours of a pixel as bits 0 to 7, from the right counter-clockwise.
_BITS = np.array([[8, 4, 2], [16, 0, 1], [32, 64, 128]], np.float32)


def _kept() -> tuple[np.ndarray, np.ndarray]:
    """For each pattern of neighbours 0 if a pixel goes, else 1, in the two steps of a round.

    A pixel goes if it is on a border (G1: what is around it stays together; G2: it ends no line),
    and on the side whose turn it is (G3).
    """
    x = (np.arange(256)[:, None] >> np.arange(8) & 1).astype(bool).T
    following = np.roll(x, -1, axis=0)
    even, odd = slice(0, None, 2), slice(1, None, 2)
    crossings = (~x[even] & (x[odd] | np.roll(x, -2, axis=0)[even])).sum(0)
    pairs = np.minimum((x | following)[even].sum(0), (x | following)[odd].sum(0))
    border = (crossings == 1) & (pairs >= 2) & (pairs <= 3)
    right = (x[1] | x[2] | ~x[7]) & x[0]
    left = (x[5] | x[6] | ~x[3]) & x[4]
    first, second = (np.where(border & ~side, 0, 1).astype(np.uint8) for side in (right, left))
    return first, second


_KEPT = _kept()


def thin(mask: np.ndarray) -> np.ndarray:
    """Thin the regions of an `(H, W) uint8` mask of 0 and 1 to lines, until nothing changes."""
    thinned = mask
    while True:
        before = thinned
        for kept in _KEPT:
            around = cv2.filter2D(thinned, cv2.CV_8U, _BITS, borderType=cv2.BORDER_CONSTANT)
            thinned = cv2.bitwise_and(thinned, cv2.LUT(around, kept))
        if np.array_equal(before, thinned):
            return thinned
