"""The outputs of layout networks as detections: one row per box.

PicoDet follows PaddleDetection's `ppdet/modeling/heads/pico_head.py` and Paddle's operator
`multiclass_nms3`, RT-DETR `ppdet/modeling/post_process.py` (`DETRPostProcess`), as PaddleX's
programs contain them.

Detections are arrays `(N, 6)`: class, score, left, top, right, bottom, in pixels of the image.
Where the network reads the order of the regions, two columns follow: the rank, and its votes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

CENTRE = 0.5
"""The centre of a cell, in cells."""
# PaddleX's programs keep what the network was built with, whatever the YAML beside them says.
SCORE_THRESHOLD, IOU_THRESHOLD = 0.025, 0.6
BEFORE_NMS, AFTER_NMS = 1000, 100
QUERIES = 300


def levels(outputs: Mapping[str, np.ndarray]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the scores `(cells, classes)` and distances `(cells, 4 * bins)` of PicoDet's levels.

    Args:
        outputs: of the network, for one page.
    """
    count = sum(name.startswith("scores.") for name in outputs)
    return [(outputs[f"scores.{n}"][0], outputs[f"distances.{n}"][0]) for n in range(count)]


def level_sizes(height: int, width: int, strides: Sequence[int]) -> list[tuple[int, int]]:
    """Return rows and columns of the map of each level, for an input of a height and width."""
    return [(-(-height // stride), -(-width // stride)) for stride in strides]


def decode_distances(distances: np.ndarray, size: tuple[int, int], stride: int) -> np.ndarray:
    """Turn the distances of one level into boxes.

    Args:
        distances: `(cells, 4 * bins)`, logits of the distances to left, top, right and bottom.
        size: rows and columns of the map.
        stride: pixels of the input per cell.

    Returns:
        `(cells, 4) float64`, left, top, right and bottom in pixels of the input.
    """
    rows, columns = np.mgrid[: size[0], : size[1]]
    x, y = ((each.ravel() + CENTRE) * stride for each in (columns, rows))
    logits = distances.reshape(len(x), 4, -1)
    shares = np.exp(logits - logits.max(2, keepdims=True))
    shares = shares / shares.sum(2, keepdims=True)
    sides = (shares * np.arange(logits.shape[2])).sum(2) * stride
    return np.stack([x, y, x, y], 1) + np.array([-1, -1, 1, 1]) * sides


def picodet_detections(
    outputs: Mapping[str, np.ndarray],
    strides: Sequence[int],
    input_size: tuple[int, int],
    image_size: tuple[int, int],
) -> np.ndarray:
    """Return the detections of PicoDet as PaddleX's programs do, class by class.

    Args:
        outputs: of the network, for one page.
        strides: pixels of the input per cell of each level.
        input_size: height and width of the network's input.
        image_size: height and width of the page.

    Returns:
        `(N, 6) float32`, at most 100 detections.
    """
    scales = np.array(input_size, np.float32) / np.array(image_size, np.float32)
    boxes = np.concatenate(
        [
            decode_distances(distances, size, stride)
            for (_, distances), size, stride in zip(
                levels(outputs), level_sizes(*input_size, strides), strides, strict=True
            )
        ]
    ).astype(np.float32)
    boxes /= np.tile(scales[::-1], 2)
    return multiclass_nms(boxes, np.concatenate([scores for scores, _ in levels(outputs)]))


def multiclass_nms(boxes: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Suppress boxes that overlap a better one of their class, as `multiclass_nms3`.

    Args:
        boxes: `(N, 4) float32`.
        scores: `(N, classes) float32`.

    Returns:
        `(M, 6) float32`: class by class, the best score first; at most `AFTER_NMS`.
    """
    found = []
    for number, of_class in enumerate(scores.T):
        candidates = np.flatnonzero(of_class > SCORE_THRESHOLD)
        candidates = candidates[np.argsort(-of_class[candidates], kind="stable")][:BEFORE_NMS]
        kept = candidates[suppress(boxes[candidates], IOU_THRESHOLD)]
        column = np.full(len(kept), number, np.float32)
        found.append(np.column_stack([column, of_class[kept], boxes[kept]]))
    rows = np.concatenate(found)
    best = np.argsort(-rows[:, 1], kind="stable")[:AFTER_NMS]
    return rows[best[np.argsort(rows[best, 0], kind="stable")]]


def suppress(boxes: np.ndarray, threshold: float) -> list[int]:
    """Return the boxes that overlap none of those kept before, as indices.

    Args:
        boxes: `(N, 4)`, the best first.
        threshold: the intersection over union up to which boxes do not overlap.
    """
    kept: list[int] = []
    areas = _areas(boxes[:, :2], boxes[:, 2:])
    left = np.arange(len(boxes))
    while left.size:
        current, left = int(left[0]), left[1:]
        kept.append(current)
        corners = (
            np.maximum(boxes[left, :2], boxes[current, :2]),
            np.minimum(boxes[left, 2:], boxes[current, 2:]),
        )
        shared = _areas(*corners)
        union = areas[left] + areas[current] - shared
        overlaps = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
        left = left[overlaps <= np.asarray(threshold, boxes.dtype)]
    return kept


def _areas(top_left: np.ndarray, bottom_right: np.ndarray) -> np.ndarray:
    sides = np.maximum(bottom_right - top_left, 0)
    areas: np.ndarray = sides[:, 0] * sides[:, 1]
    return areas


def rtdetr_detections(
    boxes: np.ndarray,
    logits: np.ndarray,
    image_size: tuple[int, int],
    order: np.ndarray | None = None,
) -> np.ndarray:
    """Return the detections of RT-DETR, the best score first.

    Args:
        boxes: `(queries, 4) float32`, centre, width and height, 0 to 1 of the page.
        logits: `(queries, classes) float32`.
        image_size: height and width of the page.
        order: `(queries, queries) float32`, logits above the diagonal that are high where the first
            query is read before the second.

    Returns:
        `(N, 6) float32`, with `order` `(N, 8)`; the same query may give several, of different
        classes.
    """
    height, width = image_size
    centres, halves = boxes[:, :2], boxes[:, 2:] * np.float32(0.5)
    corners = np.concatenate([centres - halves, centres + halves], 1)
    corners *= np.array([width, height, width, height], np.float32)
    scores = 1 / (1 + np.exp(-logits.ravel()))
    best = np.argsort(-scores, kind="stable")[:QUERIES]
    query, number = np.divmod(best, logits.shape[1])
    columns = [number.astype(np.float32), scores[best], corners[query]]
    if order is not None:
        columns += [column[query].astype(np.float32) for column in _reading_order(order)]
    return np.column_stack(columns)


def _reading_order(logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the rank of each query, and its votes: how probable the others are before it.

    Args:
        logits: `(queries, queries)`, above the diagonal.
    """
    before = np.triu(1 / (1 + np.exp(-np.triu(logits, 1))), 1)
    after = np.tril(1 - before.T, -1)
    votes = (before + after).sum(0)
    ranks = np.empty(len(votes), int)
    ranks[np.argsort(votes, kind="stable")] = np.arange(len(votes))
    return ranks, votes
