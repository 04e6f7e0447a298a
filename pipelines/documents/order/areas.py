"""The order of the nodes of an area, and of the areas of a page."""

from __future__ import annotations

import numpy as np

from pipelines.documents import labels
from pipelines.documents.order import nodes as roles
from pipelines.documents.order.children import release_children
from pipelines.documents.order.columns import mark_across
from pipelines.documents.order.cutting import cut, intervals, part_touching
from pipelines.documents.order.insertion import insert_all, sorted_by_place
from pipelines.documents.order.nodes import Area, Node
from pipelines.documents.order.precut import parts
from pipelines.documents.rectangles import axis_of

_PUT_IN_LATER = frozenset({roles.ACROSS_COLUMNS, roles.REFERENCE_ACROSS, roles.DOCUMENT_TITLE})


def reading_order(areas: list[Area]) -> list[Node]:
    """Return the nodes of a page in reading order.

    Args:
        areas: of the page, with their nodes; there is at least one.
    """
    lefts, tops, rights, bottoms = zip(*(area.box for area in areas), strict=True)
    page = Area((min(lefts), min(tops), max(rights), max(bottoms)), areas)
    return [node for area in order_of(page) if isinstance(area, Area) for node in order_of(area)]


def order_of(area: Area) -> list[Node]:
    """Return the nodes of an area in reading order: headers first, footers last."""
    ordered: list[Node] = []
    later: list[Node] = []
    for part in parts(area):
        in_part, put_in_later = _order_of_part(part, area)
        later += put_in_later
        if later and later[0].label == labels.REGION:
            insert_all(in_part, later, area)
            later = []
        ordered += in_part
    insert_all(ordered, later, area)
    headers, footers, unordered = (
        sorted_by_place([area.nodes[index] for index in indices], area)
        for indices in (area.headers, area.footers, area.unordered)
    )
    ordered = [*headers, *ordered, *footers, *unordered]
    release_children(ordered)
    return ordered


def _order_of_part(part: list[Node], area: Area) -> tuple[list[Node], list[Node]]:
    """Return the nodes of a part in reading order, and those to put in at the end."""
    one_column = len(intervals([node.box for node in part], area.direction)) == 1
    if part[0].label != labels.REGION or one_column:
        mark_across(part, area.direction)
    to_cut = [node for node in part if node.role not in _PUT_IN_LATER]
    titles = [n for n in part if n.role in _PUT_IN_LATER and n.label == labels.DOCUMENT_TITLE]
    later = [n for n in part if n.role in _PUT_IN_LATER and n.label != labels.DOCUMENT_TITLE]
    ordered = _cut_order(to_cut, area) if to_cut else []
    insert_all(ordered, titles, area)
    return ordered, later


def _cut_order(found: list[Node], area: Area) -> list[Node]:
    """Return nodes in the order of an XY cut."""
    columns = intervals([node.box for node in found], area.direction)
    by_rows = len(columns) == 1 or max(node.lines for node in found) == 1
    along, across = axis_of(area.direction), axis_of(area.across)
    boxes = [(_mirrored(node, area), node) for node in found]
    # A line without text has no height, which must not divide.
    height, width = (max(size // 2, 1) for size in (area.line_height, area.line_width))
    if by_rows:
        boxes.sort(key=lambda item: (item[0][across] // height, item[0][along]))
    else:
        boxes.sort(key=lambda item: (item[0][along] // width, item[0][across]))
    sides = [box for box, _ in boxes]
    part_touching(sides, area.across)
    ordered = cut(np.array(sides), area.across if by_rows else area.direction)
    # Boxes that are parted may be left without an extent, which no gap shows.
    ordered += sorted(set(range(len(boxes))) - set(ordered))
    return [boxes[index][1] for index in ordered]


def _mirrored(node: Node, area: Area) -> list[int]:
    """Return the box of a node; vertical text is read from the right, so that its x is mirrored."""
    left, top, right, bottom = node.box
    if area.direction == "vertical":
        left, right = -left, -right
    return [left, top, right, bottom]
