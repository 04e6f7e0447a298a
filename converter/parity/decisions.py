"""What follows from a network's final results on both sides: classes, boxes of text, pixels.

Each function returns the decisions, Paddle's and ours, as lists of one for each item. Where
Paddle's own value lies on an edge, within rounding, ours counts as Paddle's.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Decided = tuple[list[Any], list[Any]]
WHITE = 255


def classes(expected: np.ndarray, actual: np.ndarray, limit: float) -> Decided:
    """Return the best class of each place; integers are decided inside the network."""
    if expected.dtype.kind in "iub":
        return expected.tolist(), actual.tolist()
    theirs, ours = expected.argmax(-1), actual.argmax(-1)
    second, first = np.moveaxis(np.partition(expected, -2)[..., -2:], -1, 0)
    on_edge = first - second <= limit * expected.max()
    return theirs.tolist(), np.where(on_edge, theirs, ours).tolist()


def boxes(expected: np.ndarray, actual: np.ndarray, limit: float, threshold: float) -> Decided:
    """Return the upright boxes (x, y, width, height) of all regions above the threshold."""
    rounding = limit * max(1.0, float(np.abs(expected).max()))
    on_edge = np.abs(expected - threshold) <= rounding
    settled = np.where(on_edge, expected, actual)
    return _boxes(expected, threshold), _boxes(settled, threshold)


def _boxes(maps: np.ndarray, threshold: float) -> list[Any]:
    import cv2

    found = []
    for image in maps[:, 0]:
        mask = (image > threshold).astype(np.uint8)
        contours = cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)[0]
        found.append(sorted(tuple(cv2.boundingRect(contour)) for contour in contours))
    return found


def pixels(expected: np.ndarray, actual: np.ndarray, limit: float) -> Decided:
    """Return the values of 8 bits that images, black 0 and white 1, are written with."""
    rounding = limit * float(np.abs(expected).max())
    theirs, least, most, ours = (
        np.clip(WHITE * values, 0, WHITE).astype(np.uint8).reshape(len(values), -1)
        for values in (expected, expected - rounding, expected + rounding, actual)
    )
    within = (least <= ours) & (ours <= most)
    return theirs.tolist(), np.where(within, theirs, ours).tolist()


def first_unlike(theirs: list[Any], ours: list[Any]) -> str:
    """Return the first decision that differs, in words; nothing where all are alike."""
    unlike = (i for i, (a, b) in enumerate(zip(theirs, ours, strict=True)) if a != b)
    if (item := next(unlike, None)) is None:
        return ""
    a, b = theirs[item], ours[item]
    if isinstance(a, list) and len(a) == len(b):
        place = next(i for i, (x, y) in enumerate(zip(a, b, strict=True)) if x != y)
        return f"{a[place]} in place {place} of item {item}, PyTorch {b[place]}"
    return f"{str(a)[:80]} for item {item}, PyTorch {str(b)[:80]}"
