"""Drawn pages as the Markdown that they were drawn from, written without this project's writers."""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence

from drawn.pages import DrawnBlock, DrawnPage

AROUND = frozenset({"header", "footer", "footnote", "number"})
"""What stands around the text of a page and is no part of the document."""


def markdown_of(pages: Sequence[DrawnPage]) -> str:
    """Return pages as one document: paragraphs and tables over breaks in one piece."""
    parts: list[str] = []
    table: int | None = None
    for block in (block for page in pages for block in page.blocks if block.label not in AROUND):
        if block.goes_on and block.table and table is not None:
            parts[table] = "".join([parts[table].removesuffix(END), *_rows(block, 1), END])
        elif block.goes_on and parts:
            parts[-1] += f" {block.text}"
        else:
            table = len(parts) if block.table else table
            parts.append(_markdown(block))
    return "\n\n".join(parts)


START, END = '<div style="text-align: center;">', "</table></div>"


def _markdown(block: DrawnBlock) -> str:
    if block.table:
        return "".join([f'{START}<table border="1">', *_rows(block, 0), END])
    if block.label == "image":
        return f"{START}<img></div>"
    if block.latex:
        return f"$${block.latex}$$"
    if block.label in ("figure_title", "table_title"):
        return f"{START}{html.escape(block.text)}</div>"
    marks = {"doc_title": "# ", "paragraph_title": "## "}
    return marks.get(block.label, "") + block.text


def _rows(block: DrawnBlock, first: int) -> Iterator[str]:
    """Yield the rows of a table from one of them on."""
    assert block.table
    count = 1 + max(cell.row for cell in block.table.cells)
    for row in range(first, count):
        yield "<tr>"
        for cell in block.table.cells:
            if cell.row == row:
                spans = (("rowspan", cell.row_span), ("colspan", cell.column_span))
                said = "".join(f' {name}="{count}"' for name, count in spans if count > 1)
                yield f"<td{said}>{html.escape(cell.text, quote=False)}</td>"
        yield "</tr>"
