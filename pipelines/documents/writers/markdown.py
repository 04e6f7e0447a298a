"""Markdown: CommonMark with HTML for tables and figures, as PaddleX 3 writes it.

Other than there, texts are escaped: what was on the page is shown as it was. Forms follow PaddleX
3, inference/common/result/converter (`MarkdownConverter`, `build_handle_funcs_dict`).
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from urllib.parse import quote

from pipelines.documents.headings import heading, is_heading, one_line
from pipelines.documents.joined import Piece, pieces
from pipelines.documents.labels import (
    ABSTRACT,
    CAPTIONS,
    CONTENT,
    FURNITURE,
    REFERENCE,
    SEAL,
)
from pipelines.documents.types import Block, Document, Figure, Formula, Text
from pipelines.table.results import Table

LEFT_OUT = FURNITURE | {"formula_number"}
FRAME = ("<html><body>", "</body></html>")
"""What is around the table in `Table.html`."""
HEADINGS = {ABSTRACT: ("摘要", "abstract"), REFERENCE: ("参考文献", "references")}
"""First lines that are the title of the block."""
_MARKS = re.compile(r"[\\`*\[\]<&~$]|(?<![^\W_])_|_(?![^\W_])")
"""Characters that CommonMark, or its extensions for tables and formulas, give a meaning."""
_AT_START = re.compile(r"^[ \t]*([#>+=|-]|\d{1,9}(?=[.)]))?", re.MULTILINE)


def to_markdown(document: Document, images: str) -> bytes:
    """Write a document as Markdown.

    Args:
        document: the document.
        images: the folder of the figures, relative to the file.
    """
    found = pieces(document, without=LEFT_OUT)
    parts = [_piece(piece, images).strip() for piece in found]
    return ("\n\n".join(part for part in parts if part) + "\n").encode("utf-8", "replace")


def page_markdown(document: Document, images: str = "images") -> str:
    """Return the Markdown of a document as a string, without a line end after it."""
    return to_markdown(document, images).decode().removesuffix("\n")


def _piece(piece: Piece, images: str) -> str:
    content = piece.block.content
    if isinstance(content, Table):
        inner = content.html.removeprefix(FRAME[0]).removesuffix(FRAME[1])
        inner = inner.replace("<table>", '<table border="1">', 1).replace("\n", " ")
        return _centred(inner)
    if isinstance(content, Formula):
        return f"$${clean_latex(content.latex)}$$"
    if isinstance(content, Figure):
        return _figure(piece, content, images)
    return _text(piece.block, content)


def _figure(piece: Piece, figure: Figure, images: str) -> str:
    left, _, right, _ = piece.block.box
    width = int((right - left) / piece.page.width * 100)
    source = html.escape(quote(f"{images}/{figure.name}"))
    picture = _centred(f'<img src="{source}" alt="Image" width="{width}%" />')
    if piece.block.label != SEAL or not figure.text:
        return picture
    return f"{picture}\n\n{_centred(html.escape(figure.text.replace(chr(10), ' ')))}"


def _centred(markup: str) -> str:
    return f'<div style="text-align: center;">{markup}</div>'


def _text(block: Block, text: Text) -> str:
    """Return the text of a block."""
    if is_heading(block):
        level, title = heading(block)
        return "#" * level + " " + _written(title, escape)
    if block.label in CAPTIONS:
        return _centred(_written(one_line(text), html.escape).strip())
    written = escape_starts(_written(text, escape))
    if block.label == CONTENT:
        return written.replace("-\n", "\n").replace("\n", "  \n")
    if block.label == ABSTRACT:
        return _titled(written, block.label, " ", "\n")
    if block.label == REFERENCE:
        return _titled(written, block.label, "\n", "")
    if block.label == "algorithm":
        return written.strip("\n")
    return written.replace("\n\n", "\n").replace("\n", "\n\n")


def _titled(text: str, label: str, separator: str, end: str) -> str:
    """Make a heading of the first part of a text, if it is the title of its block."""
    parts = text.split(separator)
    first = next((n for n, part in enumerate(parts) if part.strip()), None)
    if first is not None and parts[first].lower() in HEADINGS[label]:
        parts[first] = f"## {parts[first]}{end}"
    return separator.join(parts)


def _written(text: Text, change: Callable[[str], str]) -> str:
    """Return a text with its formulas; `change` escapes the rest."""
    return "".join(
        f"${clean_latex(part.latex)}$" if isinstance(part, Formula) else change(part)
        for part in text.parts
    )


def escape(text: str) -> str:
    """Escape the characters of a text that have a meaning within a line of Markdown."""
    return _MARKS.sub(lambda match: f"\\{match[0]}", text)


def escape_starts(text: str) -> str:
    """Escape what has a meaning at the start of a line: spaces, marks of titles and lists."""

    def escaped(match: re.Match[str]) -> str:
        mark = match[1] or ""
        return f"{mark}\\" if mark.isdigit() else mark and f"\\{mark}"

    return _AT_START.sub(escaped, text)


def clean_latex(latex: str) -> str:
    """Return LaTeX that cannot end the formula around it: in one line, without bare dollars."""
    return re.sub(r"(?<!\\)\$", r"\\$", " ".join(latex.split()))
