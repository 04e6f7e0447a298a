"""From boxes to upright line images, in reading order.

Numbers follow PaddleOCR 2.x: tools/infer/utility.py (`get_rotate_crop_image`) and
tools/infer/predict_system.py (`sorted_boxes`).
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

SAME_LINE = 10
"""Boxes stand on one line if their top left corners differ by fewer pixels than this in height."""
TALL = 1.5
"""From this ratio of height to width on, a crop is taken for a line that runs up or down."""


def reading_order(boxes: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Sort boxes `(4, 2)` from top to bottom, and from left to right along a line."""
    ordered: list[np.ndarray] = []
    for box in sorted(boxes, key=lambda box: (box[0, 1], box[0, 0])):
        place = len(ordered)
        while place and _before_on_line(box[0], ordered[place - 1][0]):
            place -= 1
        ordered.insert(place, box)
    return ordered


def _before_on_line(corner: np.ndarray, other: np.ndarray) -> bool:
    return bool(abs(corner[1] - other[1]) < SAME_LINE and corner[0] < other[0])


def crop(image: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Cut a quadrilateral out and straighten it; what is tall is turned by 90 degrees to the left.

    Args:
        image: `(H, W, 3) uint8`.
        box: `(4, 2) float32`, clockwise from the top left.

    Returns:
        `(h, w, 3) uint8`, as large as the longer of two opposite sides, but at least a pixel.
    """
    top, right, bottom, left = np.linalg.norm(box - np.roll(box, -1, axis=0), axis=1)
    width, height = max(int(max(top, bottom)), 1), max(int(max(left, right)), 1)
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    line = cv2.warpPerspective(
        image,
        cv2.getPerspectiveTransform(box, corners),
        (width, height),
        flags=cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return np.ascontiguousarray(np.rot90(line)) if height / width >= TALL else line


def text_corners(box: np.ndarray) -> np.ndarray:
    """Return the corners of a line's box in the order of its text.

    Args:
        box: `(N, 2)`, clockwise from the top left; a polygon is taken by the smallest rectangle
            around it.

    Returns:
        `(4, 2) float32`: where the text begins, above and below, are the first and the last. What
        is tall runs downwards, as `crop` turns it.
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
