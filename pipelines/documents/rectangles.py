"""Overlaps of upright rectangles: left, top, right and bottom in pixels.

Rules and precision are those of PaddleX 3, inference/pipelines/layout_parsing/utils.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeAlias

import numpy as np

from pipelines.documents.types import Direction

Rectangle: TypeAlias = "Sequence[float] | np.ndarray"

ACROSS = {"horizontal": "vertical", "vertical": "horizontal"}
"""The other direction."""
MIN_SHARED = 3
"""A line is in a block if they share more than this in both directions, in pixels."""


def axis_of(direction: Direction) -> int:
    """Return the index of the coordinate at which something begins in a direction."""
    return 0 if direction == "horizontal" else 1


def area(box: Rectangle) -> float:
    """Return the area of a rectangle."""
    left, top, right, bottom = map(float, box)
    return abs((right - left) * (bottom - top))


def shared_of_smaller(box: Rectangle, other: Rectangle) -> float:
    """Return the area that two rectangles share, as a share of the smaller one."""
    smaller = min(area(box), area(other))
    return shared_area(box, other) / smaller if smaller else 0.0


def intersection_over_union(box: Rectangle, other: Rectangle) -> float:
    """Return the area that two rectangles share, as a share of what they cover."""
    shared = shared_area(box, other)
    covered = area(box) + area(other) - shared
    return shared / covered if covered else 0.0


def shared_area(box: Rectangle, other: Rectangle) -> float:
    """Return the area that two rectangles share."""
    width = min(float(box[2]), float(other[2])) - max(float(box[0]), float(other[0]))
    height = min(float(box[3]), float(other[3])) - max(float(box[1]), float(other[1]))
    return max(0.0, width) * max(0.0, height)


def projected_overlap(
    box: Rectangle, other: Rectangle, direction: Direction, *, of_smaller: bool = False
) -> float:
    """Return how much two rectangles overlap along a direction, 0 to 1.

    Args:
        box: a rectangle.
        other: another one.
        direction: along which they are compared.
        of_smaller: as a share of the shorter one; else of what both cover.
    """
    start, end = axis_of(direction), axis_of(direction) + 2
    shared = min(box[end], other[end]) - max(box[start], other[start])
    if shared <= 0:
        return 0.0
    if of_smaller:
        length = min(box[end] - box[start], other[end] - other[start])
    else:
        length = max(box[end], other[end]) - min(box[start], other[start])
    return float(shared / length) if length > 0 else 0.0


def intersection(box: Rectangle, other: Rectangle) -> np.ndarray:
    """Return the rectangle `(4,)` that two overlapping rectangles share."""
    corners = (np.maximum(box[:2], other[:2]), np.minimum(box[2:], other[2:]))
    return np.concatenate(corners)


def enclosing(boxes: Iterable[Rectangle]) -> list[float]:
    """Return the smallest rectangle around some rectangles, of which there is at least one."""
    lefts, tops, rights, bottoms = zip(*boxes, strict=True)
    return [min(lefts), min(tops), max(rights), max(bottoms)]


def lines_within(lines: np.ndarray, box: Rectangle) -> list[int]:
    """Return the indices of the lines `(N, 4)` that a block overlaps.

    Their order is that of a set of whole numbers, as in PaddleX: lines in several blocks are cut
    up in this order, and the result depends on it.
    """
    if not len(lines):
        return []
    shared = np.minimum(lines[:, 2:], np.asarray(box)[2:]) - np.maximum(
        lines[:, :2], np.asarray(box)[:2]
    )
    return list(set(np.flatnonzero((shared > MIN_SHARED).all(1)).tolist()))


def edge_distance(
    box: Rectangle, other: Rectangle, weights: Sequence[float] = (1.0, 1.0, 1.0, 1.0)
) -> float:
    """Return the distance between the nearest edges of two rectangles.

    Args:
        box: a rectangle.
        other: another one.
        weights: of the distance where the first is to the left, the right, above or below.
    """
    distance = 0.0
    for axis, direction in enumerate(("horizontal", "vertical")):
        if projected_overlap(box, other, direction):  # type: ignore[arg-type]
            continue
        end = axis + 2
        gap = min(abs(box[axis] - other[end]), abs(box[end] - other[axis]))
        distance += gap * weights[2 * axis + (0 if box[end] < other[axis] else 1)]
    return distance
