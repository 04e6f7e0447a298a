"""HTML: one file with all figures in it, tables with spans, and formulas as MathML."""

from __future__ import annotations

import base64
import html
from collections.abc import Callable

from pipelines.documents.headings import heading, is_heading
from pipelines.documents.joined import Piece, by_page, pieces
from pipelines.documents.labels import CAPTIONS, CONTENT, FURNITURE
from pipelines.documents.types import Block, Document, Figure, Formula, Text
from pipelines.documents.writers.mathml import mathml_text, to_mathml
from pipelines.table.results import Table, TableCell

HEAD = """<!DOCTYPE html>
<html><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; \
style-src 'unsafe-inline'">
<title>{title}</title>
<style>
body {{ font-family: serif; line-height: 1.4; max-width: 48em; margin: 2em auto; padding: 0 1em }}
table {{ border-collapse: collapse; margin: 1em auto }}
td {{ border: 1px solid; padding: 0.2em 0.5em; white-space: pre-line }}
figure {{ margin: 1em 0; text-align: center }}
img {{ max-width: 100% }}
.caption, .formula {{ text-align: center }}
.furniture {{ color: #666; font-size: 0.8em }}
</style>
</head><body>
"""


def to_html(document: Document, title: str) -> bytes:
    """Write a document as one HTML file.

    Args:
        document: the document.
        title: its title.
    """
    parts = [HEAD.format(title=html.escape(title))]
    for page, found in by_page(pieces(document)):
        parts.append(f'<section data-page="{page.number}">\n')
        parts += [_piece(piece) + "\n" for piece in found]
        parts.append("</section>\n")
    return "".join([*parts, "</body></html>\n"]).encode("utf-8", "replace")


def _piece(piece: Piece) -> str:
    content = piece.block.content
    if isinstance(content, Table):
        return table_html(content)
    if isinstance(content, Formula):
        return f'<p class="formula">{formula_html(content, display=True)}</p>'
    if isinstance(content, Figure):
        return _figure(piece, content)
    return _text(piece.block, content)


def _figure(piece: Piece, figure: Figure) -> str:
    left, _, right, _ = piece.block.box
    width = min(100, max(1, round((right - left) / piece.page.width * 100)))
    data = base64.b64encode(figure.read()).decode()
    text = html.escape(figure.text, quote=True)
    image = f'<img src="data:image/jpeg;base64,{data}" alt="{text}" style="width: {width}%">'
    return f"<figure>{image}</figure>"


def _text(block: Block, text: Text) -> str:
    if is_heading(block):
        level, title = heading(block)
        return f"<h{level}>{text_html(title)}</h{level}>"
    if block.label in CAPTIONS:
        return f'<p class="caption">{text_html(text)}</p>'
    if block.label in FURNITURE:
        return f'<p class="furniture">{text_html(text)}</p>'
    if block.label == CONTENT or block.label == "algorithm":
        return f'<p style="white-space: pre-wrap">{text_html(text, str)}</p>'
    paragraphs = text_html(text, lambda part: part.replace("\n", "</p><p>"))
    return f"<p>{paragraphs}</p>".replace("<p></p>", "")


def text_html(text: Text, change: Callable[[str], str] = lambda part: part) -> str:
    """Return a text as HTML, with its formulas as MathML.

    Args:
        text: the text.
        change: applied to each escaped string.
    """
    return "".join(
        formula_html(part, display=False)
        if isinstance(part, Formula)
        else change(html.escape(part, quote=False))
        for part in text.parts
    )


def formula_html(formula: Formula, *, display: bool) -> str:
    """Return a formula as MathML, or as its LaTeX where it cannot be read."""
    element = to_mathml(formula.latex, display=display)
    if element is None:
        return f"<code>{html.escape(formula.latex)}</code>"
    return mathml_text(element)


def table_html(table: Table) -> str:
    """Return a table as HTML, from its cells."""
    rows: dict[int, list[TableCell]] = {}
    for cell in table.cells:
        rows.setdefault(cell.row, []).append(cell)
    count = max(rows, default=-1) + 1
    lines = ["".join(_cell(cell) for cell in rows.get(row, ())) for row in range(count)]
    return "".join(["<table>", *(f"<tr>{line}</tr>" for line in lines), "</table>"])


def _cell(cell: TableCell) -> str:
    spans = (("rowspan", cell.row_span), ("colspan", cell.column_span))
    attributes = "".join(f' {name}="{value}"' for name, value in spans if value > 1)
    return f"<td{attributes}>{html.escape(cell.text, quote=False)}</td>"
