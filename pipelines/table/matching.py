"""Texts to cells, and cells to HTML.

Rules, order and precision are those of PaddleOCR 2.x, ppstructure/table/matcher.py (`TableMatch`).
TableMASTER has rules of its own, in `master_matching.py`.
"""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from pipelines.table.structure import EMPTY_CELLS, WHOLE_CELL

BOLD, BOLD_END = "<b>", "</b>"


def below_top(cells: np.ndarray, texts: np.ndarray) -> np.ndarray:
    """Return which texts do not end above the topmost cell: those above are a caption.

    Args:
        cells: `(M, 8)` or `(M, 4)`, the boxes of `TableStructure`.
        texts: `(N, 4)`, left, top, right and bottom.

    Returns:
        `(N,) bool`.
    """
    kept: np.ndarray = texts[:, 1::2].max(1) >= cells[:, 1::2].min()
    return kept


def match_texts(cells: np.ndarray, texts: np.ndarray) -> dict[int, list[int]]:
    """Return the texts of each cell that has any, as indices, in the order of the texts.

    A text goes to the cell of the highest intersection over union; of equals, to the nearest.

    Args:
        cells: `(M, 8)` or `(M, 4)`, the boxes of `TableStructure`.
        texts: `(N, 4)`, left, top, right and bottom.
    """
    matches: dict[int, list[int]] = {}
    if not len(cells):
        return matches
    bounds = np.stack(
        [
            cells[:, 0::2].min(1),
            cells[:, 1::2].min(1),
            cells[:, 0::2].max(1),
            cells[:, 1::2].max(1),
        ],
        1,
    )
    bounds = bounds if cells.shape[1] == 8 else cells
    for index, text in enumerate(texts):
        keys = (_distances(text, bounds), 1.0 - _overlaps(text, bounds))
        matches.setdefault(int(np.lexsort(keys)[0]), []).append(index)
    return matches


def _distances(text: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """Return the distance of a text `(4,)` to each cell `(M, 4)`: of corners, the nearer twice."""
    left, top, right, bottom = np.abs(cells - text).T
    distances: np.ndarray = left + top + right + bottom + np.minimum(left + top, right + bottom)
    return distances


def _overlaps(text: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """Return the intersection over union of a text `(4,)` and each cell `(M, 4)`."""
    areas = (text[2] - text[0]) * (text[3] - text[1]) + (cells[:, 2] - cells[:, 0]) * (
        cells[:, 3] - cells[:, 1]
    )
    sides = np.minimum(cells[:, 2:], text[2:]) - np.maximum(cells[:, :2], text[:2])
    shared = sides[:, 1] * sides[:, 0]
    overlaps = np.zeros_like(shared)
    np.divide(shared, areas - shared, out=overlaps, where=(sides > 0).all(1))
    return overlaps


def cell_texts(matches: Mapping[int, Sequence[int]], texts: Sequence[str]) -> dict[int, str]:
    """Join the texts of each cell; a cell of several texts loses their marks of bold type.

    Args:
        matches: the texts of each cell, as indices.
        texts: all texts.
    """
    return {
        cell: "".join(_joined([texts[n] for n in of_cell])) for cell, of_cell in matches.items()
    }


def _joined(texts: Sequence[str]) -> Iterator[str]:
    """Yield the texts of a cell, without marks and with spaces between them."""
    if len(texts) == 1:
        yield texts[0]
        return
    for number, text in enumerate(texts, 1):
        part = text.removeprefix(" ")
        if BOLD in part:
            part = part[len(BOLD) :]
        if BOLD_END in part:
            part = part[: -len(BOLD_END)]
        if part:
            yield part if number == len(texts) or part.endswith(" ") else part + " "


def table_html(tokens: Sequence[str], texts: Mapping[int, str], bold: Sequence[int] = ()) -> str:
    """Return a table as HTML, with escaped texts.

    Args:
        tokens: of the structure, those between `<table>` and `</table>`.
        texts: by the index of the cell.
        bold: the cells in bold type.
    """
    parts = ["<html><body><table>"]
    cell = 0
    for token in tokens:
        if "</td>" not in token:
            parts.append(EMPTY_CELLS.get(token, token))
            continue
        text = html.escape(texts.get(cell, ""))
        text = f"{BOLD}{text}{BOLD_END}" if cell in bold else text
        parts += ["<td>", text, "</td>"] if token == WHOLE_CELL else [text, token]
        cell += 1
    return "".join([*parts, "</table></body></html>"])


def bold_cells(
    matches: Mapping[int, Sequence[int]], texts: Sequence[str], *, anywhere: bool = False
) -> list[int]:
    """Return the cells of several texts whose first text is the mark of bold type.

    Args:
        matches: the texts of each cell, as indices.
        texts: all texts.
        anywhere: whether it is enough that the first text has the mark, as in PaddleX.
    """
    several = {cell: texts[of_cell[0]] for cell, of_cell in matches.items() if len(of_cell) > 1}
    return [cell for cell, text in several.items() if text == BOLD or (anywhere and BOLD in text)]
