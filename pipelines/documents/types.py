"""What a parsed document consists of: pages of blocks, each a text, a table, a formula or a figure.

All of it is plain data: `Document.to_dict` gives what `json.dumps` accepts, by
`document.schema.json`; the bytes of figures stay outside of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np

from pipelines.table.results import Table, TableCell

FORMAT = 1
"""The version of the JSON."""

Box: TypeAlias = "tuple[int, int, int, int]"
"""Left, top, right and bottom in pixels of the page."""

Direction: TypeAlias = 'Literal["horizontal", "vertical"]'
"""In which direction lines of text run."""


@dataclass(frozen=True)
class Formula:
    """A formula.

    Attributes:
        latex: its LaTeX, without dollar signs around it.
    """

    latex: str


@dataclass(frozen=True)
class Text:
    r"""A text; `\n` separates its paragraphs.

    Attributes:
        parts: its strings, and the formulas within its lines.
    """

    parts: tuple[str | Formula, ...] = ()

    @property
    def plain(self) -> str:
        """The text, with formulas as LaTeX between dollar signs."""
        return "".join(
            f"${part.latex}$" if isinstance(part, Formula) else part for part in self.parts
        )


@dataclass(frozen=True, eq=False)
class Figure:
    """A part of a page that stays a picture.

    Attributes:
        name: the name of its file, which comes from its place on the page alone.
        width, height: in pixels.
        image: its JPEG, or the file of it.
        text: what was read in it, as in a seal.
    """

    name: str
    width: int
    height: int
    image: bytes | Path
    text: str = ""

    def read(self) -> bytes:
        """Return its JPEG."""
        return self.image if isinstance(self.image, bytes) else self.image.read_bytes()


Content: TypeAlias = "Text | Table | Formula | Figure"


@dataclass(frozen=True)
class Flow:
    """How the lines of a text fill its block, which shows whether its last paragraph goes on.

    Attributes:
        direction: in which lines run.
        lines: the number of lines.
        line_height: their mean height, in pixels.
        line_width: their mean length, in pixels.
        first: where the first line begins, along x.
        last: where the last line of several ends, along x; None for a single line.
    """

    direction: Direction = "horizontal"
    lines: int = 1
    line_height: float = 1
    line_width: float = 1
    first: float | None = None
    last: float | None = None


NO_TEXT = Flow()
"""Of a block without text."""


@dataclass(frozen=True, eq=False)
class Block:
    """A region of a page with its content.

    Attributes:
        label: what it is, such as "text", "paragraph_title" or "table"; see `labels.py`.
        box: left, top, right and bottom in pixels of the page.
        content: what it holds.
        score: the confidence of the layout network, 0 to 1.
        order: its number in reading order, from 1; None for what is not read in order, as tables
            and figures.
        level: of a title, from 1; the title of the document has 0.
        continues: whether it goes on with the text, or the table, of an earlier block.
        flow: of its text.
    """

    label: str
    box: Box
    content: Content
    score: float = 1.0
    order: int | None = None
    level: int | None = None
    continues: bool = False
    flow: Flow = NO_TEXT

    @property
    def text(self) -> str:
        """Its text: of tables the HTML, of formulas the LaTeX, of figures what was read in them."""
        if isinstance(self.content, Text):
            return self.content.plain
        if isinstance(self.content, Table):
            return self.content.html
        return self.content.latex if isinstance(self.content, Formula) else self.content.text

    def to_dict(self) -> dict[str, Any]:
        """Return the block as plain Python values, which `json.dumps` accepts."""
        kind = next(name for name, each in _KINDS.items() if isinstance(self.content, each))
        return {
            "label": self.label,
            "box": list(self.box),
            "score": round(self.score, 5),
            "order": self.order,
            "level": self.level,
            "continues": self.continues,
            "flow": dict(vars(self.flow)),
            "type": kind,
            **_WRITE[kind](self.content),
        }


@dataclass(frozen=True)
class Page:
    """A page: its blocks in reading order, or why it could not be parsed.

    Attributes:
        source: the name of the file.
        number: of the page in its file, from 1.
        width, height: of the page in pixels, upright.
        angle: by how many degrees it was rotated counter-clockwise to be upright.
        blocks: in reading order.
        error: why it could not be parsed; None if it was.
    """

    source: str
    number: int
    width: int = 0
    height: int = 0
    angle: int = 0
    blocks: tuple[Block, ...] = ()
    error: str | None = None

    def with_blocks(self, blocks: Sequence[Block]) -> Page:
        """Return the page with other blocks."""
        return replace(self, blocks=tuple(blocks))

    def to_dict(self) -> dict[str, Any]:
        """Return the page as plain Python values, which `json.dumps` accepts."""
        head = {"source": self.source, "page": self.number}
        if self.error is not None:
            return {**head, "error": self.error}
        size = {"width": self.width, "height": self.height, "angle": self.angle}
        return {**head, **size, "blocks": [block.to_dict() for block in self.blocks]}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], images: Path) -> Page:
        """Return the page of `to_dict`.

        Args:
            values: as `to_dict` returns them.
            images: the folder of the figures' files.
        """
        head = (values["source"], values["page"])
        if "error" in values:
            return cls(*head, error=values["error"])
        blocks = tuple(_read_block(block, images) for block in values["blocks"])
        return cls(*head, values["width"], values["height"], values["angle"], blocks)


@dataclass(frozen=True)
class Document:
    """The pages of one file, or of several.

    Attributes:
        pages: in the order of the files.
    """

    pages: tuple[Page, ...] = ()

    @property
    def failures(self) -> list[Page]:
        """The pages that could not be parsed."""
        return [page for page in self.pages if page.error is not None]

    def blocks(self) -> Iterator[tuple[Page, Block]]:
        """Yield every block with its page, in reading order."""
        for page in self.pages:
            for block in page.blocks:
                yield page, block

    def figures(self) -> Iterator[Figure]:
        """Yield the figures of all pages."""
        for _, block in self.blocks():
            if isinstance(block.content, Figure):
                yield block.content

    def to_dict(self) -> dict[str, Any]:
        """Return the document as plain Python values, which `json.dumps` accepts."""
        return {"format": FORMAT, "pages": [page.to_dict() for page in self.pages]}


def _write_text(text: Text) -> dict[str, Any]:
    formulas = any(isinstance(part, Formula) for part in text.parts)
    parts = [
        {"formula": part.latex} if isinstance(part, Formula) else {"text": part}
        for part in text.parts
    ]
    return {"text": text.plain, **({"parts": parts} if formulas else {})}


def _write_figure(figure: Figure) -> dict[str, Any]:
    size = {"width": figure.width, "height": figure.height}
    return {"image": figure.name, **size, "text": figure.text}


_KINDS: Mapping[str, type] = {"text": Text, "table": Table, "formula": Formula, "figure": Figure}
_WRITE: Mapping[str, Any] = {
    "text": _write_text,
    "table": lambda table: {"table": table.to_dict()},
    "formula": lambda formula: {"latex": formula.latex},
    "figure": _write_figure,
}


def _read_block(values: Mapping[str, Any], images: Path) -> Block:
    left, top, right, bottom = values["box"]
    return Block(
        values["label"],
        (left, top, right, bottom),
        _read_content(values, images),
        values["score"],
        values["order"],
        values["level"],
        values["continues"],
        Flow(**values["flow"]),
    )


def _read_content(values: Mapping[str, Any], images: Path) -> Content:
    if values["type"] == "text":
        parts = values.get("parts", [{"text": values["text"]}])
        return Text(
            tuple(Formula(part["formula"]) if "formula" in part else part["text"] for part in parts)
        )
    if values["type"] == "table":
        table = values["table"]
        cells = tuple(_read_cell(cell) for cell in table["cells"])
        box = _corners(table["box"])
        return Table(table["html"], cells, table["score"], table["kind"], box)
    if values["type"] == "formula":
        return Formula(values["latex"])
    name = values["image"]
    return Figure(name, values["width"], values["height"], images / name, values["text"])


def _read_cell(values: Mapping[str, Any]) -> TableCell:
    return TableCell(**{**values, "box": _corners(values["box"])})


def _corners(values: list[list[float]] | None) -> np.ndarray | None:
    return None if values is None else np.array(values, np.float32)
