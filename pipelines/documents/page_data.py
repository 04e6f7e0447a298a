"""What the networks found on a page, from which its blocks are made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from pipelines.documents.lines import without_marks
from pipelines.documents.types import Content


@dataclass(eq=False)
class Region:
    """A region that the layout network found.

    Attributes:
        label: what it is, see `labels.py`.
        box: left, top, right and bottom in pixels of the page.
        score: 0 to 1.
        content: what a network of its own made of it, as a table; None for texts.
        order: its place in reading order, if the layout network predicts it.
    """

    label: str
    box: tuple[float, float, float, float]
    score: float = 1.0
    content: Content | None = None
    order: int | None = None


@dataclass(eq=False)
class PageLines:
    """The lines of text on a page, and the formulas, which change while they go to their blocks.

    Attributes:
        boxes: `(N, 4)`, left, top, right and bottom; whole pixels as long as no other are added.
        texts: what was read; LaTeX of formulas.
        scores: 0 to 1.
        formulas: which of them are formulas.
    """

    boxes: np.ndarray
    texts: list[str]
    scores: list[float]
    formulas: list[bool] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.texts = [without_marks(text) for text in self.texts]
        self.formulas = self.formulas or [False] * len(self.texts)

    def append(
        self, box: Sequence[float] | np.ndarray, text: str, score: float, *, formula: bool = False
    ) -> int:
        """Add a line, and return its index."""
        row = np.asarray(box)[None]
        self.boxes = np.vstack([self.boxes, row]) if len(self.boxes) else row
        self.texts.append(without_marks(text))
        self.scores.append(score)
        self.formulas.append(formula)
        return len(self.texts) - 1

    def change(self, index: int, box: np.ndarray, text: str, score: float) -> None:
        """Put another line in the place of one."""
        self.boxes[index] = box
        self.texts[index], self.scores[index] = without_marks(text), score


@dataclass(frozen=True, eq=False)
class PageData:
    """What is known of a page before its blocks are made.

    Attributes:
        image: `(H, W, 3) uint8` BGR, white where formulas were read.
        regions: of the layout network.
        areas: the boxes of parts of the page that are read one after the other; often none.
        lines: what was read on the page.
        read: reads an image of one line; None without a recogniser, as with a text layer alone.
        min_score: lines that are read anew with a lower score are left out.
        line_rules: how lines are cut and joined, see `ParseSettings`.
    """

    image: np.ndarray
    regions: list[Region]
    areas: list[tuple[float, float, float, float]]
    lines: PageLines
    read: Callable[[np.ndarray], tuple[str, float]] | None = None
    min_score: float = 0.0
    line_rules: Literal["own", "paddlex"] = "own"
