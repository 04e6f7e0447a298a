"""Non-maximum suppression of outlines, and EAST's locality-aware merging.

The overlap of two outlines is their intersection over union. Intersecting polygons is slow, and
most pairs are so close or so far apart that bounds from their corners decide whether the overlap
exceeds the threshold; only the others are intersected.

Zhou et al., "EAST: An Efficient and Accurate Scene Text Detector" (2017), for the merging. Numbers
follow PaddleOCR 2.x: ppocr/postprocess/locality_aware_nms.py and ppocr/utils/poly_nms.py.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import shapely

Quad = Sequence[float]
"""Four corners: x, y, x, y, ..."""
Point = tuple[float, float]


class Outlines:
    """Polygons with the same number of corners, and quick tests of whether they overlap.

    Args:
        points: `(N, K, 2)`, x and y.
        growth: polygons are expanded by this many pixels before they are intersected, which also
            repairs crossing sides; their areas are those before. With 0, they are repaired first.
    """

    def __init__(self, points: np.ndarray, growth: float = 0.0) -> None:
        self._points = points.astype(np.float64)
        self._growth = growth
        steps = np.roll(self._points, -1, axis=1) - self._points
        self._perimeters = np.sqrt((steps**2).sum(2)).sum(1)
        from_first = self._points - self._points[:, :1]
        self._areas = (from_first[..., 0] * steps[..., 1] - from_first[..., 1] * steps[..., 0]).sum(
            1
        ) / 2
        self._minimum = self._points.min(1) - growth
        self._maximum = self._points.max(1) + growth
        self._bodies: dict[int, tuple[Any, float]] = {}

    def overlap(self, one: int, others: np.ndarray, thresh: float) -> np.ndarray:
        """Return whether a polygon overlaps others by more than a threshold.

        Args:
            one: index of the polygon.
            others: `(M,)`, indices of the others.
            thresh: intersection over union, 0 to 1.

        Returns:
            `(M,) bool`.
        """
        boxes_meet = (self._minimum[others] <= self._maximum[one]) & (
            self._maximum[others] >= self._minimum[one]
        )
        above = boxes_meet.all(1)
        indices = np.flatnonzero(above)
        members = others[indices]
        certain = self._certainly_overlap(one, members, thresh)
        for index, other in zip(indices[~certain], members[~certain].tolist(), strict=True):
            above[index] = self._overlap(one, other) > thresh
        return above

    def _certainly_overlap(self, one: int, others: np.ndarray, thresh: float) -> np.ndarray:
        """Return `(M,) bool`: whether the corners alone prove an overlap above the threshold.

        Polygons whose corners differ by at most `farthest` differ only within a band of that width
        on both sides of their outline, so the area of the band bounds the difference.
        """
        steps = self._points[others] - self._points[one]
        farthest = np.sqrt((steps**2).sum(2)).max(1)
        band = farthest * (2 * self._perimeters[one] + math.pi * farthest)
        area, areas = abs(self._areas[one]), np.abs(self._areas[others])
        certain = area - band > thresh * (np.maximum(area, areas) + band)
        certain &= self._areas[others] * self._areas[one] > 0
        if certain.any() and not shapely.is_valid(shapely.Polygon(self._points[one])):
            certain[:] = False
        return certain

    def _overlap(self, one: int, other: int) -> float:
        (first, first_area), (second, second_area) = self._body(one), self._body(other)
        inside = shapely.area(shapely.intersection(first, second))
        around = first_area + second_area - inside
        return float(inside / around) if around else 0.0

    def _body(self, index: int) -> tuple[Any, float]:
        """Return the polygon to intersect, and the area to divide by."""
        if index not in self._bodies:
            shape = shapely.Polygon(self._points[index])
            body = shapely.buffer(shape, self._growth)
            area = shape.area if self._growth else body.area
            self._bodies[index] = body, area
        return self._bodies[index]


def suppress(outlines: Outlines, order: np.ndarray, thresh: float) -> list[int]:
    """Keep the outlines that overlap no better one by more than a threshold.

    Args:
        outlines: the outlines.
        order: `(N,)`, their indices, the best one first.
        thresh: intersection over union, 0 to 1.

    Returns:
        The indices of those that are kept, the best one first.
    """
    kept = []
    while len(order):
        first, order = int(order[0]), order[1:]
        kept.append(first)
        order = order[~outlines.overlap(first, order, thresh)]
    return kept


def locality_aware_nms(boxes: np.ndarray, thresh: float) -> np.ndarray:
    """Merge consecutive boxes that overlap, then suppress overlapping ones.

    Args:
        boxes: `(N, 9)`, four corners as x, y and a score, in the row order of their pixels.
        thresh: intersection over union above which boxes overlap, 0 to 1.

    Returns:
        `(M, 9)` of the same dtype, best first.
    """
    merged = _merge_runs(boxes, thresh)
    # NumPy's default sort, which is not stable, treats equal scores as PaddleOCR does.
    order = np.argsort(merged[:, 8])[::-1]
    return merged[suppress(Outlines(merged[:, :8].reshape(-1, 4, 2)), order, thresh)]


def _merge_runs(boxes: np.ndarray, thresh: float) -> np.ndarray:
    """Merge each run of overlapping boxes: the mean weighted by the scores, and their sum."""
    if not len(boxes):
        return boxes
    corners, scores = boxes[:, :8], boxes[:, 8]
    merged = []
    run, weight = corners[0], scores[0]
    for box, score in zip(corners[1:], scores[1:], strict=True):
        if quad_overlap(run.tolist(), box.tolist()) > thresh:
            total = score + weight
            run, weight = (score * box + weight * run) / total, total
        else:
            merged.append((*run, weight))
            run, weight = box, score
    return np.array([*merged, (*run, weight)], boxes.dtype)


def quad_overlap(one: Quad, other: Quad) -> float:
    """Return the intersection over union of two quadrilaterals.

    It is called thousands of times per page, one after another; plain floats are fastest here.
    """
    if (
        max(one[::2]) < min(other[::2])
        or max(other[::2]) < min(one[::2])
        or max(one[1::2]) < min(other[1::2])
        or max(other[1::2]) < min(one[1::2])
    ):
        return 0.0
    turn, other_turn = _turn(one), _turn(other)
    if not (turn and other_turn):
        return _repaired_overlap(one, other)
    inside = list(zip(one[::2], one[1::2], strict=True))
    around = list(zip(other[::2], other[1::2], strict=True))
    areas = abs(_area(inside)) + abs(_area(around))
    for end in range(4):
        inside = _cut(inside, around[end - 1], around[end], other_turn)
        if not inside:
            return 0.0
    shared = abs(_area(inside))
    return shared / (areas - shared)


def _turn(quad: Quad) -> int:
    """Return 1 or -1 for a convex quadrilateral, by its orientation; else 0."""
    a, b, c, d, e, f, g, h = quad
    first = (c - a) * (f - d) - (d - b) * (e - c)
    second = (e - c) * (h - f) - (f - d) * (g - e)
    third = (g - e) * (b - h) - (h - f) * (a - g)
    fourth = (a - g) * (d - b) - (b - h) * (c - a)
    if first > 0 and second > 0 and third > 0 and fourth > 0:
        return 1
    return -1 if first < 0 and second < 0 and third < 0 and fourth < 0 else 0


def _cut(polygon: list[Point], start: Point, end: Point, turn: int) -> list[Point]:
    """Clip a polygon at a line, to the side of `turn` (Sutherland and Hodgman)."""
    x, y = start
    across, along = turn * (end[0] - x), turn * (end[1] - y)
    u, v = polygon[-1]
    before = across * (v - y) - along * (u - x)
    kept = []
    for point in polygon:
        u_next, v_next = point
        after = across * (v_next - y) - along * (u_next - x)
        if (before < 0) != (after < 0):
            share = before / (before - after)
            kept.append((u + share * (u_next - u), v + share * (v_next - v)))
        if after >= 0:
            kept.append(point)
        u, v, before = u_next, v_next, after
    return kept


def _area(polygon: list[Point]) -> float:
    u, v = polygon[-1]
    total = 0.0
    for x, y in polygon:
        total += u * y - v * x
        u, v = x, y
    return total / 2


def _repaired_overlap(one: Quad, other: Quad) -> float:
    """Return the overlap of quadrilaterals that may be empty, concave or self-intersecting."""
    pair = shapely.polygons(np.array([one, other]).reshape(2, 4, 2))
    first, second = shapely.buffer(pair, 0)
    inside = first.intersection(second).area
    around = first.area + second.area - inside
    return float(inside / around) if around else 0.0
