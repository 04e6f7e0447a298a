"""The maps that a DB detector is trained with, made of the outlines of texts.

Real-time Scene Text Detection with Differentiable Binarization, https://arxiv.org/abs/1911.08947;
PaddleOCR: `ppocr/data/imaug/make_shrink_map.py` and `make_border_map.py`. `DBTargets` of
`architectures.losses` takes the four maps, a batch of each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import pyclipper
from shapely.geometry import Polygon

SHRINK_RATIO = 0.4
THRESHOLDS = (0.3, 0.7)
MIN_SIDE = 8


@dataclass(frozen=True)
class TargetMaps:
    """What the maps of a detector should be for one image; each is (H, W) float32.

    Attributes:
        shrink: 1 inside the shrunken outlines, 0 elsewhere.
        shrink_mask: 0 where a text does not count, 1 elsewhere.
        thresh: the thresholds, highest on the outlines.
        thresh_mask: 1 inside the enlarged outlines, 0 elsewhere.
    """

    shrink: np.ndarray
    shrink_mask: np.ndarray
    thresh: np.ndarray
    thresh_mask: np.ndarray


def draw_targets(
    polygons: Sequence[np.ndarray], ignored: Sequence[bool], height: int, width: int
) -> TargetMaps:
    """Draw the maps of one image.

    Args:
        polygons: the outline of each text, (points, 2), x and y in pixels.
        ignored: for each text, whether it does not count, as where nobody can read it. Texts of
            less than 8 pixels in height or width never do.
        height, width: of the image.
    """
    shape = (height, width)
    maps = TargetMaps(
        np.zeros(shape, np.float32),
        np.ones(shape, np.float32),
        np.zeros(shape, np.float32),
        np.zeros(shape, np.float32),
    )
    for outline, skip in zip(polygons, ignored, strict=True):
        polygon = np.clip(np.asarray(outline, np.float64), 0, (width - 1, height - 1))
        whole = Polygon(polygon)
        small = np.ptp(polygon, 0).min() < MIN_SIDE
        shrunken = [] if skip or small or whole.area < 1 else _shrunken(polygon, whole)
        if not shrunken:
            cv2.fillPoly(maps.shrink_mask, [polygon.astype(np.int32)], 0.0)
            continue
        for part in shrunken:
            cv2.fillPoly(maps.shrink, [np.array(part, np.int32)], 1.0)
        _draw_border(polygon, whole, maps)
    low, high = THRESHOLDS
    maps.thresh[:] = maps.thresh * np.float32(high - low) + np.float32(low)
    return maps


def _reach(whole: Polygon, ratio: float) -> float:
    """Return how far the outline moves where the text is shrunken by a ratio."""
    return float(whole.area * (1 - ratio**2) / whole.length)


def _moved(polygon: np.ndarray, distance: float) -> list[list[list[int]]]:
    """Return the outlines of a polygon that grows by a distance, or shrinks by a negative one."""
    offset = pyclipper.PyclipperOffset()
    offset.AddPath(polygon.tolist(), pyclipper.JT_ROUND, pyclipper.ET_CLOSEDPOLYGON)
    found: list[list[list[int]]] = offset.Execute(distance)
    return found


def _shrunken(polygon: np.ndarray, whole: Polygon) -> list[list[list[int]]]:
    """Return a shrunken outline; less shrunken, where the text would fall apart or vanish."""
    found: list[list[list[int]]] = []
    for ratio in np.arange(SHRINK_RATIO, 1, SHRINK_RATIO):
        found = _moved(polygon, -_reach(whole, ratio))
        if len(found) == 1:
            break
    return found


def _draw_border(polygon: np.ndarray, whole: Polygon, maps: TargetMaps) -> None:
    """Draw thresholds that fall from the outline to both sides."""
    reach = _reach(whole, SHRINK_RATIO)
    grown = _moved(polygon, reach)
    if not grown:
        return
    border = np.array(grown[0], np.int32)
    cv2.fillPoly(maps.thresh_mask, [border], 1.0)
    height, width = maps.thresh.shape
    left, top = np.clip(border.min(0), 0, (width - 1, height - 1))
    right, bottom = np.clip(border.max(0), 0, (width - 1, height - 1))
    places = np.stack(np.meshgrid(np.arange(left, right + 1), np.arange(top, bottom + 1)), -1)
    edges = zip(polygon, np.roll(polygon, -1, 0), strict=True)
    distance = np.min([_distance(places, *edge) for edge in edges], 0)
    near = maps.thresh[top : bottom + 1, left : right + 1]
    np.fmax(near, 1 - np.clip(distance / reach, 0, 1), out=near, casting="same_kind")


def _distance(places: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Return the distance of places, (H, W, 2), from an edge: (H, W).

    As in PaddleOCR, it is that of the line where the edge is seen at an obtuse angle, and that of
    the nearer end elsewhere; on the edge it is 0, where PaddleOCR's may be no number.
    """
    to_start, to_end, edge = places - start, places - end, end - start
    ends = np.minimum(np.linalg.norm(to_start, axis=-1), np.linalg.norm(to_end, axis=-1))
    length = np.linalg.norm(edge)
    if length == 0:
        return ends
    across = np.abs(to_start[..., 0] * edge[1] - to_start[..., 1] * edge[0]) / length
    return np.where((to_start * to_end).sum(-1) > 0, ends, across)
