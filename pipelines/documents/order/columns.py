"""Which blocks cross columns: they are put in after the others are in order."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipelines.documents import labels
from pipelines.documents.order import nodes as roles
from pipelines.documents.order.nodes import Node
from pipelines.documents.rectangles import axis_of
from pipelines.documents.types import Direction

OVERLAP = 0.1
"""Two blocks overlap if their intersection over union is above this."""
LONG_LINES = 10
"""Texts whose lines are longer than this, in heights of a line, make a column."""
_MARKED = frozenset({roles.DOCUMENT_TITLE, roles.ACROSS_COLUMNS, roles.REFERENCE_ACROSS})


class _Overlaps:
    """How much each two nodes of a part overlap, which is asked for many times.

    Attributes:
        areas: intersection over union.
        along, across: whether they overlap along lines, and across them.
    """

    def __init__(self, part: Sequence[Node], direction: Direction) -> None:
        boxes = np.array([node.box for node in part], np.float64)
        sides = np.minimum(boxes[:, None, 2:], boxes[None, :, 2:]) - np.maximum(
            boxes[:, None, :2], boxes[None, :, :2]
        )
        own = np.abs((boxes[:, 2:] - boxes[:, :2]).prod(1))
        shared = np.maximum(sides, 0).prod(2)
        covered = own[:, None] + own - shared
        areas = np.divide(shared, covered, out=np.zeros_like(shared), where=covered > 0)
        self.areas: list[list[float]] = areas.tolist()
        overlap = (sides > 0).tolist()
        axis = axis_of(direction)
        self.along = [[pair[axis] for pair in row] for row in overlap]
        self.across = [[pair[1 - axis] for pair in row] for row in overlap]


def mark_across(part: list[Node], direction: Direction) -> None:
    """Mark the nodes of a part that cross columns or overlap others; sort the part, in place.

    Args:
        part: the nodes.
        direction: in which lines run.
    """
    part.sort(key=lambda node: (node.box[0], node.width))
    overlaps = _Overlaps(part, direction)
    for index, node in enumerate(part):
        if node.role in _MARKED:
            continue
        for first, other in enumerate(part):
            if first == index or other.role in _MARKED:
                continue
            if _mark_overlapping(node, other, overlaps.areas[index][first]):
                break
            if overlaps.along[index][first]:
                _mark_between(part, index, first, overlaps)


def _mark_overlapping(node: Node, other: Node, overlap: float) -> bool:
    """Mark one of two nodes that overlap; return whether one was."""
    if overlap and other.role == roles.PICTURE:
        other.role = roles.ACROSS_COLUMNS
        return True
    if overlap > OVERLAP and node.area < other.area:
        node.role = roles.ACROSS_COLUMNS
        return True
    return False


def _mark_between(part: Sequence[Node], index: int, first: int, overlaps: _Overlaps) -> None:
    """Mark a node that lies above or below two others that stand side by side.

    Args:
        part: the nodes.
        index: of the node, which overlaps the first other one along its lines.
        first: of the first other one; the second one is looked for.
        overlaps: of the nodes.
    """
    node, beside = part[index], part[first]
    for second, other in enumerate(part):
        if second in (index, first) or other.role in _MARKED:
            continue
        if overlaps.areas[index][second] > OVERLAP:
            if other.role == roles.PICTURE:
                other.role = roles.ACROSS_COLUMNS
                return
            if node.role == roles.PICTURE or node.area < other.area:
                node.role = roles.ACROSS_COLUMNS
                return
        side_by_side = (
            overlaps.along[index][second]
            and not overlaps.along[first][second]
            and overlaps.across[first][second]
        )
        if side_by_side and (
            node.role in (roles.PICTURE, roles.AREA) or (_is_column(beside) and _is_column(other))
        ):
            is_reference = node.label == labels.REFERENCE
            node.role = roles.REFERENCE_ACROSS if is_reference else roles.ACROSS_COLUMNS


def _is_column(node: Node) -> bool:
    return node.role == roles.NORMAL and node.long > node.line_height * LONG_LINES
