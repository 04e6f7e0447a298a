"""Tables from the texts and spans of their cells."""

from __future__ import annotations

import html
from collections.abc import Sequence

import numpy as np

from pipelines.table.results import Table, TableCell

Row = Sequence[tuple[str, int, int]]
"""Cells that begin in a row: text, number of columns, number of rows."""


def table_of(rows: Sequence[Row], box: tuple[int, int, int, int]) -> Table:
    """Return a table of equally large cells in a box, with its HTML."""
    placed, taken = [], set()
    for row, cells in enumerate(rows):
        column = 0
        for text, across, down in cells:
            while (row, column) in taken:
                column += 1
            placed.append((text, row, column, down, across))
            taken |= {(row + y, column + x) for y in range(down) for x in range(across)}
            column += across
    count = 1 + max(column for _, column in taken)
    left, top, right, bottom = box
    width, height = (right - left) / count, (bottom - top) / len(rows)
    made, markup = [], "<html><body><table>"
    for row in range(len(rows)):
        markup += "<tr>"
        for text, at, column, down, across in placed:
            if at == row:
                x, y = left + column * width, top + row * height
                x1, y1 = x + across * width, y + down * height
                corners = np.array([[x, y], [x1, y], [x1, y1], [x, y1]], np.float32)
                made.append(TableCell(corners, row, column, down, across, text))
                spans = f' rowspan="{down}"' if down > 1 else ""
                spans += f' colspan="{across}"' if across > 1 else ""
                markup += f"<td{spans}>{html.escape(text, quote=False)}</td>"
        markup += "</tr>"
    return Table(markup + "</table></body></html>", tuple(made), 1.0)
