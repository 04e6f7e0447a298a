"""The columns of the parts of a page, for Word's sections."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipelines.documents.types import Box

NARROW = 0.62
"""A block that takes less of the width of the text than this may stand in a column."""
MOST_COLUMNS = 4
MIN_OVERLAP = 0.3
"""Two blocks are side by side if they share more of the lower one's height than this."""


@dataclass(frozen=True)
class Place:
    """Where a block stands.

    Attributes:
        columns: the number of columns of its part of the page.
        column: its own, from 0.
    """

    columns: int = 1
    column: int = 0


def places_of(boxes: Sequence[Box]) -> list[Place]:
    """Return where each block of a page stands.

    Args:
        boxes: of the blocks, in any order.
    """
    if not boxes:
        return []
    left, right = min(box[0] for box in boxes), max(box[2] for box in boxes)
    narrow = [box for box in boxes if box[2] - box[0] < NARROW * (right - left)]
    tracks = _tracks([box for box in narrow if any(_side_by_side(box, other) for other in narrow)])
    if not 1 < len(tracks) <= MOST_COLUMNS:
        return [Place()] * len(boxes)
    places = []
    for box in boxes:
        crossed = [n for n, (start, end) in enumerate(tracks) if box[0] < end and box[2] > start]
        places.append(Place(len(tracks), crossed[0]) if len(crossed) == 1 else Place())
    return places


def _side_by_side(box: Box, other: Box) -> bool:
    shared = min(box[3], other[3]) - max(box[1], other[1])
    lower = min(box[3] - box[1], other[3] - other[1])
    apart = box[2] <= other[0] or other[2] <= box[0]
    return apart and shared > MIN_OVERLAP * lower


def _tracks(boxes: Sequence[Box]) -> list[tuple[int, int]]:
    """Return the intervals along x that the boxes cover."""
    found: list[tuple[int, int]] = []
    for left, right in sorted((box[0], box[2]) for box in boxes):
        if found and left < found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], right))
        else:
            found.append((left, right))
    return found
