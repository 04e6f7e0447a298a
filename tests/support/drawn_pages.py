"""Pages whose blocks, order and texts are known, and predictors that find just these.

A page is drawn with the blocks that a test names; the grey of a square in its corner is its key, by
which the predictors know it, however it was encoded.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from drawn.pages import DrawnBlock
from PIL import Image, ImageDraw, ImageFont

from pipelines.documents.networks import Networks
from pipelines.layout.predictor import LayoutRegion
from pipelines.ocr import TextLine
from pipelines.table.results import Table

WIDTH, HEIGHT, MARGIN, GAP = 600, 800, 40, 24
LINE = 14
SQUARE, STEP = 8, 6
WORDS = (
    *("the", "tide", "comes", "in", "twice", "a", "day", "and", "goes", "out", "again", "when"),
    *("the", "moon", "has", "passed", "the", "bay"),
)


@dataclass
class DrawnPage:
    """A page: its blocks in reading order, and its image once it is drawn."""

    blocks: list[DrawnBlock] = field(default_factory=list)
    width: int = WIDTH
    height: int = HEIGHT

    def texts(self) -> list[str]:
        """The words of each block, in reading order."""
        return [" ".join(text for _, text in block.lines) for block in self.blocks]

    def text(self, label: str, left: int, top: int, right: int, lines: int, *, short: bool = True,
             words: Sequence[str] = (), indent: int = 0) -> int:  # fmt: skip
        """Add a block of text, whose last line is short unless it goes on. Return its end."""
        made = []
        for number in range(lines):
            y = top + number * (LINE + 6)
            start = left + (indent if number == 0 else 0)
            end = left + (right - left) // 3 if short and number == lines - 1 else right
            text = words[number] if words else " ".join(WORDS[number * 3 % 15 :][:4])
            made.append(((start, y, end, y + LINE), text))
        bottom = top + lines * (LINE + 6) - 6
        self.blocks.append(DrawnBlock(label, (left, top, right, bottom), made))
        return bottom + 16

    def picture(self, label: str, left: int, top: int, right: int, height: int) -> int:
        """Add a picture. Return its end."""
        self.blocks.append(DrawnBlock(label, (left, top, right, top + height)))
        return top + height + 8

    def columns(self, count: int, top: int, lines: Sequence[int] = (5, 4, 6)) -> int:
        """Add columns of text. Return their end."""
        width = (self.width - 2 * MARGIN - GAP * (count - 1)) // count
        ends = []
        for column in range(count):
            left, y = MARGIN + column * (width + GAP), top
            for length in lines:
                y = self.text("text", left, y, left + width, length)
            ends.append(y)
        return max(ends)

    def draw(self, key: int) -> np.ndarray:
        """Draw the page with its key."""
        image = Image.new("RGB", (self.width, self.height), "white")
        pen, font = ImageDraw.Draw(image), ImageFont.load_default(LINE - 3)
        for block in self.blocks:
            if block.label in ("image", "chart"):
                pen.rectangle(block.box, fill=(90, 140, 200))
            for (left, top, _, _), text in block.lines:
                pen.text((left, top), text, "black", font)
            for cell in block.table.cells if block.table else ():
                corners = [float(side) for side in (*cell.box[0], *cell.box[2])]
                pen.rectangle(corners, outline="black")
                pen.text((corners[0] + 3, corners[1] + 3), cell.text, "black", font)
        paint_key(image, key)
        return np.asarray(image)[..., ::-1].copy()


def paint_key(image: Image.Image, key: int) -> None:
    """Paint the key of a page into its corner."""
    grey = key * STEP + STEP // 2
    ImageDraw.Draw(image).rectangle((0, 0, SQUARE, SQUARE), fill=(grey, grey, grey))


class Ideal:
    """Predictors that return what was drawn on the page that they see, in no order.

    Args:
        pages: by their keys.
        turned: by how many degrees pages have to be rotated to be upright.
    """

    def __init__(self, pages: Sequence[DrawnPage], turned: int = 0) -> None:
        self._pages, self._turned = pages, turned
        self.seen: list[int] = []

    def page(self, image: np.ndarray) -> DrawnPage:
        """Return the page of an image."""
        return self._pages[self.key(image)]

    @staticmethod
    def key(image: np.ndarray) -> int:
        """Return the key of the page of an image."""
        return int(image[SQUARE // 2, SQUARE // 2].mean()) // STEP

    def networks(self, **others: Any) -> Networks:
        """Return all predictors; `others` replace them."""
        turn = (lambda images: [self._turned] * len(images)) if self._turned else None
        return Networks(
            layout=self.layout,
            orientation=others.get("orientation", turn),
            ocr=_Reader(self),
            tables=_Tables(self),
            formulas=_Formulas(self),
        )

    def layout(self, image: np.ndarray) -> list[LayoutRegion]:
        """Find the regions."""
        self.seen.append(self.key(image))
        regions = [
            LayoutRegion(block.label, 0.9, corners(block.box)) for block in self.page(image).blocks
        ]
        random.Random(0).shuffle(regions)
        return regions


def corners(box: Sequence[float]) -> np.ndarray:
    """Return the corners of a rectangle."""
    left, top, right, bottom = box
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]], np.float32)


@dataclass
class _Reader:
    ideal: Ideal

    def __call__(self, image: np.ndarray) -> list[TextLine]:
        page = self.ideal.page(image)
        lines = [line for block in page.blocks if not block.latex for line in block.lines]
        return [TextLine(corners(box), text, 0.9) for box, text in lines]

    def recognizer(self, images: Sequence[np.ndarray]) -> list[TextLine]:
        return [TextLine(np.zeros((4, 2)), "", 0.0) for _ in images]


@dataclass
class _Tables:
    ideal: Ideal

    def on_page(self, image: np.ndarray, boxes: Sequence[np.ndarray], _: object) -> list[Table]:
        drawn = {tuple(corners(b.box).ravel()): b.table for b in self.ideal.page(image).blocks}
        return [drawn[tuple(box.ravel())] for box in boxes]


@dataclass
class _Formulas:
    ideal: Ideal

    def __call__(self, image: np.ndarray) -> str:
        sizes = {
            (b.box[3] - b.box[1], b.box[2] - b.box[0]): b.latex
            for page in self.ideal._pages
            for b in page.blocks
            if b.latex
        }
        return sizes[image.shape[:2]]
