"""The rows and columns of a table, from the tokens of its structure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from pipelines.table.structure import CELL_STARTS, EMPTY_CELLS

LARGEST_SPAN = 1000
"""The most columns or rows of one cell, as in browsers."""
_SPAN = re.compile(r'(row|col)span="(\d{1,9})"')


@dataclass(frozen=True)
class GridCell:
    """The rows and columns that a cell covers.

    Attributes:
        row, column: of its top left corner, from 0.
        row_span, column_span: how many rows and columns it covers.
        index: of its box, and of its text; None for an empty cell of TableMASTER, without either.
    """

    row: int
    column: int
    row_span: int
    column_span: int
    index: int | None


def grid_cells(tokens: Sequence[str]) -> list[GridCell]:
    """Return the cells of a table in the order of its tokens.

    Args:
        tokens: of the structure, those between `<table>` and `</table>`.
    """
    grid = _Grid(rows=sum(token == "<tr>" for token in tokens))
    spans: dict[str, int] = {}
    count = 0
    for token in tokens:
        if token == "<tr>":
            grid.start_row()
        if token in CELL_STARTS:
            spans = {}
        if span := _SPAN.search(token):
            spans[span[1]] = min(int(span[2]), LARGEST_SPAN)
        if "</td>" in token:
            grid.add(spans.get("row", 1), spans.get("col", 1), count)
            count += 1
        elif token in EMPTY_CELLS:
            grid.add(1, 1, None)
    return grid.cells


class _Grid:
    """Gives each cell its column, as a browser does: to the right of those that reach down to it.

    Where there is no room for all columns of a cell, or the table ends before its last row, the
    cell is smaller than its tokens say, so that cells never overlap.
    """

    def __init__(self, rows: int) -> None:
        self.cells: list[GridCell] = []
        self._rows = max(rows, 1)
        self._row, self._column = 0, 0
        self._has_row = False
        self._free_from: dict[int, int] = {}  # column -> the first row below its last cell

    def start_row(self) -> None:
        """Start the next row; cells before the first start are in row 0, too."""
        self._row, self._column = self._row + self._has_row, 0
        self._has_row = True

    def add(self, row_span: int, column_span: int, index: int | None) -> None:
        """Add a cell to the row.

        Args:
            row_span: the rows that its tokens ask for.
            column_span: the columns that its tokens ask for.
            index: of its box and its text.
        """
        while self._is_taken(self._column):
            self._column += 1
        width = 1
        while width < column_span and not self._is_taken(self._column + width):
            width += 1
        height = max(1, min(row_span, self._rows - self._row))
        columns = range(self._column, self._column + width)
        self._free_from |= dict.fromkeys(columns, self._row + height)
        self.cells.append(GridCell(self._row, self._column, height, width, index))
        self._column += width

    def _is_taken(self, column: int) -> bool:
        return self._free_from.get(column, 0) > self._row
