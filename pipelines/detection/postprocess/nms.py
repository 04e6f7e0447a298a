"""Of outlines that cover each other, one is kept.

The overlap of two outlines is their intersection over their union. Intersecting polygons is slow,
and most of them are so near to each other, or so far, that their corners alone tell on which side
of a threshold the overlap is; only the others are intersected.

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
"""Four corners, x and y in turns."""
Point = tuple[float, float]


class Outlines:
    """Polygons of equally many corners, and what is quick to know about each.

    Args:
        points: `(N, K, 2)`.
        growth: they are intersected as grown by so many pixels, which also mends those whose sides
            cross, while their areas are those of the polygons as they are; without it, those are
            mended first.
    """

    def __init__(self, points: np.ndarray, growth: float = 0.0) -> None:
        self._points = points.astype(np.float64)
        self._growth = growth
        steps = np.roll(self._points, -1, axis=1) - self._points
        self._lengths = np.sqrt((steps**2).sum(2)).sum(1)
        from_first = self._points - self._points[:, :1]
        self._areas = (from_first[..., 0] * steps[..., 1] - from_first[..., 1] * steps[..., 0]).sum(
            1
        ) / 2
        self._least = self._points.min(1) - growth
        self._most = self._points.max(1) + growth
        self._bodies: dict[int, tuple[Any, float]] = {}

    def overlap(self, one: int, others: np.ndarray, thresh: float) -> np.ndarray:
        """Whether `one` and each of `others`, indices `(M,)`, overlap by more than `thresh`."""
        met = (self._least[others] <= self._most[one]) & (self._most[others] >= self._least[one])
        above = met.all(1)
        places = np.flatnonzero(above)
        members = others[places]
        surely = self._surely(one, members, thresh)
        for place, other in zip(places[~surely], members[~surely].tolist(), strict=True):
            above[place] = self._overlap(one, other) > thresh
        return above

    def _surely(self, one: int, others: np.ndarray, thresh: float) -> np.ndarray:
        """For which of the others the corners tell that they overlap by more than `thresh`.

        Outlines whose corners are at most `farthest` apart are the same but for what is as near as
        that to the line around the one: a band of this width on both sides of it.
        """
        steps = self._points[others] - self._points[one]
        farthest = np.sqrt((steps**2).sum(2)).max(1)
        band = farthest * (2 * self._lengths[one] + math.pi * farthest)
        area, areas = abs(self._areas[one]), np.abs(self._areas[others])
        surely = area - band > thresh * (np.maximum(area, areas) + band)
        surely &= self._areas[others] * self._areas[one] > 0
        if surely.any() and not shapely.is_valid(shapely.Polygon(self._points[one])):
            surely[:] = False
        return surely

    def _overlap(self, one: int, other: int) -> float:
        (first, first_area), (second, second_area) = self._body(one), self._body(other)
        inside = shapely.area(shapely.intersection(first, second))
        around = first_area + second_area - inside
        return float(inside / around) if around else 0.0

    def _body(self, index: int) -> tuple[Any, float]:
        """What is intersected, and the area that counts."""
        if index not in self._bodies:
            shape = shapely.Polygon(self._points[index])
            body = shapely.buffer(shape, self._growth)
            area = shape.area if self._growth else body.area
            self._bodies[index] = body, area
        return self._bodies[index]


def suppress(outlines: Outlines, order: np.ndarray, thresh: float) -> list[int]:
    """Go through `order`; keep what overlaps nothing that is kept by more than `thresh`."""
    kept = []
    while len(order):
        first, order = int(order[0]), order[1:]
        kept.append(first)
        order = order[~outlines.overlap(first, order, thresh)]
    return kept


def locality_aware_nms(boxes: np.ndarray, thresh: float) -> np.ndarray:
    """Merge boxes that follow on each other, then keep the best of those that overlap.

    Args:
        boxes: `(N, 9)`, four corners as x, y and a score, row by row as the pixels that found them.
        thresh: boxes overlap if their intersection is more than this share of their union.

    Returns:
        `(M, 9)` of the same type, best first.
    """
    merged = _merged(boxes, thresh)
    # The sort is NumPy's default one, not a stable one, to treat equal scores as PaddleOCR does.
    order = np.argsort(merged[:, 8])[::-1]
    return merged[suppress(Outlines(merged[:, :8].reshape(-1, 4, 2)), order, thresh)]


def _merged(boxes: np.ndarray, thresh: float) -> np.ndarray:
    """Each run of boxes that overlap as one: their mean, weighted by the scores, and their sum."""
    if not len(boxes):
        return boxes
    corners, scores = boxes[:, :8], boxes[:, 8]
    found = []
    run, weight = corners[0], scores[0]
    for box, score in zip(corners[1:], scores[1:], strict=True):
        if quad_overlap(run.tolist(), box.tolist()) > thresh:
            total = score + weight
            run, weight = (score * box + weight * run) / total, total
        else:
            found.append((*run, weight))
            run, weight = box, score
    return np.array([*found, (*run, weight)], boxes.dtype)


def quad_overlap(one: Quad, other: Quad) -> float:
    """Return the overlap of two quadrilaterals.

    There are thousands of them a page, one after another: plain floats are the fastest here.
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
        return _mended_overlap(one, other)
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
    """1 or -1 if all corners turn to the same side, which tells the side; else 0."""
    a, b, c, d, e, f, g, h = quad
    first = (c - a) * (f - d) - (d - b) * (e - c)
    second = (e - c) * (h - f) - (f - d) * (g - e)
    third = (g - e) * (b - h) - (h - f) * (a - g)
    fourth = (a - g) * (d - b) - (b - h) * (c - a)
    if first > 0 and second > 0 and third > 0 and fourth > 0:
        return 1
    return -1 if first < 0 and second < 0 and third < 0 and fourth < 0 else 0


def _cut(polygon: list[Point], start: Point, end: Point, turn: int) -> list[Point]:
    """What of a polygon is to that side of a line to which it turns (Sutherland and Hodgman)."""
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


def _mended_overlap(one: Quad, other: Quad) -> float:
    """The same of quadrilaterals that may have no area, reflex corners or sides that cross."""
    pair = shapely.polygons(np.array([one, other]).reshape(2, 4, 2))
    first, second = shapely.buffer(pair, 0)
    inside = first.intersection(second).area
    around = first.area + second.area - inside
    return float(inside / around) if around else 0.0
