"""The results that the command line writes and draws: anything with a box on a page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from pipelines.table.results import Table


class Item(Protocol):
    """A result on a page; formats write its text, score and words if it has them."""

    @property
    def box(self) -> np.ndarray:
        """`(N, 2) float32`, x and y in pixels of the page, clockwise from the top left."""


class TextItem(Item, Protocol):
    """A result with a text."""

    @property
    def text(self) -> str:
        """The recognised text."""


class LabelledItem(Item, Protocol):
    """A result with a label."""

    @property
    def label(self) -> str:
        """What it is, such as "table"."""


@dataclass(frozen=True, eq=False)
class DetectedLine:
    """A text line that was detected, but not read.

    Attributes:
        box: `(N, 2) float32`, x and y in pixels of the page, clockwise from the top left.
    """

    box: np.ndarray


@dataclass(frozen=True, eq=False)
class Formula:
    """A formula.

    Attributes:
        box: `(4, 2) float32`, x and y in pixels of the page.
        text: its LaTeX.
    """

    box: np.ndarray
    text: str


@dataclass(frozen=True, eq=False)
class PageImage:
    """An image that is the result for a page: super-resolved, or flattened.

    Attributes:
        box: `(4, 2) float32`, x and y in pixels of the page.
        image: `(H, W, 3) uint8` BGR.
    """

    box: np.ndarray
    image: np.ndarray


@dataclass(frozen=True, eq=False)
class CellItem:
    """A cell of a table, with what the drawings show.

    Attributes:
        box: `(4, 2) float32`, x and y in pixels of the page.
        text: its text.
    """

    box: np.ndarray
    text: str


@dataclass(frozen=True, eq=False)
class PageTable:
    """The table of a page.

    Attributes:
        box: `(4, 2) float32`, x and y in pixels of the page.
        table: its cells and its HTML.
    """

    box: np.ndarray
    table: Table

    @property
    def cells(self) -> Sequence[CellItem]:
        """The cells that have a box."""
        cells = self.table.cells
        return [CellItem(cell.box, cell.text) for cell in cells if cell.box is not None]


def frame_of(image: np.ndarray) -> np.ndarray:
    """Return the box of a whole image `(H, W, 3)`, `(4, 2) float32`."""
    height, width = image.shape[:2]
    return np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
