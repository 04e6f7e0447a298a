"""The picture of a page: its regions with their place in reading order, and its texts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipelines.documents.parser import ParsedPage
from pipelines.documents.types import Block
from pipelines.io.drawing import draw_recognition, draw_regions
from pipelines.io.fonts import Typesetter


@dataclass(frozen=True, eq=False)
class _Labelled:
    """A block as the drawings take it.

    Attributes:
        box: `(4, 2) float32`.
        label: its number and its label.
    """

    box: np.ndarray
    label: str


def draw_page(parsed: ParsedPage, typesetter: Typesetter) -> np.ndarray:
    """Draw the regions of a page, numbered in reading order, and beside it the texts of its lines.

    Args:
        parsed: the page.
        typesetter: renders the texts.

    Returns:
        `(h, w, 3) uint8` BGR.
    """
    blocks = [_labelled(number, block) for number, block in enumerate(parsed.page.blocks, 1)]
    drawn = draw_recognition(parsed.image, parsed.lines, typesetter)
    regions = draw_regions(parsed.image, blocks)
    drawn[:, : regions.shape[1]] = regions
    return drawn


def _labelled(number: int, block: Block) -> _Labelled:
    left, top, right, bottom = block.box
    corners = [[left, top], [right, top], [right, bottom], [left, bottom]]
    return _Labelled(np.array(corners, np.float32), f"{number} {block.label}")
