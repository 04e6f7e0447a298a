"""The areas of a page that are read one after the other, such as the articles of a newspaper.

The rules are those of PaddleX 3, inference/pipelines/layout_parsing/pipeline_v2.py
(`standardized_data`) and utils.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipelines.documents import labels
from pipelines.documents.page_data import Region
from pipelines.documents.rectangles import (
    Rectangle,
    area,
    enclosing,
    intersection_over_union,
    shared_of_smaller,
)

IN_AREA = 0.6
"""A region is in an area if they share more than this of the smaller one."""
_ALONE = labels.UNORDERED | labels.HEADERS | labels.FOOTERS
"""What is an area of its own where a page has several."""
_OPPOSITE = {0: 2, 1: 3, 2: 0, 3: 1}
_TRIED_SIDES = 3


@dataclass(frozen=True)
class PageArea:
    """An area of a page.

    Attributes:
        box: left, top, right and bottom.
        regions: the regions in it, as indices.
    """

    box: Rectangle
    regions: tuple[int, ...]


def page_areas(
    regions: Sequence[Region], found: Sequence[Rectangle], size: tuple[int, int]
) -> list[PageArea]:
    """Return the areas of a page with all of its regions.

    Args:
        regions: of the page; there is at least one.
        found: the boxes of areas that a network found; without any, the page is one area.
        size: height and width of the page.
    """
    boxes = [region.box for region in regions]
    if not found:
        return [PageArea(enclosing(boxes), tuple(range(len(boxes))))]
    alone = [index for index, region in enumerate(regions) if region.label in _ALONE]
    free = [index for index in range(len(boxes)) if index not in alone]
    areas = []
    for box in sorted(found, key=area):
        inside = _grown(box, free, boxes)
        if inside:
            areas.append(PageArea(enclosing(boxes[index] for index in inside), tuple(inside)))
            free = [index for index in free if index not in inside]
    while free:
        near = _left_over(sorted({*free, *alone}), boxes, areas, size)
        inside = [index for index in near if index in free] or free
        areas.append(PageArea(enclosing(boxes[index] for index in inside), tuple(inside)))
        free = [index for index in free if index not in inside]
    return [*areas, *(PageArea(boxes[index], (index,)) for index in alone)]


def _grown(box: Rectangle, free: Sequence[int], boxes: Sequence[Rectangle]) -> list[int]:
    """Return the regions in an area that grows around those in it, until no more are found."""
    inside: list[int] = []
    while True:
        found = [index for index in free if shared_of_smaller(box, boxes[index]) > IN_AREA]
        if len(found) == len(inside):
            return found
        if not found:
            return []
        inside = found
        box = enclosing(boxes[index] for index in inside)


def _left_over(
    free: Sequence[int],
    boxes: Sequence[Rectangle],
    areas: Sequence[PageArea],
    size: tuple[int, int],
) -> list[int]:
    """Return regions in no area that make one which keeps clear of the others; may be none."""
    box = enclosing(boxes[index] for index in free)
    inside: list[int] = []
    for other in areas:
        if intersection_over_union(box, other.box) > 0:
            box, inside = _clear_of(box, other.box, free, boxes, size)
    return inside


def _clear_of(
    box: list[float],
    other: Rectangle,
    free: Sequence[int],
    boxes: Sequence[Rectangle],
    size: tuple[int, int],
) -> tuple[list[float], list[int]]:
    """Shrink an area on the side where it reaches least beyond another one.

    Returns:
        The area around the regions that are left in it, and these; without any, the next side is
        tried, then a third.
    """
    height, width = size
    beyond = [
        (other[0] - box[0]) / width,
        (other[1] - box[1]) / height,
        (box[2] - other[2]) / width,
        (box[3] - other[3]) / height,
    ]
    box = list(box)
    for distance in sorted(beyond)[:_TRIED_SIDES]:
        side = beyond.index(distance)
        box[side] = other[_OPPOSITE[side]]
        inside = [index for index in free if shared_of_smaller(box, boxes[index]) > IN_AREA]
        if inside:
            return enclosing(boxes[index] for index in inside), inside
    return box, []
