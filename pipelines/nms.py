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
        growth: they are intersected as grown by so many pixels, which also mends those that cross
            themselves; without it these are mended by themselves.
    """

    def __init__(self, points: np.ndarray, growth: float = 0.0) -> None:
        self._points = points.astype(np.float64)
        self._growth = growth
        self._shapes = shapely.polygons(self._points)
        self._valid = shapely.is_valid(self._shapes)
        if not growth:
            self._shapes[~self._valid] = shapely.buffer(self._shapes[~self._valid], 0)
        self._areas = shapely.area(self._shapes)
        self._lengths = shapely.length(self._shapes)
        self._least = self._points.min(1) - growth
        self._most = self._points.max(1) + growth
        self._grown: dict[int, Any] = {}

    def overlap(self, one: int, others: np.ndarray, thresh: float) -> np.ndarray:
        """Whether `one` and each of `others`, indices `(M,)`, overlap by more than `thresh`."""
        met = (self._least[others] <= self._most[one]) & (self._most[others] >= self._least[one])
        above = met.all(1)
        places = np.flatnonzero(above)
        members = others[places]
        steps = self._points[members] - self._points[one]
        farthest = np.sqrt((steps**2).sum(2)).max(1)
        surely = _least_overlap(self._areas[one], self._lengths[one], farthest) > thresh
        surely &= self._valid[one] & self._valid[members]
        for place, other in zip(places[~surely], members[~surely].tolist(), strict=True):
            above[place] = self._overlap(one, other) > thresh
        return above

    def _overlap(self, one: int, other: int) -> float:
        inside = shapely.area(shapely.intersection(self._body(one), self._body(other)))
        around = self._areas[one] + self._areas[other] - inside
        return float(inside / around) if around else 0.0

    def _body(self, index: int) -> Any:
        if not self._growth:
            return self._shapes[index]
        if index not in self._grown:
            self._grown[index] = shapely.buffer(self._shapes[index], self._growth)
        return self._grown[index]


def _least_overlap(area: Any, length: Any, farthest: Any) -> Any:
    """A bound for an outline and another whose corners are at most `farthest` from its own.

    Both are the same but for what is as near as that to the line around the one; and that is not
    more than a band of this width on both sides of the line.
    """
    band = farthest * (2 * length + math.pi * farthest)
    return (area - band) / (area + 2 * band + 1e-9)


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
