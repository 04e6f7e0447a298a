"""Lines that are in no region: they become regions of their own, so that no text is lost.

PaddleX leaves such lines out, unless a page has no regions at all.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipelines.documents import labels
from pipelines.documents.page_data import PageLines, Region
from pipelines.documents.rectangles import enclosing, lines_within

MARGIN = 0.07
"""Lines that are nearer to the upper or lower edge than this share of the height are furniture."""
LEAST_SCORE = 0.5
"""Lines that were read with a lower score are left out: marks, not letters."""
SAME_COLUMN = 0.5
"""Two lines below each other belong together if they share this of the narrower one's width."""
UNLIKE = 1.5
"""A line that is higher than another by this factor is of another kind, such as a title."""


def uncovered_regions(lines: PageLines, regions: Sequence[Region], height: int) -> list[Region]:
    """Return regions for the lines that are in none; lines closely below each other share one.

    Args:
        lines: of the page.
        regions: of the page.
        height: of the page, in pixels.
    """
    covered = {line for region in regions for line in lines_within(lines.boxes, region.box)}
    left = [
        index
        for index in np.argsort(lines.boxes[:, 1], kind="stable").tolist()
        if index not in covered and lines.texts[index] and lines.scores[index] >= LEAST_SCORE
    ]
    groups: list[list[int]] = []
    for index in left:
        box = lines.boxes[index]
        near = next((group for group in groups if _goes_on(lines.boxes[group[-1]], box)), None)
        if near is None:
            groups.append([index])
        else:
            near.append(index)
    return [_region(group, lines, regions, height) for group in groups]


def _goes_on(line: np.ndarray, below: np.ndarray) -> bool:
    """Return whether a line is closely below another one."""
    shared = min(line[2], below[2]) - max(line[0], below[0])
    narrower = min(line[2] - line[0], below[2] - below[0])
    lower, higher = sorted((line[3] - line[1], below[3] - below[1]))
    gap = below[1] - line[3]
    is_near = -lower / 2 < gap < lower and higher < UNLIKE * lower
    return bool(is_near and shared >= SAME_COLUMN * narrower)


def _region(
    group: Sequence[int], lines: PageLines, regions: Sequence[Region], height: int
) -> Region:
    left, top, right, bottom = enclosing(lines.boxes[index] for index in group)
    label = labels.TEXT
    if bottom < MARGIN * height:
        label = "header"
    elif top > (1 - MARGIN) * height:
        label = "footer"
    score = float(np.mean([lines.scores[index] for index in group]))
    return Region(label, (left, top, right, bottom), score, order=_order(top, regions))


def _order(top: float, regions: Sequence[Region]) -> int | None:
    """Return the place after the last region above, where the layout network predicts the order."""
    orders = [region.order for region in regions]
    if not orders or None in orders:
        return None
    above = [region.order for region in regions if region.box[1] <= top]
    return max((order for order in above if order is not None), default=-1)
