"""What table recognition returns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from pipelines.table.grid import grid_cells

TableKind = Literal["wired", "wireless"]
"""Whether the cells of a table are separated by lines."""


@dataclass(frozen=True, eq=False)
class TableCell:
    """A cell of a table.

    Attributes:
        box: `(4, 2) float32`, x and y of its corners in pixels of the image, clockwise from the top
            left; None where no box is known, as for empty cells of TableMASTER.
        row, column: of its top left corner in the table, from 0.
        row_span, column_span: how many rows and columns it covers.
        text: its text; empty without OCR.
    """

    box: np.ndarray | None
    row: int
    column: int
    row_span: int = 1
    column_span: int = 1
    text: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the cell as plain Python values, which `json.dumps` accepts."""
        return {**vars(self), "box": _plain(self.box)}


@dataclass(frozen=True, eq=False)
class Table:
    """A recognised table.

    Attributes:
        html: the table as HTML, `<html><body><table>...</table></body></html>`.
        cells: its cells, row by row.
        score: mean probability of the tokens of its structure, 0 to 1; for a structure that follows
            from the detected cells, the mean score of these.
        kind: whether it is wired or wireless, if a classifier decided it; else None.
        box: `(4, 2) float32`, x and y of its corners in pixels of the page; None for an image that
            is one table.
    """

    html: str
    cells: tuple[TableCell, ...]
    score: float
    kind: TableKind | None = None
    box: np.ndarray | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the table as plain Python values, which `json.dumps` accepts."""
        cells = [cell.to_dict() for cell in self.cells]
        return {**vars(self), "cells": cells, "box": _plain(self.box)}


@dataclass(frozen=True, eq=False)
class Texts:
    """Texts on an image, with their boxes.

    Attributes:
        boxes: `(N, 4)`, left, top, right and bottom in pixels.
        texts: one for each box.
    """

    boxes: np.ndarray
    texts: list[str]

    @classmethod
    def none(cls) -> Texts:
        """Return no texts."""
        return cls(np.zeros((0, 4)), [])

    def select(self, indices: np.ndarray) -> Texts:
        """Return the texts of these indices."""
        return Texts(self.boxes[indices], [self.texts[index] for index in indices.tolist()])

    def shift(self, x: float, y: float) -> Texts:
        """Return the texts at other coordinates."""
        return Texts(self.boxes + np.array([x, y, x, y]), self.texts)


def placed_cells(
    tokens: Sequence[str], boxes: Mapping[int, np.ndarray], texts: Mapping[int, str]
) -> tuple[TableCell, ...]:
    """Return the cells of a table with their boxes and texts.

    Args:
        tokens: of the structure, those between `<table>` and `</table>`.
        boxes: by the index of the cell, `(8,)` corners or `(4,)` left, top, right and bottom.
        texts: by the index of the cell.
    """
    cells = []
    for cell in grid_cells(tokens):
        box = None if cell.index is None else boxes.get(cell.index)
        text = "" if cell.index is None else texts.get(cell.index, "")
        spans = cell.row, cell.column, cell.row_span, cell.column_span
        cells.append(TableCell(None if box is None else corners_of(box), *spans, text))
    return tuple(cells)


def corners_of(box: np.ndarray) -> np.ndarray:
    """Return the corners `(4, 2) float32` of a box: `(8,)`, or left, top, right and bottom."""
    if len(box) == 4:
        left, top, right, bottom = box
        box = np.array([left, top, right, top, right, bottom, left, bottom])
    return box.reshape(4, 2).astype(np.float32)


def _plain(box: np.ndarray | None) -> list[list[float]] | None:
    return None if box is None else box.tolist()
