"""Excel: a sheet for each table, by the writer of `pipelines.io.tables`."""

from __future__ import annotations

from collections import Counter

from pipelines.documents.joined import pieces
from pipelines.documents.types import Document
from pipelines.io.tables import XlsxWriter
from pipelines.table.results import Table

EMPTY = "No tables"
"""The name of the sheet of a document without tables; a workbook needs one."""


def to_xlsx(document: Document) -> bytes:
    """Write the tables of a document as an Excel file; tables over page breaks are one sheet."""
    writer = XlsxWriter()
    found = [piece for piece in pieces(document) if isinstance(piece.block.content, Table)]
    counts = Counter(piece.page.number for piece in found)
    seen: Counter[int] = Counter()
    for piece in found:
        number = piece.page.number
        seen[number] += 1
        title = f"Page {number}" + (f", table {seen[number]}" if counts[number] > 1 else "")
        assert isinstance(piece.block.content, Table)
        writer.add_table(title, piece.block.content)
    if not found:
        writer.add_table(EMPTY, Table("", (), 1.0))
    return writer.content()
