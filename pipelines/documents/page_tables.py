"""Tables that go on on the next page.

The rules are those of PaddleX 3, inference/pipelines/layout_parsing/merge_table.py: nothing but
footers after the first and headers before the second, widths within a tenth, and columns that fit.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

from pipelines.documents.labels import TABLE
from pipelines.documents.types import Block, Page, Text
from pipelines.table.results import Table, TableCell

WIDTH_TOLERANCE = 0.1
"""The difference of two widths, as a share of the smaller one, below which they are the same."""
MAX_HEAD_ROWS = 5
"""The most rows at the top of a page that may repeat the head of the table."""
AFTER = frozenset({"footer", "vision_footnote", "number", "footnote", "footer_image", "seal"})
"""What may stand after a table that goes on."""
BEFORE = frozenset({"header", "header_image", "number", "seal"})
"""What may stand before the rest of a table."""
CONTINUED = re.compile("continue|cont['\u2018\u2019]d|[续續]", re.IGNORECASE)
"""What a title before the rest of a table says."""
_ROW = re.compile(r"<tr>.*?</tr>", re.DOTALL)
_FULL_WIDTH = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}


def mark_tables(pages: Iterable[Page]) -> list[Page]:
    """Mark the tables that go on with that of the page before.

    Args:
        pages: of one file, with their blocks in reading order.
    """
    marked: list[Page] = []
    for page in pages:
        index = next((n for n, block in enumerate(page.blocks) if block.label == TABLE), None)
        if index is not None and marked and _goes_on(marked[-1].blocks, page.blocks, index):
            blocks = list(page.blocks)
            blocks[index] = replace(blocks[index], continues=True)
            page = page.with_blocks(blocks)
        marked.append(page)
    return marked


def _goes_on(before: Sequence[Block], blocks: Sequence[Block], index: int) -> bool:
    """Return whether the table at an index goes on with the last one of the page before."""
    last = max((n for n, block in enumerate(before) if block.label == TABLE), default=None)
    if last is None or any(block.label not in AFTER for block in before[last + 1 :]):
        return False
    if not all(block.label in BEFORE or _says_continued(block) for block in blocks[:index]):
        return False
    first, second = before[last], blocks[index]
    widths = [block.box[2] - block.box[0] for block in (first, second)]
    if not min(widths) or abs(widths[0] - widths[1]) / min(widths) >= WIDTH_TOLERANCE:
        return False
    tables = (first.content, second.content)
    return all(isinstance(table, Table) and table.cells for table in tables) and columns_fit(
        *tables  # type: ignore[arg-type]  # checked in the line before
    )


def _says_continued(block: Block) -> bool:
    return isinstance(block.content, Text) and bool(CONTINUED.search(block.content.plain))


def columns_fit(first: Table, second: Table) -> bool:
    """Return whether two tables have as many columns, or rows that follow each other have."""
    if _columns(first.cells) == _columns(second.cells):
        return True
    rows, others = _rows(first), _rows(second)
    skipped = repeated_rows(first, second)
    if len(others) <= skipped:
        return False
    last, following = rows[-1], others[skipped]
    return _columns_of_row(last) == _columns_of_row(following) or len(last) == len(following)


def _columns(cells: Iterable[TableCell]) -> int:
    return max((cell.column + cell.column_span for cell in cells), default=0)


def _columns_of_row(row: Iterable[TableCell]) -> int:
    return sum(cell.column_span for cell in row)


def _rows(table: Table) -> list[list[TableCell]]:
    """Return the cells that begin in each row."""
    rows: list[list[TableCell]] = [[] for _ in range(row_count(table))]
    for cell in table.cells:
        rows[cell.row].append(cell)
    return rows


def row_count(table: Table) -> int:
    """Return the number of rows of a table."""
    return max((cell.row + cell.row_span for cell in table.cells), default=0)


def repeated_rows(first: Table, second: Table) -> int:
    """Return how many rows at the top of the second table repeat the head of the first."""
    count = 0
    pairs = zip(_rows(first)[:MAX_HEAD_ROWS], _rows(second)[:MAX_HEAD_ROWS], strict=False)
    for row, other in pairs:
        if [_key(cell) for cell in row] != [_key(cell) for cell in other]:
            break
        count += 1
    return count


def _key(cell: TableCell) -> tuple[str, int]:
    """Return what two cells of a head have in common, whatever their spaces and widths are."""
    return "".join(cell.text.translate(_FULL_WIDTH).split()), cell.column_span


def join_tables(first: Table, second: Table) -> Table:
    """Return the first table with the rows of the second, without a head that it repeats."""
    skipped, offset = repeated_rows(first, second), row_count(first)
    added = [
        replace(cell, row=cell.row - skipped + offset, box=None)
        for cell in second.cells
        if cell.row >= skipped
    ]
    rows = _ROW.findall(second.html)[skipped:]
    head, end, tail = first.html.rpartition("</tr>")
    html = head + end + "".join(rows) + tail
    return Table(html, (*first.cells, *added), min(first.score, second.score))
