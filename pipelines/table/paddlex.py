"""Texts to the cells of a table by the rules of PaddleX.

Rules, order and precision are those of PaddleX 3, inference/pipelines/table_recognition:
table_recognition_post_processing.py, for boxes that the structure network predicts, and
table_recognition_post_processing_v2.py, for detected cells. Other than there, texts are escaped in
the HTML, and a table without texts has its tokens without spaces between them.

Boxes are in pixels of the page; a table is at `place`, `(4,)`: left, top, right and bottom.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from pipelines.table.cells import boxes_of_structure, sort_into_rows
from pipelines.table.matching import bold_cells, cell_texts, match_texts, table_html
from pipelines.table.results import Table, Texts, placed_cells
from pipelines.table.structure import TableStructure

LEAST_OVERLAP = 3
"""The pixels of width and of height that a text has to share with a table, at least."""
HELD = 0.7
"""The share of a text that has to lie in a detected cell, so that it belongs to it."""
SAME_LINE = 0.7
"""The share of the lower of two texts that is beside the other one if they are in a line."""


def texts_on(texts: Texts, place: np.ndarray) -> Texts:
    """Return the texts of a page that overlap a table."""
    sides = np.minimum(texts.boxes[:, 2:], place[2:]) - np.maximum(texts.boxes[:, :2], place[:2])
    return texts.select(np.flatnonzero((sides > LEAST_OVERLAP).all(1)))


def texts_within(texts: Texts, place: np.ndarray) -> np.ndarray:
    """Return the boxes of the texts that lie in a table, `(N, 4)` relative to its corner."""
    boxes = texts.boxes
    inside = (boxes[:, :2] >= place[:2]).all(1) & (boxes[:, 2:] <= place[2:]).all(1)
    relative: np.ndarray = boxes[inside] - np.tile(place[:2], 2)
    return relative


def on_page(boxes: np.ndarray, place: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Move boxes of a table to its place, within a page of a height and width.

    Args:
        boxes: `(N, 8)` or `(N, 4)`, in pixels of the table.
        place: of the table.
        size: height and width of the page.

    Returns:
        `(N, 4)`, upright rectangles.
    """
    moved = boxes + np.tile(place[:2], boxes.shape[1] // 2)
    points = moved.reshape(len(moved), boxes.shape[1] // 2, 2)
    bounds = np.concatenate([points.min(1), points.max(1)], 1)
    height, width = size
    clipped: np.ndarray = np.clip(bounds, 0, [width, height, width, height])
    return clipped


def by_structure(
    structure: TableStructure, boxes: np.ndarray, texts: Texts, *, sort_lines: bool
) -> Table:
    """Put texts into the cells that the structure network predicts.

    Args:
        structure: the table.
        boxes: `(N, 4)`, those of its cells.
        texts: those on the table.
        sort_lines: whether the texts of a cell are sorted into lines, from left to right.
    """
    matches = match_texts(boxes, texts.boxes.astype(np.float32))
    if sort_lines:
        matches = {cell: _by_lines(found, texts.boxes) for cell, found in matches.items()}
    return _table(structure, dict(enumerate(boxes)), matches, texts.texts)


def _by_lines(indices: Sequence[int], boxes: np.ndarray) -> list[int]:
    """Sort texts from top to bottom into lines, and these from left to right."""
    lines: list[list[int]] = []
    top = bottom = 0.0
    for index in sorted(indices, key=lambda index: float(boxes[index, 1])):
        _, low, _, high = boxes[index].tolist()
        overlap, lower = min(bottom, high) - max(top, low), min(bottom - top, high - low)
        if lines and lower > 0 and max(overlap, 0) / lower > SAME_LINE:
            top, bottom = min(top, low), max(bottom, high)
        else:
            lines.append([])
            top, bottom = low, high
        lines[-1].append(index)
    return [
        index for line in lines for index in sorted(line, key=lambda each: float(boxes[each, 0]))
    ]


def by_cells(structure: TableStructure, boxes: np.ndarray, texts: Texts) -> Table:
    """Put texts into detected cells, and these into the structure, row by row.

    Args:
        structure: the table; its own boxes are not used.
        boxes: `(N, 4)`, the detected cells.
        texts: those on the table.
    """
    rows = sort_into_rows(boxes)
    cells = boxes_of_structure(structure.tokens, rows)
    placed = {cell: rows.boxes[index] for cell, index in enumerate(cells) if index is not None}
    matches = {
        cell: found for cell, box in placed.items() if (found := _held_texts(box, texts.boxes))
    }
    return _table(structure, placed, matches, texts.texts)


def _held_texts(cell: np.ndarray, texts: np.ndarray) -> list[int]:
    """Return the texts `(N, 4)` that lie in a cell `(4,)`, as indices."""
    sides = np.maximum(np.minimum(texts[:, 2:], cell[2:]) - np.maximum(texts[:, :2], cell[:2]), 0)
    shared = (sides[:, 0] * sides[:, 1]).astype(np.float64)
    areas = (texts[:, 2] - texts[:, 0]) * (texts[:, 3] - texts[:, 1])
    shares = np.divide(shared, areas, out=np.zeros_like(shared), where=areas != 0)
    return np.flatnonzero(shares > HELD).tolist()


def _table(
    structure: TableStructure,
    boxes: Mapping[int, np.ndarray],
    matches: Mapping[int, Sequence[int]],
    texts: Sequence[str],
) -> Table:
    of_cells = cell_texts(matches, texts)
    html = table_html(structure.tokens, of_cells, bold_cells(matches, texts, anywhere=True))
    return Table(html, placed_cells(structure.tokens, boxes, of_cells), structure.score)
