"""Decisions made from a network's final results: classes, boxes of text, pixels.

Each function returns Paddle's decisions and ours as two lists with one entry for each item of the
batch. Where rounding alone could change a decision, ours is replaced by Paddle's.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Decided = tuple[list[Any], list[Any]]
WHITE = 255
NO_CLASS = -1


def classes(
    expected: np.ndarray, actual: np.ndarray, limit: float, allowed: np.ndarray | None = None
) -> Decided:
    """Return the best class at each position; integers are decided inside the network.

    Args:
        expected: Paddle's scores, (..., C), or its classes as integers.
        actual: ours, of the same shape.
        limit: allowed rounding, as a fraction of max|expected|.
        allowed: allowed absolute rounding of each score, in place of `limit`.
    """
    if expected.dtype.kind in "iub":
        return expected.tolist(), actual.tolist()
    theirs = expected.argmax(-1)
    rounding = limit * float(np.abs(expected).max()) if allowed is None else allowed
    return theirs.tolist(), settled_classes(theirs, actual, rounding).tolist()


def settled_classes(
    theirs: np.ndarray, scores: np.ndarray, rounding: float | np.ndarray
) -> np.ndarray:
    """Return our best class at each position; where rounding alone decides it, Paddle's.

    Two scores, each moved by at most `rounding`, change their order only where they are no further
    apart than both together. Where the best score is NaN or infinite, it is NO_CLASS.

    Args:
        theirs: Paddle's best classes, (...) integers.
        scores: ours, (..., C).
        rounding: by how much they may differ from Paddle's: one number, or one for each, (..., C).
    """
    theirs = theirs.astype(int)
    ours = scores.argmax(-1)
    best, other = _chosen(scores, ours), _chosen(scores, theirs)
    room = np.broadcast_to(rounding, scores.shape)
    on_edge = best - other <= _chosen(room, ours) + _chosen(room, theirs)
    return np.where(on_edge, theirs, np.where(np.isfinite(best), ours, NO_CLASS))


def _chosen(values: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Return the value of one class at each position: of (..., C) by (...) to (...) float64."""
    return np.take_along_axis(values, classes[..., None], -1)[..., 0].astype(np.float64)


def boxes(
    expected: np.ndarray,
    actual: np.ndarray,
    limit: float,
    threshold: float,
    allowed: np.ndarray | None = None,
) -> Decided:
    """Return the upright boxes (x, y, width, height) of all regions above the threshold.

    Args:
        expected: Paddle's maps, (N, C, H, W); the first channel shows where text is.
        actual: ours, of the same shape.
        limit: allowed rounding, as a fraction of max|expected|, at least of 1.
        threshold: above which a pixel is text.
        allowed: allowed absolute rounding of each pixel, in place of `limit`.
    """
    rounding = limit * max(1.0, float(np.abs(expected).max())) if allowed is None else allowed
    on_edge = np.abs(expected - threshold) <= rounding
    ours = np.where(on_edge, expected, actual)
    return _boxes(expected, threshold), _boxes(ours, threshold)


def _boxes(maps: np.ndarray, threshold: float) -> list[Any]:
    import cv2

    boxes_of_items = []
    for image in maps[:, 0]:
        mask = (image > threshold).astype(np.uint8)
        contours = cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)[0]
        boxes_of_items.append(sorted(tuple(cv2.boundingRect(contour)) for contour in contours))
    return boxes_of_items


def pixels(expected: np.ndarray, actual: np.ndarray, limit: float) -> Decided:
    """Return the 8-bit values that images are written with.

    Args:
        expected: Paddle's images, (N, C, H, W), from 0, black, to 1, white.
        actual: ours, of the same shape.
        limit: allowed rounding, as a fraction of max|expected|.
    """
    rounding = limit * float(np.abs(expected).max())
    theirs, least, most, ours = (
        np.clip(WHITE * values, 0, WHITE).astype(np.uint8).reshape(len(values), -1)
        for values in (expected, expected - rounding, expected + rounding, actual)
    )
    within = (least <= ours) & (ours <= most)
    return theirs.tolist(), np.where(within, theirs, ours).tolist()


def first_unlike(theirs: list[Any], ours: list[Any]) -> str:
    """Describe the first decision that differs; return "" if all are equal."""
    unlike = (i for i, (a, b) in enumerate(zip(theirs, ours, strict=True)) if a != b)
    if (item := next(unlike, None)) is None:
        return ""
    a, b = theirs[item], ours[item]
    if isinstance(a, list) and len(a) == len(b):
        place = next(i for i, (x, y) in enumerate(zip(a, b, strict=True)) if x != y)
        return f"{a[place]} in place {place} of item {item}, PyTorch {b[place]}"
    return f"{str(a)[:80]} for item {item}, PyTorch {str(b)[:80]}"
