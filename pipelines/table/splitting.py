"""Texts that reach over several cells, cut at the sides of the cells and read anew.

Rules, order and precision are those of PaddleX 3, inference/pipelines/table_recognition/
pipeline_v2.py (`split_ocr_bboxes_by_table_cells`), but for tables away from the corner of their
page: PaddleX compares boxes of the page with those of the table there.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pipelines.table.results import Texts

HELD = 0.5
"""The share of a cell that a text has to cover, so that it is cut at the cell."""

Box = tuple[float, float, float, float]


def split_texts(
    texts: Texts, cells: np.ndarray, image: np.ndarray, read: Callable[[np.ndarray], str]
) -> Texts:
    """Cut texts that cover two cells or more, and read their pieces.

    Args:
        texts: the texts on an image.
        cells: `(N, 4)`, left, top, right and bottom in pixels of the image.
        image: `(H, W, 3) uint8` BGR.
        read: returns the text in an image of one line.
    """
    boxes: list[Box] = []
    contents: list[str] = []
    for box, content in zip(texts.boxes.tolist(), texts.texts, strict=True):
        held = cells[_held_cells(np.array(box), cells)]
        if len(held) < 2:
            boxes.append(tuple(box))
            contents.append(content)
            continue
        by_left = held[np.argsort(held[:, 0], kind="stable")]
        for piece in _pieces(tuple(box), by_left):
            boxes.append(piece)
            contents.append(_read(image, piece, read))
    return Texts(np.array(boxes, np.float64).reshape(-1, 4), contents)


def _held_cells(text: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """Return which cells `(N, 4)` a text `(4,)` covers by more than half."""
    sides = np.minimum(cells[:, 2:], text[2:]) - np.maximum(cells[:, :2], text[:2])
    shared = np.where((sides >= 0).all(1), sides[:, 0] * sides[:, 1], 0.0)
    areas = (cells[:, 2] - cells[:, 0]) * (cells[:, 3] - cells[:, 1])
    shares = np.divide(shared, areas, out=np.zeros_like(shared), where=areas > 0)
    held: np.ndarray = shares > HELD
    return held


def _pieces(text: Box, cells: np.ndarray) -> list[Box]:
    """Return the pieces of a text in and between the cells `(N, 4)`, from left to right."""
    left, top, right, bottom = text
    spans = []
    if left < cells[0, 0]:
        spans.append((left, cells[0, 0]))
    for index, (start, _, end, _) in enumerate(cells):
        spans.append((max(left, start), min(right, end)))
        if index + 1 < len(cells) and end < cells[index + 1, 0]:
            spans.append((end, cells[index + 1, 0]))
    if cells[-1, 2] < right:
        spans.append((cells[-1, 2], right))
    unique = dict.fromkeys((float(start), float(end)) for start, end in spans)
    return [(start, top, end, bottom) for start, end in unique]


def _read(image: np.ndarray, box: Box, read: Callable[[np.ndarray], str]) -> str:
    """Return the text in a piece of an image; none where it is no more than a line of pixels."""
    left, top, right, bottom = map(int, box)
    height, width = image.shape[:2]
    if bottom - top <= 1 or right - left <= 1 or top >= height or left >= width:
        return ""
    part = image[max(top, 0) : bottom, max(left, 0) : right]
    return read(part) if part.size else ""
