"""Which way a line of text runs in its box."""

from __future__ import annotations

import cv2
import numpy as np

from pipelines.pages.cropping import TALL


def text_corners(box: np.ndarray) -> np.ndarray:
    """Return the corners of a line's box in the order of its text.

    Args:
        box: `(N, 2)`, clockwise from the top left; a polygon is taken by the smallest rectangle
            around it.

    Returns:
        `(4, 2) float32`: where the text begins, above and below, are the first and the last. What
        is tall runs downwards, as `pipelines.pages.cropping.crop` turns it.
    """
    corners: np.ndarray = box.astype(np.float32)
    if len(corners) != 4:
        corners = cv2.boxPoints(cv2.minAreaRect(corners))
        corners = np.roll(corners, -int(corners.sum(1).argmin()), axis=0)
    width, height = side_lengths(corners)
    return np.roll(corners, -1, axis=0) if height >= TALL * width else corners


def side_lengths(corners: np.ndarray) -> tuple[float, float]:
    """Width and height of a quadrilateral `(4, 2)`: the longer of two opposite sides."""
    top, right, bottom, left = np.linalg.norm(corners - np.roll(corners, -1, axis=0), axis=1)
    return float(max(top, bottom)), float(max(left, right))
