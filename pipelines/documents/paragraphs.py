"""Paragraphs that go on in the next column or on the next page.

The rules of whether a text goes on are those of PaddleX 3, inference/pipelines/layout_parsing/
utils.py (`get_seg_flag`): the text before reaches its right edge, and this one starts at its left
edge. Other than there, what stands around the text of a page, such as its number, does not part two
texts, the last column of a page goes on in the first one of the next, and a space comes between two
parts unless one side is Chinese or the space is there.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import replace

from pipelines.documents.labels import FURNITURE, TEXT
from pipelines.documents.types import Block, Flow, Formula, Page, Text

NEAR = 10
"""A line reaches an edge that is nearer than this, in pixels."""
_CHINESE = re.compile(r"[\u4e00-\u9fff]")


def edges(block: Block, box: tuple[int, int, int, int] | None = None) -> tuple[int, int]:
    """Return where lines begin and end: left and right, or top and bottom of vertical text."""
    left, top, right, bottom = box or block.box
    return (left, right) if block.flow.direction == "horizontal" else (top, bottom)


def starts_paragraph(
    flow: Flow,
    sides: tuple[int, int],
    before: Flow,
    sides_before: tuple[int, int],
    farthest: float,
) -> bool:
    """Return whether a text starts a paragraph.

    Args:
        flow: of the text.
        sides: where its lines begin and end.
        before: the flow of the text before.
        sides_before: where its lines begin and end.
        farthest: how far the two may be apart along their lines, in pixels.
    """
    first = float("inf") if flow.first is None else flow.first
    start, end = sides
    start_before, end_before = sides_before
    last = float("-inf") if before.last is None else before.last
    is_full, gap = abs(end_before - last) < NEAR, abs(start - end_before)
    if start < end_before and end > start_before:
        start, end = min(start_before, start), max(end_before, end)
        is_full, gap = abs(end - last) < NEAR, 0
    goes_on = is_full and first - start < NEAR and before.lines > 1 and gap < farthest
    return not goes_on


def continues_text(block: Block, before: Block, *, same_page: bool) -> bool:
    """Return whether a block goes on with the paragraph of the block before.

    Args:
        block: the block.
        before: the one before it in reading order.
        same_page: whether both are on one page; if not, how far they are apart does not count.
    """
    if block.label != TEXT or before.label != TEXT:
        return False
    widths = [each.box[2] - each.box[0] for each in (block, before)]
    farthest = float(max(widths)) if same_page else math.inf
    return not starts_paragraph(block.flow, edges(block), before.flow, edges(before), farthest)


def mark_paragraphs(pages: Iterable[Page]) -> list[Page]:
    """Mark the texts that go on with an earlier one, in the same column, the next or a later page.

    Args:
        pages: of one file, with their blocks in reading order.
    """
    marked = []
    before: Block | None = None
    for page in pages:
        if page.error is not None:
            before = None
        blocks, same_page = [], False
        for block in page.blocks:
            if block.label not in FURNITURE:
                goes_on = before is not None and continues_text(block, before, same_page=same_page)
                before, same_page = block, True
                block = replace(block, continues=True) if goes_on else block
            blocks.append(block)
        marked.append(page.with_blocks(blocks))
    return marked


def join_texts(first: Text, second: Text) -> Text:
    """Return two parts of a paragraph as one text."""
    before, after = first.plain, second.plain
    close = not before or not after or before[-1].isspace() or after[0].isspace()
    if close or _CHINESE.match(before[-1]) or _CHINESE.match(after[0]):
        return Text(_compact((*first.parts, *second.parts)))
    return Text(_compact((*first.parts, " ", *second.parts)))


def _compact(parts: tuple[str | Formula, ...]) -> tuple[str | Formula, ...]:
    """Join neighbouring strings."""
    joined: list[str | Formula] = []
    for part in parts:
        if joined and isinstance(part, str) and isinstance(joined[-1], str):
            joined[-1] += part
        else:
            joined.append(part)
    return tuple(joined)
