"""XY cut: boxes to their order, by the gaps in their projections."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from pipelines.documents.rectangles import Rectangle, axis_of, projected_overlap
from pipelines.documents.types import Direction

TOUCHING = 3
"""Boxes whose edges are nearer than this are parted before the cut, in pixels."""
SMALL_OVERLAP = 0.1
"""Boxes that overlap by less than this are parted before the cut."""


def profile(boxes: np.ndarray, axis: int) -> np.ndarray:
    """Return how many boxes `(N, 4)` cover each pixel along an axis.

    Boxes of vertical text are mirrored: their x is negative and is counted as positive.
    """
    sides = boxes[:, axis::2]
    length = abs(sides.min()) if sides.min() < 0 else sides.max()
    counts = np.zeros(length, int)
    for start, end in np.abs(sides):
        counts[start:end] += 1
    return counts


def _covered(counts: np.ndarray) -> list[tuple[int, int]]:
    """Return the stretches of a profile that boxes cover."""
    found = np.flatnonzero(np.diff(np.concatenate([[0], counts > 0, [0]])))
    return [(int(start), int(end)) for start, end in found.reshape(-1, 2)]


def cut(boxes: np.ndarray, direction: Direction) -> list[int]:
    """Return the order of boxes.

    Args:
        boxes: `(N, 4) int`.
        direction: along which to look for gaps first: "horizontal" parts columns, "vertical" rows.
    """
    return _cut(boxes, np.arange(len(boxes)), axis_of(direction))


def _cut(boxes: np.ndarray, indices: np.ndarray, axis: int) -> list[int]:
    ordered: list[int] = []
    for chunk in _parts(boxes, axis):
        parts = _parts(boxes[chunk], 1 - axis)
        if len(parts) == 1:
            ordered += indices[chunk][parts[0]].tolist()
            continue
        for part in parts:
            chosen = chunk[part]
            ordered += _cut(boxes[chosen], indices[chosen], axis)
    return ordered


def _parts(boxes: np.ndarray, axis: int) -> list[np.ndarray]:
    """Return the boxes of each stretch between gaps along an axis, as indices, sorted."""
    order = boxes[:, axis].argsort()
    starts = boxes[order, axis]
    stretches = _covered(profile(boxes, axis))
    if len(stretches) == 1:
        return [order]
    if axis == 0 and starts.min() < 0:
        stretches.reverse()
    starts = np.abs(starts) if axis == 0 else starts
    parts = [order[(start <= starts) & (starts < end)] for start, end in stretches]
    return [part for part in parts if len(part)]


def intervals(boxes: Sequence[Rectangle], direction: Direction) -> list[tuple[int, int, int]]:
    """Return start, end and number of boxes of each stretch that boxes cover along a direction."""
    axis = axis_of(direction)
    found: list[tuple[int, int, int]] = []
    for start, end in sorted(((int(box[axis]), int(box[axis + 2])) for box in boxes), key=_first):
        if found and start <= found[-1][1]:
            first, last, count = found[-1]
            found[-1] = (first, max(last, end), count + 1)
        else:
            found.append((start, end, 1))
    return found


def _first(interval: tuple[int, int]) -> int:
    return interval[0]


def part_touching(boxes: list[list[int]], direction: Direction) -> None:
    """Move apart the neighbours in a list of boxes that touch or overlap a little, in place.

    Args:
        boxes: in the order of reading that is assumed.
        direction: along which they are parted.
    """
    start, end = axis_of(direction), axis_of(direction) + 2
    other: Direction = "vertical" if direction == "horizontal" else "horizontal"
    for box, following in pairwise(boxes):
        overlap = projected_overlap(box, following, direction)
        overlaps = projected_overlap(box, following, other) > 0 and 0 < overlap < SMALL_OVERLAP
        if not overlaps and abs(box[end] - following[start]) > TOUCHING:
            continue
        middle = int((max(box[start], following[start]) + min(box[end], following[end])) / 2)
        if box[start] < following[start]:
            box[end], following[start] = middle - 1, middle + 1
        else:
            box[start], following[end] = middle - 1, middle + 1


def gaps(counts: np.ndarray) -> list[tuple[int, int]]:
    """Return the stretches of a profile that are lower than both of their sides.

    The first one, before all boxes, is left out.
    """
    edges = np.flatnonzero(np.diff(counts)) + 1
    found, start = [], 0
    for end in edges.tolist():
        falls = start == 0 or counts[start - 1] > counts[start]
        if falls and counts[end] > counts[start]:
            found.append((start, end - 1))
        start = end
    return found[1:]
