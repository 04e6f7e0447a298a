"""The results that the command line writes and draws: anything with a box on a page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np


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
class UpscaledImage:
    """A super-resolved image.

    Attributes:
        box: `(4, 2) float32`, x and y in pixels of the page.
        image: `(H, W, 3) uint8` BGR.
    """

    box: np.ndarray
    image: np.ndarray


def frame_of(image: np.ndarray) -> np.ndarray:
    """Return the box of a whole image `(H, W, 3)`, `(4, 2) float32`."""
    height, width = image.shape[:2]
    return np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
