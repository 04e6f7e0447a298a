"""Decoding of DRRG: linked text components become polygons.

Zhang et al., "Deep Relational Reasoning Graph Network for Arbitrary Shape Text Detection" (2020).
Numbers follow PaddleOCR 2.x: ppocr/postprocess/drrg_postprocess.py (`DRRGPostprocess`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np

from pipelines.detection.postprocess.decoder import Outputs, Sizes, finish_polygons
from pipelines.detection.postprocess.shapes import Shape
from schemas.processing import DRRGSettings

MAX_LINK_LENGTH = 50.0
"""Components with centres farther apart, in pixels of the network's input, are not linked."""


@dataclass(frozen=True)
class DRRGDecoder(DRRGSettings):
    """Decodes the text components and links of DRRG to polygons."""

    @property
    def box_type(self) -> str:
        """Polygons only: "poly"."""
        return "poly"

    def shapes(self, height: int, width: int) -> Mapping[str, Shape]:
        """Return the shapes of the links, their scores, the components and the maps."""
        return {
            "edges": (None, 2),
            "scores": (None,),
            "text_comps": (None, 9),
            "maps": (1, 6, height, width),
        }

    def __call__(self, outputs: Outputs, sizes: Sizes) -> list[np.ndarray]:
        """Decode the outputs for one image; see `Decoder`."""
        boxes = outputs["text_comps"][:, :8].astype(np.float64).reshape(-1, 4, 2)
        edges = self._link(outputs["edges"], outputs["scores"].astype(np.float64), boxes)
        whole = boxes.astype(np.int32)
        ratio = 1 / np.array(sizes.ratio[::-1])
        lines = (outline(whole[members]) * ratio for members in _groups(edges, len(boxes)))
        return finish_polygons(lines, sizes.image)

    def _link(self, edges: np.ndarray, scores: np.ndarray, boxes: np.ndarray) -> np.ndarray:
        """Return the pairs `(M, 2)` of linked components, by the mean score of both directions."""
        centres = boxes.mean(1)
        lengths = np.linalg.norm(centres[edges[:, 0]] - centres[edges[:, 1]], axis=1)
        scores = np.where(lengths > MAX_LINK_LENGTH, 0.0, scores)
        pairs, owners = np.unique(np.sort(edges, axis=1), axis=0, return_inverse=True)
        owners = owners.reshape(-1)
        counts = np.bincount(owners, minlength=len(pairs))
        means = np.bincount(owners, scores, len(pairs)) / counts
        linked: np.ndarray = pairs[means >= self.link_thr]
        return linked


def _groups(edges: np.ndarray, count: int) -> list[np.ndarray]:
    """Return the components of each line of two or more, sorted by the lowest index."""
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
    """Return the polygon around the components of one line.

    It follows the middles of the upper sides and returns along the lower ones; at both ends the
    corners of the last box are added if the middle of its outer side is not inside.

    Args:
        boxes: `(M, 4, 2) int32`, two or more.

    Returns:
        `(N, 2) int32`.
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
    """Return the order in which a line connects its points.

    It starts at the first point and is extended at either end, always by the point nearest to one
    of the ends. Of equal points the first is taken.

    Args:
        points: `(M, 2) int32`.

    Returns:
        Indices of the points.
    """
    places, first, same = np.unique(points, axis=0, return_index=True, return_inverse=True)
    same = same.reshape(-1)
    left = np.bincount(same)  # the number of points that are left at each place
    left[same[0]] -= 1
    front = back = same[0]
    order = [front]
    # Among equally near places, the one with the last point is taken.
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
