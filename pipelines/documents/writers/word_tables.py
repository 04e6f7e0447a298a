"""Tables of Word, with merged cells and columns as wide as on the page."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from pipelines.table.results import Table, TableCell

if TYPE_CHECKING:
    from docx.document import Document as WordDocument

logger = logging.getLogger(__name__)

MOST_COLUMNS = 63
"""The most columns of a table in Word."""
MOST_ROWS = 5000
"""Longer tables are cut off; Word takes minutes to open them."""
NARROWEST = 0.3
"""The least width of a column, as a share of that of equal ones."""
_FORBIDDEN = re.compile("[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML cannot hold."""


def clean(text: str) -> str:
    """Return a text without the characters that XML cannot hold."""
    return _FORBIDDEN.sub("", text)


def add_table(word: WordDocument, table: Table, width: float) -> bool:
    """Append a table to a document.

    Args:
        word: the document.
        table: the table.
        width: of the table, in inches.

    Returns:
        Whether it has cells.
    """
    from docx.shared import Inches

    cells = [c for c in table.cells if c.row < MOST_ROWS and c.column < MOST_COLUMNS]
    if len(cells) < len(table.cells):
        logger.warning(
            "a table is larger than Word opens: only its first %d rows and %d columns are "
            "written; use html or xlsx",
            MOST_ROWS,
            MOST_COLUMNS,
        )
    rows = min(MOST_ROWS, max((c.row + c.row_span for c in cells), default=0))
    columns = min(MOST_COLUMNS, max((c.column + c.column_span for c in cells), default=0))
    if not rows or not columns:
        return False
    made = word.add_table(rows, columns, style="Table Grid")
    made.autofit = False
    widths = [Inches(width * share) for share in column_shares(cells, columns)]
    for column, size in zip(made.columns, widths, strict=True):
        column.width = size
    grid = [list(row.cells) for row in made.rows]
    for line in grid:
        for place, size in zip(line, widths, strict=True):
            place.width = size
    for cell in cells:
        first = grid[cell.row][cell.column]
        last_row = min(cell.row + cell.row_span, rows) - 1
        last_column = min(cell.column + cell.column_span, columns) - 1
        if (last_row, last_column) != (cell.row, cell.column):
            first = first.merge(grid[last_row][last_column])
        first.text = clean(cell.text)
    return True


def column_shares(cells: Sequence[TableCell], columns: int) -> list[float]:
    """Return the width of each column as a share of the table's, by the places of its cells.

    Columns are equally wide where the network does not predict the boxes of cells.
    """
    edges: list[list[float]] = [[] for _ in range(columns)]
    for cell in cells:
        if cell.box is not None:
            edges[cell.column].append(float(cell.box[:, 0].min()))
    ends = [float(cell.box[:, 0].max()) for cell in cells if cell.box is not None]
    if not all(edges):
        return [1 / columns] * columns
    starts = [*(min(found) for found in edges), max(ends)]
    pairs = pairwise(starts)
    total = starts[-1] - starts[0]
    if total <= 0:
        return [1 / columns] * columns
    sizes = [max((end - start) / total, NARROWEST / columns) for start, end in pairs]
    return [size / sum(sizes) for size in sizes]
