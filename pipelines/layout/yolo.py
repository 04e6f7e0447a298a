"""The maps of PP-YOLOv2 as detections, as in `detections.py`.

Steps and constants are those of PaddleDetection's `configs/ppyolo/_base_/ppyolov2_r50vd_dcn.yml`,
which the programs contain: Paddle's operators `yolo_box` and `matrix_nms`. Matrix NMS: SOLOv2,
https://arxiv.org/abs/2003.10152.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

OBJECT_THRESHOLD = np.float32(0.01)
SCORE_THRESHOLD = np.float32(0.01)
KEPT = 100
COARSEST = 32
"""Pixels of the input per cell of the first map; each further map has twice the cells a side."""
SPREAD = np.float32(1.05)
"""A box's centre may lie outside of its cell: the range of the sigmoid is stretched by this."""
ROWS_AT_ONCE = 512
"""The boxes that are compared with all better ones at once, which bounds the memory."""


def map_names(levels: int) -> list[str]:
    """Return the names of the network's results, coarse to fine."""
    return [f"maps.{level}" for level in range(levels)]


def yolo_detections(
    outputs: Mapping[str, np.ndarray],
    anchors: Sequence[np.ndarray],
    input_size: tuple[int, int],
    image_size: tuple[int, int],
) -> np.ndarray:
    """Return the detections of a page, the best score first.

    Args:
        outputs: of the network, for one page: `maps.K` `(1, A * (5 + classes), rows, columns)`.
        anchors: for each map `(A, 2)`, widths and heights in pixels of the input.
        input_size: height and width of the network's input.
        image_size: height and width of the page.

    Returns:
        `(N, 6) float32`, at most 100.
    """
    page = _size_by_scale(input_size, image_size)
    found = [
        _decode(outputs[name][0], of_map, input_size, page)
        for name, of_map in zip(map_names(len(anchors)), anchors, strict=True)
    ]
    boxes, scores = (np.concatenate(parts) for parts in zip(*found, strict=True))
    rows = []
    for number, of_class in enumerate(scores.T):
        candidates = np.flatnonzero(of_class > SCORE_THRESHOLD)
        candidates = candidates[np.argsort(-of_class[candidates], kind="stable")]
        decayed = _decay(boxes[candidates], of_class[candidates])
        kept = decayed > SCORE_THRESHOLD
        column = np.full(np.count_nonzero(kept), number, np.float32)
        rows.append(np.column_stack([column, decayed[kept], boxes[candidates[kept]]]))
    detections = np.concatenate(rows)
    return detections[np.argsort(-detections[:, 1], kind="stable")[:KEPT]]


def _size_by_scale(input_size: tuple[int, int], image_size: tuple[int, int]) -> list[int]:
    """Return the page's height and width as the program computes them from the scale.

    Division in single precision, then truncation: some sides become one pixel shorter.
    """
    pairs = zip(input_size, image_size, strict=True)
    return [int(np.float32(side) / np.float32(side / original)) for side, original in pairs]


def _decode(
    values: np.ndarray, anchors: np.ndarray, input_size: tuple[int, int], page: Sequence[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Return boxes `(M, 4)` and scores `(M, classes)` of the anchors that may be an object."""
    rows, columns = values.shape[1:]
    values = values.reshape(len(anchors), -1, rows, columns).transpose(0, 2, 3, 1)
    objects = _sigmoid(values[..., 4])
    which = np.nonzero(objects >= OBJECT_THRESHOLD)
    anchor, row, column = which
    chosen = values[which]
    cells = np.stack([column, row], 1).astype(np.float32)
    width_height = np.array(page[::-1], np.float32)
    centres = cells + _sigmoid(chosen[:, :2]) * SPREAD - np.float32(0.5) * (SPREAD - 1)
    centres = centres * width_height / np.array([columns, rows], np.float32)
    sizes = np.exp(chosen[:, 2:4]) * anchors[anchor].astype(np.float32)
    halves = sizes * width_height / np.array(input_size[::-1], np.float32) / 2
    boxes = np.concatenate(
        [np.maximum(centres - halves, 0), np.minimum(centres + halves, width_height - 1)], 1
    )
    return boxes, objects[which][:, None] * _sigmoid(chosen[:, 5:])


def _sigmoid(x: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):  # of a very unlikely object: 1 / infinity
        result: np.ndarray = 1 / (1 + np.exp(-x))
    return result


def _decay(boxes: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Return scores, lowered by the overlap of each box with better ones.

    A better box counts the less, the more it overlaps with one that is better still.

    Args:
        boxes: `(N, 4) float32`, the best score first.
        scores: `(N,) float32`.
    """
    decayed, rivals = scores.copy(), np.zeros(len(boxes), np.float32)
    for start in range(0, len(boxes), ROWS_AT_ONCE):
        stop = min(start + ROWS_AT_ONCE, len(boxes))
        overlaps = _overlaps(boxes[start:stop], boxes[:stop])
        overlaps[np.arange(start, stop)[:, None] <= np.arange(stop)] = 0
        rivals[start:stop] = overlaps.max(1)
        with np.errstate(divide="ignore", invalid="ignore"):  # rivals that coincide
            factors = (1 - overlaps) / (1 - rivals[:stop])
        factors[np.isnan(factors)] = 1
        decayed[start:stop] *= np.minimum(factors.min(1), 1)
    return decayed


def _overlaps(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return intersection over union `(N, M)` of boxes `(N, 4)` and `(M, 4)`, edges included."""
    sides = np.minimum(boxes[:, None, 2:], others[None, :, 2:]) - np.maximum(
        boxes[:, None, :2], others[None, :, :2]
    )
    shared = np.where((sides >= 0).all(2), (sides + 1).prod(2), 0)
    union = _areas(boxes)[:, None] + _areas(others)[None] - shared
    overlaps: np.ndarray = shared / union
    return overlaps


def _areas(boxes: np.ndarray) -> np.ndarray:
    sides = boxes[:, 2:] - boxes[:, :2]
    areas: np.ndarray = np.where((sides >= 0).all(1), (sides + 1).prod(1), 0)
    return areas
