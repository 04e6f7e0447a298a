"""From the components and links of DRRG to polygons: what is linked becomes a line.

Zhang et al., "Deep Relational Reasoning Graph Network for Arbitrary Shape Text Detection" (2020).
Numbers follow PaddleOCR 2.x: ppocr/postprocess/drrg_postprocess.py (`DRRGPostprocess`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import cv2
import numpy as np

from pipelines.detection.postprocess.decoder import Outputs, Shape, Sizes, finish_polygons
from pipelines.validation import PROBABILITY, Check, check

MAX_LENGTH = 50.0
"""Components whose centres are farther apart, in pixels of the input, are not linked."""


@dataclass(frozen=True)
class DRRGDecoder:
    """Turns what DRRG returns into polygons; its network has found the components of lines.

    Attributes:
        link_thr: probability from which on two components belong to one line.

    Raises:
        SettingsError: a value without a meaning.
    """

    checks: ClassVar[Mapping[str, Check]] = {"link_thr": PROBABILITY}

    link_thr: float = 0.8

    def __post_init__(self) -> None:
        check(self, self.checks)

    @property
    def box_type(self) -> str:
        """It finds polygons."""
        return "poly"

    def shapes(self, height: int, width: int) -> Mapping[str, Shape]:
        """Return the shapes of pairs, their scores, components, and the maps these are found in."""
        return {
            "edges": (None, 2),
            "scores": (None,),
            "text_comps": (None, 9),
            "maps": (1, 6, height, width),
        }

    def __call__(self, results: Outputs, sizes: Sizes) -> list[np.ndarray]:
        """Find the text lines of one image, as `Decoder` says."""
        boxes = results["text_comps"][:, :8].astype(np.float64).reshape(-1, 4, 2)
        edges = self._linked(results["edges"], results["scores"].astype(np.float64), boxes)
        whole = boxes.astype(np.int32)
        ratio = 1 / np.array(sizes.ratio[::-1])
        lines = (outline(whole[members]) * ratio for members in _groups(edges, len(boxes)))
        return finish_polygons(lines, sizes.image)

    def _linked(self, edges: np.ndarray, scores: np.ndarray, boxes: np.ndarray) -> np.ndarray:
        """The pairs `(M, 2)` of components that belong together, by the mean of both's scores."""
        centres = boxes.mean(1)
        lengths = np.linalg.norm(centres[edges[:, 0]] - centres[edges[:, 1]], axis=1)
        scores = np.where(lengths > MAX_LENGTH, 0.0, scores)
        pairs, places = np.unique(np.sort(edges, axis=1), axis=0, return_inverse=True)
        places = places.reshape(-1)
        counts = np.bincount(places, minlength=len(pairs))
        means = np.bincount(places, scores, len(pairs)) / counts
        linked: np.ndarray = pairs[means >= self.link_thr]
        return linked


def _groups(edges: np.ndarray, count: int) -> list[np.ndarray]:
    """The components of each line, of two or more, by the lowest of them."""
    labels = np.arange(count)
    while True:
        lowest = labels[edges].min(1)
        before = labels.copy()
        np.minimum.at(labels, edges, lowest[:, np.newaxis])
        labels = labels[labels]
        if np.array_equal(labels, before):
            break
    order = np.argsort(labels, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(labels[order])) + 1)
    return [members for members in groups if len(members) > 1]


def outline(boxes: np.ndarray) -> np.ndarray:
    """Return the polygon `(N, 2)` around boxes `(M, 4, 2) int32`, two or more, of one line.

    Along the upper sides and back along the lower ones; at both ends a corner of the last box is
    added where the middle of its side is not inside.
    """
    boxes = boxes[path(boxes.mean(1).astype(np.int32))]
    upper = [*boxes[:, :2].mean(1).astype(np.int32)]
    lower = [*boxes[:, 2:].mean(1).astype(np.int32)]
    contour = np.array(upper + lower[::-1])
    ends = []
    for box in (boxes[0], boxes[-1]):
        top_left, top_right, bottom_right, bottom_left = box
        sides = (top_left, bottom_left), (top_right, bottom_right)
        outside = (side for side in sides if not _is_inside(contour, (side[0] + side[1]) / 2))
        ends.append(next(outside, None))
    first, last = ends
    if first is not None:
        upper.insert(0, first[0])
        lower.insert(0, first[1])
    if last is not None:
        upper.append(last[0])
        lower.append(last[1])
    return np.array(upper + lower[::-1])


def path(points: np.ndarray) -> np.ndarray:
    """Return the order in which a line goes through points `(M, 2) int32`.

    It begins at the first one and becomes longer at either end, always by the point that is nearest
    to one of the ends; of points that are at one place it takes the first.
    """
    places, first, same = np.unique(points, axis=0, return_index=True, return_inverse=True)
    same = same.reshape(-1)
    left = np.bincount(same)  # how many points are still to come at each place
    left[same[0]] -= 1
    front = back = same[0]
    order = [front]
    # Of places that are equally near, the one whose last point comes last is taken.
    last = np.zeros(len(places), np.intp)
    np.maximum.at(last, same, np.arange(len(points)))
    while left.any():
        there = np.flatnonzero(left)
        there = there[np.argsort(-last[there])]
        gaps = places[there].astype(np.int64) - places[[front, back], np.newaxis]
        lengths = (gaps**2).sum(2)
        nearest = lengths.argmin(1)
        to_front, to_back = lengths[[0, 1], nearest]
        if to_front <= to_back:
            front = there[nearest[0]]
            order.insert(0, front)
            left[front] -= 1
        else:
            back = there[nearest[1]]
            order.append(back)
            left[back] -= 1
    return first[list(dict.fromkeys(order))]


def _is_inside(contour: np.ndarray, point: np.ndarray) -> bool:
    x, y = point.astype(int).tolist()
    return cv2.pointPolygonTest(contour, (x, y), False) > 0.5
