"""A page that is drawn block by block, and what is on it.

Letters are those of the font that Pillow carries; Chinese ones need a font of the system.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from drawn.tables import Row, table_of
from pipelines.io.fonts import ADVICE, FONTS
from pipelines.table.results import Table

Box = tuple[int, int, int, int]
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

SIZE, TITLE_SIZE, SECTION_SIZE, NOTE_SIZE = 19, 38, 26, 16
LEADING = 1.45
"""The distance of two lines, in sizes of the font."""
SPACE = 20
"""Between two blocks, in pixels."""
CELL_HEIGHT, CELL_MARGIN = 38, 10


class FontMissingError(RuntimeError):
    """No font of the system has Chinese characters."""


@dataclass(eq=False)
class DrawnBlock:
    """A block: its label and box, its lines, and what a network of its own would return.

    Attributes:
        label: as the layout network would name it.
        box: left, top, right and bottom in pixels.
        lines: box and text of each.
        table: of a table, with the texts of its cells.
        latex: of a formula.
        goes_on: whether it goes on with the text or the table of the block before it.
    """

    label: str
    box: Box
    lines: list[tuple[Box, str]] = field(default_factory=list)
    table: Table | None = None
    latex: str = ""
    goes_on: bool = False

    @property
    def text(self) -> str:
        """Its lines in one, Chinese ones without spaces."""
        words = [text for _, text in self.lines]
        return ("" if words and not words[0].isascii() else " ").join(words)


class DrawnPage:
    """A page under construction; blocks are added in reading order.

    Args:
        width: in pixels.
        height: in pixels.

    Attributes:
        blocks: in reading order.
        turned: by how many degrees the page has to be rotated to be upright, counter-clockwise.
    """

    def __init__(self, width: int = 1000, height: int = 1414) -> None:
        self.width, self.height = width, height
        self.blocks: list[DrawnBlock] = []
        self.turned = 0
        self._image = Image.new("RGB", (width, height), "white")
        self._pen = ImageDraw.Draw(self._image)

    def image(self, mark: Callable[[Image.Image], None] = lambda _: None) -> Image.Image:
        """Return the page as it lies in the file.

        Args:
            mark: paints on the page before it is turned.
        """
        image = self._image.copy()
        mark(image)
        return image.rotate(-self.turned, expand=True) if self.turned else image

    def text(
        self,
        label: str,
        left: int,
        top: int,
        width: int,
        text: str,
        *,
        size: int = SIZE,
        centred: bool = False,
        goes_on: bool = False,
    ) -> int:
        """Add a text, broken into lines, and return where the next block begins."""
        font, lines, y = letters(size), [], top
        for line in broken(text, width, size):
            extent = round(font.getlength(line))
            x = left + (width - extent) // 2 if centred else left
            self._pen.text((x, y), line, "black", font)
            lines.append(((x, y, x + extent, y + round(size * 1.2)), line))
            y += round(size * LEADING)
        box = _around([line[0] for line in lines])
        self.blocks.append(DrawnBlock(label, box, lines, goes_on=goes_on))
        return box[3] + SPACE

    def picture(self, left: int, top: int, width: int, height: int) -> int:
        """Add a picture of waves, and return where the next block begins."""
        rows, columns = np.mgrid[0:height, 0:width]
        waves = (128 + 100 * np.sin(rows / 9 + columns / 23)).astype(np.uint8)
        picture = np.stack([waves // 2, waves, 255 - waves // 3], -1)
        self._image.paste(Image.fromarray(picture), (left, top))
        self.blocks.append(DrawnBlock("image", (left, top, left + width, top + height)))
        return top + height + 10

    def formula(
        self, left: int, top: int, latex: str, parts: Sequence[tuple[str, int, int]]
    ) -> int:
        """Add a formula on a line of its own, and return where the next block begins.

        Args:
            left: in pixels.
            top: in pixels.
            latex: its LaTeX.
            parts: strings, each with its size and how far it is raised, in pixels.
        """
        x, boxes = left, []
        for text, size, raised in parts:
            font, y = letters(size), top + 30 - size - raised
            self._pen.text((x, y), text, "black", font)
            extent = round(font.getlength(text))
            boxes.append((x, y, x + extent, y + round(size * 1.2)))
            x += extent + 3
        box = _around(boxes)
        self.blocks.append(DrawnBlock("formula", box, latex=latex))
        return box[3] + SPACE

    def table(
        self,
        left: int,
        top: int,
        width: int,
        rows: Sequence[Row],
        *,
        lines: bool = True,
        goes_on: bool = False,
    ) -> int:
        """Add a table, and return where the next block begins.

        Args:
            left: in pixels.
            top: in pixels.
            width: in pixels.
            rows: cells as (text, columns, rows).
            lines: whether lines are between all cells, or only above, below and under the head.
            goes_on: whether it goes on with the table of the page before, whose first row it
                repeats.
        """
        box = (left, top, left + width, top + len(rows) * CELL_HEIGHT)
        table, font = table_of(rows, box), letters(SIZE)
        made = DrawnBlock("table", box, table=table, goes_on=goes_on)
        for cell in table.cells:
            assert cell.box is not None
            (x, y), (right, bottom) = cell.box[0].tolist(), cell.box[2].tolist()
            if lines:
                self._pen.rectangle((x, y, right, bottom), outline="black")
            extent = font.getlength(cell.text)
            start = x + (right - x - extent) / 2 if cell.column_span > 1 else x + CELL_MARGIN
            middle = (y + bottom) / 2
            self._pen.text((start, middle), cell.text, "black", font, anchor="lm")
            if cell.text:
                half = SIZE * 0.6
                place = (start, middle - half, start + extent, middle + half)
                made.lines.append((_whole(place), cell.text))
        if not lines:
            head = max(cell.row_span for cell in table.cells if cell.row == 0)
            for row, thick in ((0, 2), (head, 1), (len(rows), 2)):
                y = top + row * CELL_HEIGHT
                self._pen.line((left, y, left + width, y), "black", thick)
        self.blocks.append(made)
        return box[3] + SPACE

    def vertical(self, right: int, top: int, height: int, text: str, *, size: int = 24) -> int:
        """Add Chinese text in columns from right to left; return where the next block ends."""
        font, lines, x = _chinese(size), [], right - size
        step = round(size * 1.1)
        for start in range(0, len(text), height // step):
            column = text[start : start + height // step]
            for number, character in enumerate(column):
                self._pen.text((x, top + number * step), character, "black", font)
            lines.append(((x, top, x + size, top + len(column) * step), column))
            x -= round(size * LEADING)
        box = _around([line[0] for line in lines])
        self.blocks.append(DrawnBlock("text", box, lines))
        return box[0] - SPACE


def letters(size: int) -> Font:
    """Return the font of a size in pixels."""
    return ImageFont.load_default(size)


def _chinese(size: int) -> Font:
    for name, face in FONTS:
        if name.startswith("DejaVu"):  # those before it are fonts with Chinese characters
            break
        try:
            return ImageFont.truetype(name, size, index=face)
        except OSError:
            continue
    raise FontMissingError(f"no font of this system has Chinese characters; {ADVICE}")


def broken(text: str, width: int, size: int = SIZE) -> list[str]:
    """Return the lines of a text, each with as many words as fit into a width in pixels."""
    font, lines, line = letters(size), [], ""
    for word in text.split():
        longer = f"{line} {word}".strip()
        if line and font.getlength(longer) > width:
            lines.append(line)
            longer = word
        line = longer
    return [*lines, line]


def _around(boxes: Sequence[Box]) -> Box:
    lefts, tops, rights, bottoms = zip(*boxes, strict=True)
    return min(lefts), min(tops), max(rights), max(bottoms)


def _whole(box: tuple[float, float, float, float]) -> Box:
    left, top, right, bottom = (round(side) for side in box)
    return left, top, right, bottom
