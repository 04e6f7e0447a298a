"""The parts of a document in reading order, with paragraphs and tables over breaks in one piece."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from pipelines.documents.labels import FURNITURE
from pipelines.documents.page_tables import join_tables
from pipelines.documents.paragraphs import join_texts
from pipelines.documents.types import Block, Document, Page, Text
from pipelines.table.results import Table


@dataclass(frozen=True, eq=False)
class Piece:
    """A block, with those that continue it joined to it.

    Attributes:
        page: where it begins.
        block: with the content of all of them.
        parts: the pages and blocks that it was made from, one at least.
    """

    page: Page
    block: Block
    parts: tuple[tuple[Page, Block], ...]


def pieces(document: Document, *, without: Iterable[str] = ()) -> list[Piece]:
    """Return the pieces of a document in reading order.

    Args:
        document: the document.
        without: labels of blocks that are left out, as headers; others are never joined over them.
    """
    left_out = frozenset(without)
    found: list[Piece] = []
    last: dict[type, int] = {}  # kind of content -> the place of its last block
    for page, block in document.blocks():
        if block.label in left_out:
            continue
        kind = type(block.content)
        if block.continues and kind in last:
            before = found[last[kind]]
            joined = _join(before.block, block)
            found[last[kind]] = Piece(before.page, joined, (*before.parts, (page, block)))
            continue
        if block.label not in FURNITURE:
            last[kind] = len(found)
        found.append(Piece(page, block, ((page, block),)))
    return found


def by_page(found: Iterable[Piece]) -> Iterator[tuple[Page, Sequence[Piece]]]:
    """Yield the pieces of one page after another, for pages that have any."""
    group: list[Piece] = []
    for piece in found:
        if group and piece.page is not group[0].page:
            yield group[0].page, group
            group = []
        group.append(piece)
    if group:
        yield group[0].page, group


def _join(first: Block, second: Block) -> Block:
    """Return the first block with the content of both."""
    if isinstance(first.content, Table) and isinstance(second.content, Table):
        return replace(first, content=join_tables(first.content, second.content))
    if isinstance(first.content, Text) and isinstance(second.content, Text):
        return replace(first, content=join_texts(first.content, second.content))
    raise TypeError("only texts and tables continue")
