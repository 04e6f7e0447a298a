"""The text of a title, and how deep it stands."""

from __future__ import annotations

import re
from dataclasses import replace

from pipelines.documents.labels import DOCUMENT_TITLE, TITLES
from pipelines.documents.types import Block, Text

DEEPEST = 6
"""The deepest level that Markdown, HTML and these documents have."""
_CHINESE = "一二三四五六七八九十百千万亿零壹贰叁肆伍陆柒捌玖拾"
_NUMBER = re.compile(
    r"\s*("
    r"[1-9][0-9]*(?:\.[1-9][0-9]*)*[.、]?"
    rf"|[(（](?:[1-9][0-9]*|[{_CHINESE}]+)[)）]"
    rf"|[{_CHINESE}]+[、.]?"
    r"|(?:I|II|III|IV|V|VI|VII|VIII|IX|X)[.\s]"
    r")\s*(.*)"
)
"""The number of a title, and the rest of its first line."""


def is_heading(block: Block) -> bool:
    """Return whether a block is a title of the document or of a section."""
    return block.label == DOCUMENT_TITLE or block.label in TITLES


def heading(block: Block) -> tuple[int, Text]:
    """Return the level of a title, from 1, and its text in one line.

    A title without a level has that of the points in its number, as in PaddleX 3,
    inference/common/result/converter/markdown_format_funcs.py (`format_title`).
    """
    text = block.content if isinstance(block.content, Text) else Text((block.text,))
    if block.label == DOCUMENT_TITLE:
        return 1, one_line(text)
    if block.level is not None:
        return min(block.level + 1, DEEPEST), one_line(text)
    if len(text.parts) == 1 and isinstance(text.parts[0], str):
        if match := _NUMBER.fullmatch(text.parts[0]):
            text = Text((f"{match[1].strip()} {match[2]}",))
        text = replace(text, parts=(str(text.parts[0]).rstrip("."),))
    return min(text.plain.count(".") + 2, DEEPEST), one_line(text)


def one_line(text: Text) -> Text:
    """Return a text without line ends; a hyphen before one is left out with it."""
    parts = [
        part.replace("-\n", "").replace("\n", " ") if isinstance(part, str) else part
        for part in text.parts
    ]
    if parts and isinstance(parts[0], str):
        parts[0] = parts[0].lstrip()
    if parts and isinstance(parts[-1], str):
        parts[-1] = parts[-1].rstrip()
    return Text(tuple(parts))
