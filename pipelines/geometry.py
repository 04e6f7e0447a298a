"""Geometry of text lines: reading order, upright crops, rotation by quarter turns.

Numbers follow PaddleOCR 2.x: tools/infer/utility.py (`get_rotate_crop_image`) and
tools/infer/predict_system.py (`sorted_boxes`). Rotation moves whole pixels, where PaddleX's
`rotate_image` shifts the image by one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import cv2
import numpy as np

MAX_ROW_OFFSET = 10
"""Boxes are on one row if the y of their top left corners differ by less than this, in pixels."""
VERTICAL_RATIO = 1.5
"""A crop with at least this height / width is treated as a line that runs up or down."""

MAX_SKEW = 20.0
"""Lines that slant by more degrees than this do not show how a page is skewed."""


def reading_order(boxes: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Sort boxes `(4, 2)` from top to bottom, and from left to right within a row."""
    ordered: list[np.ndarray] = []
    for box in sorted(boxes, key=lambda box: (box[0, 1], box[0, 0])):
        index = len(ordered)
        while index and _precedes_in_row(box[0], ordered[index - 1][0]):
            index -= 1
        ordered.insert(index, box)
    return ordered


def _precedes_in_row(corner: np.ndarray, other: np.ndarray) -> bool:
    return bool(abs(corner[1] - other[1]) < MAX_ROW_OFFSET and corner[0] < other[0])


def crop(image: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Crop a quadrilateral and warp it to a rectangle; rotate tall ones by 90 degrees to the left.

    Args:
        image: `(H, W, 3) uint8`.
        box: `(4, 2) float32`, clockwise from the top left.

    Returns:
        `(h, w, 3) uint8`, as large as the longer of two opposite sides, at least 1 x 1.
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
    return np.ascontiguousarray(np.rot90(line)) if height / width >= VERTICAL_RATIO else line


def text_corners(box: np.ndarray) -> np.ndarray:
    """Return the corners of a line's box, beginning above the first character.

    A tall box holds a line that runs downwards, as in `crop`.

    Args:
        box: `(N, 2)`, clockwise from the top left; a polygon is replaced by its smallest
            enclosing rectangle.

    Returns:
        `(4, 2) float32`, clockwise: the first and the last corner are at the start of the text.
    """
    corners: np.ndarray = box.astype(np.float32)
    if len(corners) != 4:
        corners = cv2.boxPoints(cv2.minAreaRect(corners))
        corners = np.roll(corners, -int(corners.sum(1).argmin()), axis=0)
    width, height = side_lengths(corners)
    return np.roll(corners, -1, axis=0) if height >= VERTICAL_RATIO * width else corners


def side_lengths(corners: np.ndarray) -> tuple[float, float]:
    """Return width and height of a quadrilateral `(4, 2)`: the longer of two opposite sides."""
    top, right, bottom, left = np.linalg.norm(corners - np.roll(corners, -1, axis=0), axis=1)
    return float(max(top, bottom)), float(max(left, right))


def rotate(image: np.ndarray, angle: int) -> np.ndarray:
    """Rotate an image counter-clockwise.

    Args:
        image: `(H, W, 3) uint8`.
        angle: 0, 90, 180 or 270 degrees.

    Returns:
        `(H, W, 3)` or `(W, H, 3) uint8`, contiguous.
    """
    return np.ascontiguousarray(np.rot90(image, angle // 90))


def rotate_back(points: np.ndarray, angle: int, shape: Sequence[int]) -> np.ndarray:
    """Map points of a rotated image to the image before its rotation.

    Args:
        points: `(N, 2)`, x and y in pixels of the image that `rotate` returned.
        angle: the angle by which `rotate` rotated it, in degrees.
        shape: the shape of the image before its rotation.

    Returns:
        `(N, 2)`, x and y in pixels of the image before its rotation.
    """
    last_row, last_column = shape[0] - 1, shape[1] - 1
    x, y = points[:, 0], points[:, 1]
    mapped = {
        0: (x, y),
        90: (last_column - y, x),
        180: (last_column - x, last_row - y),
        270: (y, last_row - x),
    }
    return np.stack(mapped[angle], axis=1)


def skew(boxes: Iterable[np.ndarray]) -> float:
    """Return by how many degrees the lines of a page slant downwards to the right.

    It is the median over the lines, weighted by their lengths; 0 without lines.

    Args:
        boxes: those of the lines, `(N, 2)`, clockwise from the top left.
    """
    lines: list[tuple[float, float]] = []
    for corners in map(text_corners, boxes):
        across, down = (corners[1] - corners[0]).tolist()
        angle = math.degrees(math.atan2(down, across))
        if abs(angle) <= MAX_SKEW:
            lines.append((angle, math.hypot(across, down)))
    half, passed = sum(length for _, length in lines) / 2, 0.0
    for angle, length in sorted(lines, reverse=True):
        passed += length
        if passed >= half:
            return angle
    return 0.0
