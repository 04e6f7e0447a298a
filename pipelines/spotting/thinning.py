"""Thinning of regions to lines of one pixel.

Guo and Hall, "Parallel thinning with two-subiteration algorithms" (1989), as described in Lam, Lee
and Suen, "Thinning methodologies" (1992), p. 879. The result is that of scikit-image's `thin`.
"""

from __future__ import annotations

import cv2
import numpy as np

# The neighbours of a pixel as bits 0 to 7, from the right counter-clockwise.
_BITS = np.array([[8, 4, 2], [16, 0, 1], [32, 64, 128]], np.float32)


def _kept() -> tuple[np.ndarray, np.ndarray]:
    """Return, for the 256 patterns of neighbours, whether a pixel is kept (1) in both sub-steps.

    A pixel is removed if it is on a border (G1: its neighbours stay connected; G2: it is not the
    end of a line) and on the side of the current sub-step (G3).
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
    """Thin the regions of a mask `(H, W) uint8` of 0 and 1 to lines of one pixel."""
    thinned = mask
    while True:
        before = thinned
        for kept in _KEPT:
            around = cv2.filter2D(thinned, cv2.CV_8U, _BITS, borderType=cv2.BORDER_CONSTANT)
            thinned = cv2.bitwise_and(thinned, cv2.LUT(around, kept))
        if np.array_equal(before, thinned):
            return thinned
