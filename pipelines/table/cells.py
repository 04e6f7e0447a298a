"""Detected cells of a table: their number, their rows, and the structure that follows from them.

Rules, order and precision are those of PaddleX 3, inference/pipelines/table_recognition/
pipeline_v2.py and table_recognition_post_processing_v2.py. Boxes are arrays `(N, 4)`: left, top,
right and bottom in pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipelines.table.structure import WHOLE_CELL

COVERED = 0.6
"""The share of a text that cells have to cover, so that it needs no cell of its own."""
TOO_FEW = 0.6
"""The share of the expected cells up to which the found ones are given up for the texts."""
SAME_ROW = 10
"""Cells are in a row if they begin within this of its first cell, in pixels."""
SAME_LINE = 5
"""Sides of cells are one line of the table if they are within this of the next, in pixels."""


def fit_cells(
    boxes: np.ndarray, scores: np.ndarray, texts: np.ndarray, expected: int
) -> np.ndarray:
    """Return as many cells as a table's structure has, as far as that is possible.

    Of too many, the best are kept; texts that lie in none are merged into further cells.

    Args:
        boxes: the detected cells.
        scores: `(N,)`, theirs.
        texts: boxes of the texts, `(M, 4)`.
        expected: the number of cells in the structure.

    Returns:
        `(K, 4)`; fewer than expected where there are too few texts.
    """
    if len(boxes) == expected or not expected:
        return boxes[:expected]
    best = np.argsort(-scores)[:expected] if len(boxes) > expected else np.arange(len(boxes))
    kept = boxes[best].astype(np.float64)
    without_cell = np.array(
        [text for text in texts if not _is_covered(text, kept)], np.float64
    ).reshape(-1, 4)
    if not len(without_cell):
        fitted = kept
    elif len(boxes) > expected:
        fitted = _merge_near(np.concatenate([kept, without_cell]), expected)
    else:
        fitted = np.concatenate([kept, _merge_near(without_cell, expected - len(kept))])
    if len(texts) and len(fitted) <= TOO_FEW * expected:
        return _merge_near(texts, expected)
    return fitted


def _is_covered(text: np.ndarray, cells: np.ndarray) -> bool:
    """Return whether cells `(N, 4)` cover most of a text `(4,)`, together."""
    sides = np.minimum(cells[:, 2:], text[2:]) - np.maximum(cells[:, :2], text[:2])
    sides = sides[(sides > 0).all(1)]
    area = float((text[2] - text[0]) * (text[3] - text[1]))
    shares = sides[:, 0] * sides[:, 1] / area if len(sides) else np.zeros(1)
    return bool(np.cumsum(shares)[-1] >= COVERED)


def _merge_near(boxes: np.ndarray, count: int) -> np.ndarray:
    """Merge boxes `(N, 4)` whose centres are near each other, so that `count` are left."""
    if count >= len(boxes):
        return boxes
    from sklearn.cluster import KMeans

    centres = np.column_stack([(boxes[:, 0] + boxes[:, 2]) / 2, (boxes[:, 1] + boxes[:, 3]) / 2])
    clusters = KMeans(n_clusters=count, random_state=0, n_init="auto").fit_predict(centres)
    merged = [boxes[clusters == number] for number in range(count)]
    return np.array(
        [(*group[:, :2].min(0), *group[:, 2:].max(0)) for group in merged if len(group)]
    )


@dataclass(frozen=True, eq=False)
class CellRows:
    """Cells in rows.

    Attributes:
        boxes: all cells, row by row and from left to right.
        starts: the index of the first cell of each row, then the number of cells.
    """

    boxes: np.ndarray
    starts: list[int]


def sort_into_rows(boxes: np.ndarray) -> CellRows:
    """Sort cells into rows: those that begin at about the height of the topmost one left."""
    order = np.argsort(boxes[:, 1], kind="stable")
    rows: list[list[int]] = []
    for index in order.tolist():
        if not rows or abs(boxes[index, 1] - boxes[rows[-1][0], 1]) > SAME_ROW:
            rows.append([])
        rows[-1].append(index)
    by_left = [sorted(row, key=lambda index: float(boxes[index, 0])) for row in rows]
    starts = np.cumsum([0, *map(len, rows)]).tolist()
    return CellRows(boxes[[index for row in by_left for index in row]], starts)


def row_starts(tokens: Sequence[str]) -> list[int]:
    """Return the index of the first cell of each row of a structure that has cells."""
    starts = []
    cells, is_first = 0, False
    for token in tokens:
        if token in ("<tr>", "</tr>"):
            is_first = token == "<tr>"
        elif token in (WHOLE_CELL, "</td>"):
            if is_first:
                starts.append(cells)
            is_first = False
            cells += 1
    return starts


def boxes_of_structure(tokens: Sequence[str], rows: CellRows) -> list[int | None]:
    """Return the detected cell of each cell of a structure, as an index; None where it has none.

    The n-th cell of a row of the structure is the n-th of the row of detected cells that begins
    last of those that do not begin after it, counted in cells from the start of the table.

    Args:
        tokens: of the structure, those between `<table>` and `</table>`.
        rows: the detected cells.
    """
    total = len(rows.boxes)
    expected = row_starts(tokens)
    detected = [max(start for start in rows.starts if start <= first) for first in expected]
    if not detected:
        return []
    ends, next_rows = [*detected[1:], total], [*expected[1:], total]
    found: list[int | None] = []
    row = place = 0
    for token in tokens:
        if "</td>" in token:
            index = detected[row] + place
            found.append(index if index < ends[row] else None)
            place += 1
            if len(found) >= next_rows[row] and row < len(detected) - 1:
                row, place = row + 1, 0
    return found


def structure_of_cells(boxes: np.ndarray) -> tuple[str, ...]:
    """Return the tokens of a table from its cells: lines through their sides make a grid.

    Args:
        boxes: the cells.

    Returns:
        Tokens of HTML, those between `<table>` and `</table>`; none without cells.
    """
    if not len(boxes):
        return ()
    columns, rows = (_lines(boxes[:, [side, side + 2]].ravel().tolist()) for side in (0, 1))
    spans = [
        (*_span(rows, box[1], box[3]), *_span(columns, box[0], box[2])) for box in boxes.tolist()
    ]
    owners: dict[tuple[int, int], int] = {}
    for number, (top, height, left, width) in enumerate(spans):
        for row in range(top, top + height):
            for column in range(left, left + width):
                owners.setdefault((row, column), number)
    tokens = ["<tbody>"]
    for row in range(len(rows) - 1):
        tokens.append("<tr>")
        column = 0
        while column < len(columns) - 1:
            if (row, column) not in owners:
                tokens.append(WHOLE_CELL)
                column += 1
                continue
            top, height, left, width = spans[owners[row, column]]
            if (top, left) == (row, column):
                tokens += _cell_tokens(height, width)
            column += width
        tokens.append("</tr>")
    return (*tokens, "</tbody>")


def _lines(positions: list[float]) -> list[float]:
    """Return the middle of each group of positions that are near each other, in their order."""
    groups: list[list[float]] = []
    for position in sorted(set(positions)):
        if not groups or position - groups[-1][-1] > SAME_LINE:
            groups.append([])
        groups[-1].append(position)
    return [sum(group) / len(group) for group in groups]


def _span(lines: list[float], low: float, high: float) -> tuple[int, int]:
    """Return the first gap between lines that two sides of a cell enclose, and how many."""
    first, last = (
        min(range(len(lines)), key=lambda line: abs(lines[line] - side)) for side in (low, high)
    )
    return first, max(last - first, 1)


def _cell_tokens(rows: int, columns: int) -> list[str]:
    """Return the tokens of a cell that covers rows and columns."""
    spans = [f' rowspan="{rows}"'] * (rows > 1) + [f' colspan="{columns}"'] * (columns > 1)
    return ["<td", *spans, ">", "</td>"] if spans else [WHOLE_CELL]
