"""Writers of tables: HTML, JSON and Excel."""

from __future__ import annotations

import html
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from pipelines.io.exporters import JsonWriter, Writer, WriterMaker
from pipelines.io.files import Failure, Page
from pipelines.io.items import Item, PageTable

if TYPE_CHECKING:
    from openpyxl.cell import Cell
    from openpyxl.worksheet.worksheet import Worksheet

    from pipelines.table.results import Table

HEAD = """<!DOCTYPE html>
<html><head><meta charset="utf-8"><title>{title}</title>
<style>table {{ border-collapse: collapse; margin: 1em }} td {{ border: 1px solid }}</style>
</head><body>
"""
FRAME = ("<html><body>", "</body></html>")
"""What is around the table in `Table.html`."""
# Excel's limits.
MAX_ROWS, MAX_COLUMNS, MAX_TEXT = 1_048_576, 16_384, 32_767


class TableHtmlWriter:
    """Writes a document with the tables of all pages.

    Args:
        source: the file that was read.
    """

    def __init__(self, source: Path) -> None:
        self._parts = [HEAD.format(title=html.escape(source.name))]

    def add(self, page: Page, items: Sequence[Item]) -> None:
        """Add the tables of a page; those of a layout network follow a line with their place."""
        for number, table in enumerate(_tables(items), 1):
            if table.box is not None:
                self._parts.append(f"<p>{_title(page, number)}: {_place(table)}</p>\n")
            markup = table.html.removeprefix(FRAME[0]).removesuffix(FRAME[1])
            self._parts.append(f"{markup}\n")

    def fail(self, failure: Failure) -> None:
        """Leave out the page."""

    def content(self) -> bytes:
        """Return the content of the output file."""
        return "".join([*self._parts, "</body></html>\n"]).encode("utf-8", "replace")


class TableJsonWriter(JsonWriter):
    """Writes JSON as `JsonWriter`, with `tables` on each page.

    A table has `html`, `score`, `cells`, `kind`, which is wired, wireless or null, and `box`, its
    corners on the page as `[x, y]` in pixels, or null where the page is the table. A cell has
    `row` and `column`, from 0, `row_span`, `column_span`, `text`, and `box`, likewise.

    Args:
        source: the file that was read.
    """

    def __init__(self, source: Path) -> None:
        super().__init__(source, "tables")

    def _describe(self, item: Item) -> dict[str, Any]:
        table = cast("PageTable", item).table.to_dict()
        cells = [{**cell, "box": _rounded(cell["box"])} for cell in table["cells"]]
        score, box = round(table["score"], 5), _rounded(table["box"])
        return {**table, "score": score, "box": box, "cells": cells}


def _rounded(box: list[list[float]] | None) -> list[list[float]] | None:
    return None if box is None else [[round(x, 2), round(y, 2)] for x, y in box]


class XlsxWriter:
    """Writes an Excel file with a sheet for each table.

    The place of a table on its page is in the heading of the printed sheet. All cells are texts,
    so that none is computed: a text such as `=1+2` stays what it is, also when it is edited.
    """

    def __init__(self) -> None:
        from openpyxl import Workbook

        self._book = Workbook()
        self._book.remove(self._book.active)

    def add(self, page: Page, items: Sequence[Item]) -> None:
        """Add the tables of a page."""
        tables = _tables(items)
        for number, table in enumerate(tables, 1):
            several = len(tables) > 1 or table.box is not None
            self.add_table(_title(page, number) if several else f"Page {page.number}", table)

    def add_table(self, title: str, table: Table) -> None:
        """Add a sheet with a table; where its title is taken, Excel gets another one."""
        sheet = self._book.create_sheet(title)
        if table.box is not None:
            sheet.oddHeader.center.text = f"{title}: {_place(table)}"
        _fill(sheet, table)

    def fail(self, failure: Failure) -> None:
        """Leave out the page."""

    def content(self) -> bytes:
        """Return the content of the output file."""
        file = io.BytesIO()
        self._book.save(file)
        return file.getvalue()


def _fill(sheet: Worksheet, table: Table) -> None:
    """Write the cells of a table that are within Excel's limits."""
    for cell in table.cells:
        row, column = cell.row + 1, cell.column + 1
        last_row, last_column = row + cell.row_span - 1, column + cell.column_span - 1
        if last_row > MAX_ROWS or last_column > MAX_COLUMNS:
            continue
        _write_text(cast("Cell", sheet.cell(row, column)), cell.text)
        if (last_row, last_column) != (row, column):
            sheet.merge_cells(None, row, column, last_row, last_column)


def _write_text(cell: Cell, text: str) -> None:
    """Write a text that Excel never takes for a formula or a number."""
    from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE
    from openpyxl.styles import Alignment

    cell.value = ILLEGAL_CHARACTERS_RE.sub("", text)[:MAX_TEXT] or None
    if cell.value is not None:
        cell.data_type = "s"
        cell.quotePrefix = True
    cell.alignment = Alignment(wrap_text=True, vertical="top")


def _title(page: Page, number: int) -> str:
    return f"Page {page.number}, table {number}"


def _place(table: Table) -> str:
    """Return the place of a table on its page, in words."""
    assert table.box is not None
    (left, top), (right, bottom) = table.box.min(0), table.box.max(0)
    return f"left {left:.0f}, top {top:.0f}, right {right:.0f}, bottom {bottom:.0f}"


def _tables(items: Sequence[Item]) -> list[Table]:
    return [cast("PageTable", item).table for item in items]


def _xlsx_writer(_source: Path, _dpi: float) -> Writer:
    return XlsxWriter()


TABLE_FORMATS: Mapping[str, WriterMaker] = {
    "html": lambda source, _: TableHtmlWriter(source),
    "json": lambda source, _: TableJsonWriter(source),
    "xlsx": _xlsx_writer,
}
"""Formats of tables."""
