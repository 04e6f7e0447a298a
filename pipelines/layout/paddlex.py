"""Detections to regions by the rules of PaddleX.

Rules, order and precision are those of PaddleX 3, inference/models/object_detection/processors.py
(`DetPostProcess`). Each step takes and returns detections `(N, 6)`, as in `detections.py`; its
order is that of the functions below. Those up to `in_reading_order` also take detections `(N, 8)`
with the order of reading.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

SAME_CLASS_IOU, OTHER_CLASS_IOU = 0.6, 0.98
LARGE_ON_LANDSCAPE, LARGE_ON_PORTRAIT = 0.82, 0.93
"""The share of the page above which a picture is the page itself."""
CONTAINED = 0.9
"""The share of a box that lies in another one that contains it."""
DEFAULT_THRESHOLD = 0.5


def above_threshold(detections: np.ndarray, threshold: float | Mapping[int, float]) -> np.ndarray:
    """Keep detections with a higher score than the threshold.

    Args:
        detections: `(N, 6)`.
        threshold: for all classes, or for each; with the latter, detections are grouped by class.
    """
    classes, scores = detections[:, 0], detections[:, 1]
    if not isinstance(threshold, Mapping):
        return detections[(scores > threshold) & (classes > -1)]
    kept = [
        np.flatnonzero(
            (classes == number) & (scores > threshold.get(int(number), DEFAULT_THRESHOLD))
        )
        for number in np.unique(classes[classes > -1])
    ]
    return detections[np.concatenate([np.zeros(0, int), *kept])]


def suppress_overlapping(detections: np.ndarray) -> np.ndarray:
    """Keep the best of detections that overlap; those of one class need to overlap less."""
    order = np.argsort(detections[:, 1])[::-1]
    kept: list[int] = []
    while order.size:
        current, order = int(order[0]), order[1:]
        kept.append(current)
        overlaps = _overlaps(detections[current, 2:6], detections[order, 2:6])
        is_same = detections[order, 0] == detections[current, 0]
        limits = np.where(is_same, SAME_CLASS_IOU, OTHER_CLASS_IOU).astype(overlaps.dtype)
        order = order[overlaps < limits]
    return detections[kept]


def _overlaps(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Return intersection over union of a box `(4,)` with boxes `(N, 4)`, corners included."""

    def areas(top_left: np.ndarray, bottom_right: np.ndarray) -> np.ndarray:
        sides = bottom_right - top_left + 1
        each: np.ndarray = sides[..., 0] * sides[..., 1]
        return each

    sides = np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2]) + 1
    sides = np.maximum(sides, 0)
    shared = sides[:, 0] * sides[:, 1]
    overlaps: np.ndarray = shared / (
        areas(box[:2], box[2:]) + areas(boxes[:, :2], boxes[:, 2:]) - shared
    )
    return overlaps


def without_page_sized(
    detections: np.ndarray, image: int | None, size: tuple[int, int]
) -> np.ndarray:
    """Drop pictures that are as large as the page, unless nothing else remains.

    Args:
        detections: `(N, 6)`.
        image: the class of pictures; None if there is none.
        size: height and width of the page.
    """
    if len(detections) < 2 or image is None:
        return detections
    height, width = size
    share = LARGE_ON_LANDSCAPE if width > height else LARGE_ON_PORTRAIT
    boxes = _clip(detections[:, 2:6], size)
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    kept = (detections[:, 0] != image) | (areas <= share * (height * width))
    return detections[kept] if kept.any() else detections


def merge_contained(
    detections: np.ndarray, mode: str | Mapping[int, str], formula: int | None
) -> np.ndarray:
    """Keep the outer ("large") or the inner ("small") of detections that lie in each other.

    Args:
        detections: `(N, 6)`.
        mode: "union" to keep all, "large" or "small"; or one of these for each class, "large" for
            what contains, "small" for what is contained.
        formula: the class of formulas, which do not count where they lie in something else; None if
            there is none.
    """
    classes = detections[:, 0]
    inside = _is_contained(detections[:, 2:6])
    if formula is not None:
        inside &= ~((classes == formula)[:, None] & (classes != formula))
    if not isinstance(mode, Mapping):
        return detections[_kept(inside, mode)]
    kept = np.ones(len(detections), bool)
    for number, of_class in mode.items():
        is_of_class = classes == number
        counted = inside & (is_of_class if of_class == "large" else is_of_class[:, None])
        kept &= _kept(counted, of_class)
    return detections[kept]


def _is_contained(boxes: np.ndarray) -> np.ndarray:
    """Return whether each of the boxes `(N, 4)` lies in each of the others, `(N, N) bool`."""
    sides = np.minimum(boxes[:, None, 2:], boxes[None, :, 2:]) - np.maximum(
        boxes[:, None, :2], boxes[None, :, :2]
    )
    sides = np.maximum(sides, 0)
    shared = sides[..., 0] * sides[..., 1]
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    shares = np.divide(shared, areas[:, None], out=np.zeros_like(shared), where=areas[:, None] > 0)
    contained: np.ndarray = shares >= CONTAINED
    np.fill_diagonal(contained, False)
    return contained


def _kept(inside: np.ndarray, mode: str) -> np.ndarray:
    """Return which boxes a mode keeps, where `inside`, `(N, N)`, states which lie in which."""
    is_inner, is_outer = np.any(inside, axis=1), np.any(inside, axis=0)
    kept: np.ndarray = np.ones(len(inside), bool)
    if mode == "large":
        kept &= ~is_inner
    elif mode == "small":
        kept &= ~is_outer | is_inner
    return kept


def in_reading_order(detections: np.ndarray) -> np.ndarray:
    """Sort detections `(N, 8)` by the order of reading, and drop it; others keep their order."""
    if detections.shape[1] != 8:
        return detections
    ranks, votes = detections[:, 6], detections[:, 7]
    return detections[np.lexsort((-votes, ranks)), :6]


def unclip(
    detections: np.ndarray, ratio: Sequence[float] | Mapping[int, Sequence[float]]
) -> np.ndarray:
    """Enlarge boxes about their centre.

    Args:
        detections: `(N, 6)`.
        ratio: factors of width and height, for all classes, or for each that is enlarged.
    """
    if isinstance(ratio, Mapping):
        changed = detections.copy()
        for number, of_class in ratio.items():
            mask = detections[:, 0] == number
            changed[mask] = unclip(detections[mask], of_class)
        return changed
    sides = detections[:, 4:] - detections[:, 2:4]
    # The factors are applied one by one, as in PaddleX, so that they do not change the precision.
    halves = np.column_stack([sides[:, 0] * ratio[0], sides[:, 1] * ratio[1]]) / 2
    centres = detections[:, 2:4] + sides / 2
    return np.column_stack([detections[:, :2], centres - halves, centres + halves])


def within_page(detections: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Clip boxes to the page, and drop those without an area.

    Args:
        detections: `(N, 6)`.
        size: height and width of the page.
    """
    boxes = _clip(detections[:, 2:], size)
    has_area = (boxes[:, 2:] > boxes[:, :2]).all(1)
    return np.column_stack([detections[:, :2], boxes])[has_area]


def _clip(boxes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    height, width = size
    top_left = np.maximum(boxes[:, :2], 0)
    bottom_right = np.minimum(boxes[:, 2:], np.array([width, height], boxes.dtype))
    return np.concatenate([top_left, bottom_right], 1)
