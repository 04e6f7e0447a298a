"""The cut of an area before its nodes are put in order: at centred titles and at wide gaps."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from pipelines.documents import labels
from pipelines.documents.order import nodes as roles
from pipelines.documents.order.children import assign_role
from pipelines.documents.order.cutting import gaps, intervals, profile
from pipelines.documents.order.nodes import Area, Node
from pipelines.documents.rectangles import axis_of

WIDE_GAP, GAP = 3, 1.2
"""In heights of a line: a gap that always parts, and one that parts where the columns change."""


def parts(area: Area) -> list[list[Node]]:
    """Set the roles of an area's nodes, and return the parts in which they are put in order."""
    centred = []
    for node in area.nodes:
        if node.role not in roles.SET_ASIDE:
            assign_role(node, area)
        if _is_centred(node, area):
            centred.append(node)
    free = [node for node in area.nodes if node.role not in roles.SET_ASIDE]
    if not free:
        return []
    bands = intervals([node.box for node in free], area.across)
    cuts = _around_centred(centred, bands, area)
    holds_areas = area.nodes[0].label == labels.REGION
    others = [node.box for node in free if node.role != roles.PICTURE]
    if holds_areas or (others and len(intervals(others, area.direction)) == 1):
        cuts += _at_gaps(bands, cuts, area, holds_areas=holds_areas)
    found = _split(area, cuts)
    return found[::-1] if area.direction == "vertical" else found


def _is_centred(node: Node, area: Area) -> bool:
    tolerance = node.long // 5 if node.direction == "horizontal" else node.short // 10
    axis = axis_of(area.direction)
    middle = (node.box[axis] + node.box[axis + 2]) / 2
    return abs(middle - area.centre_along()) <= tolerance


def _around_centred(
    centred: Sequence[Node], bands: Sequence[tuple[int, int, int]], area: Area
) -> list[float]:
    """Return where to cut before and after centred nodes that are alone in their band."""
    alone = {(start, end) for start, end, count in bands if count == 1}
    cuts: list[float] = []
    for node in centred:
        fits = node.role not in roles.SET_ASIDE and node.across == area.across
        if fits and node.edges_across in alone:
            cuts += node.edges_across
    return cuts


def _at_gaps(
    bands: Sequence[tuple[int, int, int]],
    cuts: Sequence[float],
    area: Area,
    *,
    holds_areas: bool,
) -> list[float]:
    """Return where to cut between bands, because of wide gaps or other columns."""
    found: list[float] = []
    start, end, _ = bands[0]
    since = max(start, max((cut for cut in cuts if cut < end), default=0))
    for next_start, next_end, _ in bands[1:]:
        gap = next_start - end
        if holds_areas or gap >= area.line_height * WIDE_GAP:
            found.append(end)
        elif gap > area.line_height * GAP and _columns_change(area, since, end, next_end):
            since = end
            found.append(end)
        end = next_end
    return found


def _columns_change(area: Area, start: float, middle: float, end: float) -> bool:
    """Return whether the gaps between columns before and after a place differ."""
    before, after = (_gaps_between(area, *ends) for ends in ((start, middle), (middle, end)))
    most = max(len(before), len(after))
    if not most:
        return False
    axis = axis_of(area.direction)
    boxes = []
    for first, last in before + after:
        box = [0, 0, 0, 0]
        box[axis], box[axis + 2] = first, last
        boxes.append(box)
    return len(intervals(boxes, area.direction)) != most


def _gaps_between(area: Area, start: float, end: float) -> list[tuple[int, int]]:
    """Return the gaps along the lines between the nodes of a band."""
    axis = axis_of(area.across)
    inside = [
        node.box for node in area.nodes if node.box[axis] >= start and node.box[axis + 2] <= end
    ]
    return gaps(profile(np.array(inside), axis_of(area.direction))) if inside else []


def _split(area: Area, cuts: Sequence[float]) -> list[list[Node]]:
    """Return the nodes between cuts, each sorted by where it ends."""
    end = axis_of(area.across) + 2
    waiting = sorted(area.nodes, key=lambda node: node.box[end])
    found = []
    for limit in sorted({*cuts, math.inf}):
        count = next((n for n, node in enumerate(waiting) if node.box[end] > limit), len(waiting))
        taken, waiting = waiting[:count], waiting[count:]
        if group := [node for node in taken if node.role not in roles.SET_ASIDE]:
            found.append(group)
    return found
