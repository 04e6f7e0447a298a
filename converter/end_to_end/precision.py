"""How many lines of pages stay the same if the networks compute in half precision."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from architectures.loading import ArtefactError
from converter.end_to_end.compare import LinePair, compare
from converter.errors import SourceError, UsageError
from pipelines import OCR, TextLine
from pipelines.io.files import Failure, Page
from schemas.messages import escape_controls

Reader = Callable[[np.ndarray], list[TextLine]]
"""Reads the lines of a page, (H, W, 3) uint8 BGR."""


@dataclass(frozen=True)
class Agreement:
    """How many lines of two readings agree; lines of one reading alone count as lines that do not.

    Attributes:
        lines: the number of lines of either reading.
        texts: how many have the same text in both.
        boxes: how many have corners within the limit.
        changed: `"TEXT" became "TEXT"` of each line whose text differs.
    """

    lines: int = 0
    texts: int = 0
    boxes: int = 0
    changed: tuple[str, ...] = ()

    def __add__(self, other: Agreement) -> Agreement:
        return Agreement(
            self.lines + other.lines,
            self.texts + other.texts,
            self.boxes + other.boxes,
            self.changed + other.changed,
        )

    @property
    def share(self) -> float:
        """The smaller one of the shares of equal texts and of equal boxes, from 0 to 1."""
        return min(self.texts, self.boxes) / self.lines if self.lines else 1.0

    def describe(self, pixels: float) -> str:
        """Return the counts as a sentence.

        Args:
            pixels: the limit for the distance of corners.
        """
        if not self.lines:
            return "no line"
        return (
            f"{self.texts} of {self.lines} texts equal ({self.texts / self.lines:.1%}), "
            f"{self.boxes} boxes within {pixels:g} pixels ({self.boxes / self.lines:.1%})"
        )


def open_precisions(weights: Mapping[str, Path], device: str) -> tuple[OCR, OCR]:
    """Open the same pipeline in single and in half precision, both in PyTorch.

    Args:
        weights: converted weights of det and rec, with or without cls.
        device: as pipelines take it.

    Raises:
        SourceError: weights are missing or unreadable.
        UsageError: weights are of another task than the one they are given for, or the device
            lacks half precision.
    """
    try:
        networks = weights["det"], weights["rec"], weights.get("cls")
        single, half = (OCR(*networks, device=device, half=half) for half in (False, True))
    except (ArtefactError, OSError) as error:
        raise SourceError(str(error)) from error
    except ValueError as error:
        raise UsageError(str(error)) from error
    return single, half


def compare_pages(
    single: Reader, half: Reader, pages: Iterable[Page | Failure], pixels: float
) -> Iterator[tuple[str, Agreement | None]]:
    """Read each page twice and compare.

    Args:
        single: reads the lines that count as right.
        half: reads those that are compared.
        pages: pages, and files or pages that could not be read.
        pixels: the limit for the distance of corners.

    Yields:
        For each page its name and how far the readings agree, or why it could not be read and None.
    """
    for page in pages:
        if isinstance(page, Failure):
            yield escape_controls(page.message), None
            continue
        name = f"{page.source}, page {page.number}" if page.count > 1 else str(page.source)
        pairs = compare(single(page.image), half(page.image)).lines
        yield escape_controls(name), _agreement(pairs, pixels)


def _agreement(pairs: Iterable[LinePair], pixels: float) -> Agreement:
    total = Agreement()
    for pair in pairs:
        left, right = ("" if line is None else line.text for line in (pair.paddle, pair.torch))
        is_same = not pair.unpaired and left == right
        changed = () if is_same else (escape_controls(f'"{left}" became "{right}"'),)
        total += Agreement(1, is_same, pair.distance <= pixels, changed)
    return total
