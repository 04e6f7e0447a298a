"""From the maps of DRRG to text components: small boxes along the middle of each line.

Deep Relational Reasoning Graph Network for Arbitrary Shape Text Detection,
https://arxiv.org/abs/2003.07493; PaddleOCR: `ppocr/modeling/heads/proposal_local_graph.py`, and the
package `lanms` for what is merged.

PaddleOCR's network does this between its layers, on arrays; so it is the one place here that needs
OpenCV, and it is imported when the network runs.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

UNITS = 10000  # of a pixel, in which boxes are merged
ONE = np.float32(1)
# Places of the corners as they are, and backwards from the last or from another one.
_COMPARED = np.array([[0, 1, 2, 3, 4, 5, 6, 7], [6, 7, 4, 5, 2, 3, 0, 1], [2, 3, 0, 1, 6, 7, 4, 5]])
_TAKEN = np.array([[0, 1, 2, 3, 4, 5, 6, 7], [6, 7, 4, 5, 2, 3, 0, 1], [0, 1, 6, 7, 4, 5, 2, 3]])


@dataclass(frozen=True)
class Proposals:
    """Finds components; its attributes are the options of PaddleOCR's DRRGHead."""

    nms_thr: float
    min_width: float
    max_width: float
    comp_shrink_ratio: float
    comp_ratio: float
    comp_score_thr: float
    text_region_thr: float
    center_region_thr: float
    center_region_area_thr: int

    def __call__(self, maps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the components of one image and their attributes.

        Args:
            maps: `(6, H, W) float32`: probabilities of text and of its middle, sine and cosine of
                the way up, and the heights above and below.

        Returns:
            `(N, 9) float32`, the corners, clockwise from the top left, and the score of each; and
            `(N, 6)`, its centre in whole pixels, height, width, cosine and sine.
        """
        text, middle = maps[:2]
        is_text = text > self.text_region_thr
        is_middle = _filled((middle > self.center_region_thr) & is_text)
        unit = np.sqrt(1.0 / (maps[2] ** 2 + maps[3] ** 2 + 1e-8))
        geometry = np.stack([maps[2] * unit, maps[3] * unit, maps[4], maps[5]])
        contours = cv2.findContours(is_middle, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)[0]
        found = [self._along(contour, text, is_text, geometry) for contour in contours]
        components = np.vstack([np.zeros((0, 9), np.float32), *found])
        boxes = components[:, :8].reshape(-1, 4, 2)
        last = np.array(text.shape[::-1]) - 1
        centres = boxes.mean(1).astype(np.int32)
        x, y = np.clip(centres, 0, last).T  # beyond the edge PaddleOCR fails, or reads another edge
        boxes = np.clip(boxes, 0, last).astype(np.float32)
        scores = np.array([_mean_inside(box, text) for box in boxes], np.float32)

        sine, cosine, above, below = geometry[:, y, x]
        height = above + below
        width = np.clip(height * self.comp_ratio, self.min_width, self.max_width)
        attributes = np.column_stack([centres, height, width, cosine, sine])
        return np.hstack([boxes.reshape(-1, 8), scores[:, None]]), attributes

    def _along(
        self, contour: np.ndarray, text: np.ndarray, is_text: np.ndarray, geometry: np.ndarray
    ) -> np.ndarray:
        """Components along one middle, `(n, 9) float32`; none where it is small or no text."""
        none = np.zeros((0, 9), np.float32)
        left, top, width, height = cv2.boundingRect(contour)
        inside = np.zeros((height, width), np.uint8)
        cv2.drawContours(inside, [contour], -1, 1, -1, offset=(-left, -top))
        if cv2.countNonZero(inside) <= self.center_region_area_thr:
            return none
        window = np.s_[top : top + height, left : left + width]
        y, x = np.nonzero(text[window] * inside > self.comp_score_thr)
        if not len(y):
            return none
        order = np.argsort(y)  # not a stable sort, as in PaddleOCR: neighbours are merged in turn
        y, x = y[order] + top, x[order] + left
        boxes = self._boxes(y, x, geometry[:, y, x])
        merged = _merged(np.hstack([boxes, text[y, x, None]]), self.nms_thr)
        covered = np.zeros(text.shape, np.uint8)
        cv2.drawContours(covered, [*merged[:, :8].reshape(-1, 4, 2).astype(np.int32)], -1, 1, -1)
        if cv2.countNonZero(covered & is_text) < cv2.countNonZero(covered) * 0.5:
            return none
        return merged

    def _boxes(self, y: np.ndarray, x: np.ndarray, geometry: np.ndarray) -> np.ndarray:
        """The box around each pixel, `(n, 8) float32`, from the geometry maps there, `(4, n)`."""
        sine, cosine = geometry[:2, :, None]
        above, below = geometry[2:, :, None] * np.float32(self.comp_shrink_ratio)
        half = np.clip((above + below) * self.comp_ratio, self.min_width, self.max_width) / 2
        centre = np.stack([x, y], 1)
        up, along = np.hstack([cosine, sine]), np.hstack([-half * sine, half * cosine])
        upper, lower = centre + above * up, centre - below * up
        corners = [upper - along, upper + along, lower + along, lower - along]
        return np.hstack(corners).astype(np.float32)


def _filled(mask: np.ndarray) -> np.ndarray:
    """Fill the holes of a mask, uint8."""
    framed = np.pad(mask.astype(np.uint8), 1)
    cv2.floodFill(framed, None, (0, 0), 2)
    return (framed[1:-1, 1:-1] != 2).astype(np.uint8)


def _mean_inside(box: np.ndarray, text: np.ndarray) -> float:
    """Mean of a map over a box `(4, 2)` that lies on it."""
    left, top = box.min(0).astype(np.int32)
    right, bottom = box.max(0).astype(np.int32)
    inside = np.zeros((bottom - top + 1, right - left + 1), np.uint8)
    cv2.fillPoly(inside, [(box - (left, top)).astype(np.int32)], 1)
    return cv2.mean(text[top : bottom + 1, left : right + 1], inside)[0]


def _merged(boxes: np.ndarray, thresh: float) -> np.ndarray:
    """Locality-aware NMS of boxes `(n, 9)`: neighbours become one, then overlapping ones go.

    Boxes that follow each other and overlap by more than `thresh` are merged, each weighed by its
    score; a merged box gets the sum of the scores. One rounding decides where a chain of merged
    boxes ends, so they are the same as in `lanms`: whole numbers of `UNITS`, summed up in float32.
    """
    corners = np.trunc((boxes[:, :8] * np.float64(UNITS)).astype(np.float32))
    merged: list[np.ndarray] = []
    scores: list[np.float32] = []
    for box, score in zip(corners, boxes[:, 8].astype(np.float32), strict=True):
        if merged and _overlap(merged[-1].reshape(4, 2), box.reshape(4, 2)) > thresh:
            box = _as_ordered(box, merged[-1])
            sums = np.trunc(np.trunc(merged[-1] * scores[-1]) + box * score)
            scores[-1] += score
            merged[-1] = np.trunc(sums * (ONE / scores[-1]))
        else:
            merged.append(box)
            scores.append(score)
    kept = _kept(np.column_stack([merged, scores]), thresh)
    kept[:, :8] /= UNITS
    return kept


def _as_ordered(box: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The corners `(8,)` of a box in the direction in which those of another, near to it, run.

    Of corners that run backwards, `lanms` pairs the second with the first when it compares and the
    first with the first when it merges; weights are trained for what comes of it.
    """
    gaps = ((box[_COMPARED] - other) ** 2).sum(1)
    return box[_TAKEN[gaps.argmin()]]


def _kept(boxes: np.ndarray, thresh: float) -> np.ndarray:
    """The boxes, highest score first, that overlap none of higher score by more than `thresh`."""
    boxes = boxes[np.argsort(-boxes[:, 8], kind="stable")]
    corners = boxes[:, :8].reshape(-1, 4, 2)
    low, high = corners.min(1), corners.max(1)
    kept: list[int] = []
    for place, box in enumerate(corners):
        near = ((low[kept] < high[place]) & (high[kept] > low[place])).all(1)
        if not any(_overlap(corners[other], box) > thresh for other in np.array(kept)[near]):
            kept.append(place)
    return boxes[kept]


def _overlap(first: np.ndarray, second: np.ndarray) -> float:
    """Intersection over union of two convex boxes `(4, 2) float32`."""
    common = cv2.intersectConvexConvex(first, second)[0]
    union = cv2.contourArea(first) + cv2.contourArea(second) - common
    return common / union if union > 0 else 0.0
