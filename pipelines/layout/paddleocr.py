"""Detections of PicoDet by the rules of PP-Structure 2.

Rules, order and precision are those of PaddleOCR 2.x, ppocr/postprocess/picodet_postprocess.py
(`PicoDetPostProcess`). Detections are arrays `(N, 6)`, as in `detections.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from pipelines.layout.detections import decode_distances, level_sizes, levels

CELLS_PER_LEVEL = 1000
CANDIDATES, KEPT_PER_CLASS = 200, 100
SAME_REGION = 0.5
"""The share of the smaller of two boxes above which they are the same region."""
_EPS = 1e-5


def picodet_regions(
    outputs: Mapping[str, np.ndarray],
    strides: Sequence[int],
    input_size: tuple[int, int],
    image_size: tuple[int, int],
    *,
    threshold: Sequence[float],
    nms_threshold: float,
    table: int | None,
) -> np.ndarray:
    """Return the regions of a page, class by class.

    Args:
        outputs: of the network, for one page.
        strides: pixels of the input per cell of each level.
        input_size: height and width of the network's input.
        image_size: height and width of the page.
        threshold: of each class, the score above which a region counts.
        nms_threshold: the intersection over union above which the worse of two regions of a class
            is left out.
        table: the class of tables, which win over other classes; None if there is none.

    Returns:
        `(N, 6) float64`.
    """
    boxes, scores = [], []
    for (level_scores, distances), size, stride in zip(
        levels(outputs), level_sizes(*input_size, strides), strides, strict=True
    ):
        best = np.argsort(level_scores.max(1))[::-1][:CELLS_PER_LEVEL]
        boxes.append(decode_distances(distances, size, stride)[best])
        scores.append(level_scores[best])
    all_boxes, all_scores = np.concatenate(boxes), np.concatenate(scores)
    rows = [np.zeros((0, 6))]
    for number, of_class in enumerate(all_scores.T):
        above = of_class > threshold[number]
        kept = _hard_nms(all_boxes[above], of_class[above], nms_threshold)
        rows.append(np.insert(kept, 0, number, axis=1))
    detections = np.concatenate(rows)
    detections[:, 2:] = _to_image(detections[:, 2:], input_size, image_size)
    return thin_out(detections, table)


def _hard_nms(boxes: np.ndarray, scores: np.ndarray, threshold: float) -> np.ndarray:
    """Return scores and boxes `(M, 5)` without those that overlap a better one, the best first.

    Args:
        boxes: `(N, 4)`.
        scores: `(N,)`.
        threshold: the intersection over union above which the worse of two boxes is left out.
    """
    scores = scores.astype(boxes.dtype)
    left = np.argsort(scores)[-CANDIDATES:]
    kept: list[int] = []
    while left.size and len(kept) < KEPT_PER_CLASS:
        current, left = int(left[-1]), left[:-1]
        kept.append(current)
        shared = _shared_areas(boxes[left], boxes[current])
        union = _areas(boxes[left]) + _areas(boxes[current]) - shared
        left = left[shared / (union + _EPS) <= threshold]
    return np.column_stack([scores[kept], boxes[kept]])


def _to_image(
    boxes: np.ndarray, input_size: tuple[int, int], image_size: tuple[int, int]
) -> np.ndarray:
    """Clip boxes `(N, 4)` to the network's input, and scale them to the page."""
    ordered = np.concatenate(
        [np.minimum(boxes[:, :2], boxes[:, 2:]), np.maximum(boxes[:, :2], boxes[:, 2:])], 1
    )
    limits = np.tile(np.array(input_size[::-1], np.float32), 2)
    clipped = ordered.clip(0, limits).astype(np.float32).astype(np.float64)
    scales = [side / float(original) for side, original in zip(input_size, image_size, strict=True)]
    scaled: np.ndarray = clipped / np.tile(np.array(scales[::-1], np.float32), 2)
    return scaled


def thin_out(detections: np.ndarray, table: int | None) -> np.ndarray:
    """Leave one of several boxes, of whatever class, that are the same region.

    Of the boxes that share more than half of the smaller one's area with a box, the best table is
    left or, if there is none, the best of all; boxes are taken in their order.

    Args:
        detections: `(N, 6)`.
        table: the class of tables; None if there is none.
    """
    boxes = detections[:, 2:]
    areas = _areas(boxes)
    dropped: set[int] = set()
    for index, box in enumerate(boxes):
        if index in dropped:
            continue
        with np.errstate(divide="ignore", invalid="ignore"):  # boxes without an area
            shares = _shared_areas(boxes, box) / np.minimum(areas, areas[index])
        same = np.flatnonzero(shares > SAME_REGION)
        if len(same) > 1:
            tables = same[detections[same, 0] == table] if table is not None else same[:0]
            rivals = tables if len(tables) else same
            best = rivals[detections[rivals, 1].argmax()]
            dropped.update(int(other) for other in same if other != best)
    return detections[[index for index in range(len(detections)) if index not in dropped]]


def _areas(boxes: np.ndarray) -> np.ndarray:
    """Return the area of each box `(..., 4)`."""
    sides = np.clip(boxes[..., 2:] - boxes[..., :2], 0.0, None)
    areas: np.ndarray = sides[..., 0] * sides[..., 1]
    return areas


def _shared_areas(boxes: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Return the area that each of the boxes `(N, 4)` shares with a box `(4,)`."""
    top_left = np.maximum(boxes[:, :2], box[:2])
    bottom_right = np.minimum(boxes[:, 2:], box[2:])
    return _areas(np.concatenate([top_left, bottom_right], 1))
