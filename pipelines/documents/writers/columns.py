"""How many columns each part of a page has, for Word's sections."""

from __future__ import annotations

from collections.abc import Sequence

from pipelines.documents.types import Box

NARROW = 0.62
"""A block that takes less of the width of the text than this may stand in a column."""
MOST_COLUMNS = 4
MIN_OVERLAP = 0.3
"""Two blocks are side by side if they share more of the lower one's height than this."""


def column_counts(boxes: Sequence[Box]) -> list[int]:
    """Return the number of columns of the section that each block of a page belongs to.

    Args:
        boxes: of the blocks, in reading order.
    """
    if not boxes:
        return []
    left, right = min(box[0] for box in boxes), max(box[2] for box in boxes)
    narrow = [box for box in boxes if box[2] - box[0] < NARROW * (right - left)]
    tracks = _tracks([box for box in narrow if any(_side_by_side(box, other) for other in narrow)])
    if not 1 < len(tracks) <= MOST_COLUMNS:
        return [1] * len(boxes)
    counts = []
    for box in boxes:
        crossed = sum(box[0] < end and box[2] > start for start, end in tracks)
        counts.append(len(tracks) if crossed == 1 else 1)
    return counts


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
