"""Which blocks follow another one: captions a picture, subtitles a title, areas an outer one."""

from __future__ import annotations

from collections.abc import Sequence

from pipelines.documents import labels
from pipelines.documents.order import nodes as roles
from pipelines.documents.order.nodes import Area, Node
from pipelines.documents.rectangles import (
    axis_of,
    edge_distance,
    intersection_over_union,
    projected_overlap,
    shared_of_smaller,
)
from pipelines.documents.types import Direction

MIN_OVERLAP = 0.1
"""Two blocks are above each other if they share more than this of the narrower one's width."""
INSIDE = 0.9
"""The share of a text that lies in a title or a picture that holds it."""
SMALL_TITLE_TEXT = 0.8
"""The text of a title is lower than this share of the title."""
LONG_TITLE_TEXT = 1.5
"""It is shorter than the title, or longer than the title by this."""
MAX_TITLE_TEXT_LINES = 3
NEAR, NEAR_SUBTITLE = 2, 1.5
"""The distance of what follows, in heights of a line."""
SHORT_NOTE = 0.5
ALIGNED = 10
"""Edges or centres that differ by less than this, in pixels, are aligned."""


def assign_role(node: Node, area: Area) -> None:
    """Set the role of a node, and let it adopt what follows it."""
    label = node.label
    if label in labels.HEADERS:
        node.role = roles.HEADER
    elif label in labels.DOCUMENT_TITLES:
        node.role = roles.DOCUMENT_TITLE
        _adopt_title_text(node, area)
    elif label in labels.TITLES and node.role is None:
        node.role = roles.TITLE
        _adopt_subtitles(node, area)
    elif label in labels.PICTURES:
        node.role, node.lines = roles.PICTURE, 1
        node.turn(area.direction)
        _adopt_captions(node, area)
    elif label in labels.FOOTERS:
        node.role = roles.FOOTER
    elif label in labels.UNORDERED:
        node.role = roles.UNORDERED
    elif label == labels.REGION:
        node.role = roles.AREA
        _adopt_inner_areas(node, area)
    else:
        node.role = roles.NORMAL


def _neighbours(
    node: Node, others: Sequence[Node], direction: Direction
) -> tuple[list[Node], list[Node]]:
    """Return the nodes before and after a node, the nearest first.

    Args:
        node: the node.
        others: the nodes among which to look.
        direction: along which they have to overlap.
    """
    before: list[Node] = []
    after: list[Node] = []
    axis = 1 - axis_of(direction)
    for other in others:
        if other.index == node.index:
            continue
        overlap = projected_overlap(node.box, other.box, direction, of_smaller=True)
        if overlap > MIN_OVERLAP:
            (before if other.box[axis] <= node.box[axis] else after).append(other)
    before.sort(key=lambda other: other.box[axis], reverse=True)
    after.sort(key=lambda other: other.box[axis])
    return before, after


def _adopt_title_text(title: Node, area: Area) -> None:
    """Let the title of a document adopt the small text next to it, and texts within it."""
    texts = [area.nodes[index] for index in area.normal]
    for found in _neighbours(title, texts, title.direction):
        if found and _is_title_text(found[0], title):
            _adopt_text(title, found[0], area, roles.TITLE_TEXT)
    for text in texts:
        if text.role == roles.TITLE_TEXT or text.direction != title.direction:
            continue
        if shared_of_smaller(title.box, text.box) > INSIDE:
            _adopt_text(title, text, area, roles.TITLE_TEXT)


def _is_title_text(text: Node, title: Node) -> bool:
    fits = text.long < title.long or text.long > LONG_TITLE_TEXT * title.long
    return (
        text.direction == title.direction
        and text.label == labels.TEXT
        and text.short < title.short * SMALL_TITLE_TEXT
        and fits
        and text.lines < MAX_TITLE_TEXT_LINES
        and edge_distance(title.box, text.box) < text.line_height * NEAR
    )


def _adopt_text(parent: Node, text: Node, area: Area, role: str) -> None:
    text.role = role
    parent.adopt(text)
    area.normal.remove(text.index)


def _adopt_subtitles(title: Node, area: Area) -> None:
    """Let a title adopt those that stand directly above or below it."""
    others = [area.nodes[index] for index in area.titles + area.normal]
    for found in _neighbours(title, others, title.direction):
        for other in found:
            if other.label not in labels.TITLES:
                break
            line = min(title.line_height, other.line_height)
            if (
                other.direction == title.direction
                and abs(other.edges[0] - title.edges[0]) < line * 2
                and edge_distance(title.box, other.box) <= line * NEAR_SUBTITLE
            ):
                other.role = roles.SUBTITLE
                title.adopt(other)
                area.titles.remove(other.index)


def _adopt_captions(picture: Node, area: Area) -> None:
    """Let a picture or table adopt its captions, and a short text as its note."""
    others = [area.nodes[index] for index in area.normal + area.captions]
    has_note = has_caption = False
    for direction in (picture.direction, picture.across):
        before, after = _neighbours(picture, others, direction)
        for is_after, found in ((False, before), (True, after)):
            for other in found:
                is_text = other.label == labels.TEXT
                is_caption = other.label in labels.CAPTIONS
                ends = has_note and is_text if is_after else not (is_text or is_caption)
                if ends:
                    break
                near = edge_distance(picture.box, other.box) <= other.line_height * NEAR
                if is_caption and near:
                    has_caption = True
                    other.role = roles.CAPTION
                    picture.adopt(other)
                    area.captions.remove(other.index)
                if is_text:
                    if near and not has_note and _is_note(other, picture):
                        has_note = True
                        if is_after:
                            other.label = labels.PICTURE_NOTE
                        _adopt_text(picture, other, area, roles.NOTE)
                    break
        if has_caption:
            break
    for other in others:
        is_free = other.index in area.normal
        if is_free and shared_of_smaller(picture.box, other.box) > INSIDE:
            other.label = labels.PICTURE_NOTE
            _adopt_text(picture, other, area, roles.NOTE)


def _is_note(text: Node, picture: Node) -> bool:
    """Return whether a text next to a picture is short and aligned with it."""
    if text.direction != picture.direction or text.long >= picture.long:
        return False
    centres = abs(picture.centre()[0] - text.centre()[0])
    small = text.short < picture.short and text.long < SHORT_NOTE * picture.long
    one_line = text.lines == 1
    return (
        (small and centres < ALIGNED)
        or (one_line and picture.box[0] - text.box[0] < ALIGNED)
        or (one_line and picture.box[2] - text.box[2] < ALIGNED)
    )


def _adopt_inner_areas(outer: Node, page: Area) -> None:
    """Let an area adopt the smaller ones that it overlaps."""
    for other in page.nodes:
        if other.index == outer.index or other.role == roles.INNER_AREA:
            continue
        if intersection_over_union(outer.box, other.box) > 0 and outer.area > other.area:
            _adopt_text(outer, other, page, roles.INNER_AREA)


def release_children(ordered: list[Node]) -> None:
    """Put the children of each node of a list next to it, in place."""
    place = 0
    while place < len(ordered):
        node = ordered[place]
        children = node.release()
        if children:
            family = [*children, node]
            ordered[place : place + 1] = _in_order(family, family[0].direction)
        place += 1


def _in_order(family: list[Node], direction: Direction) -> list[Node]:
    if isinstance(family[0], Area):
        return sorted(family, key=lambda node: node.distance if isinstance(node, Area) else 0.0)

    def key(node: Node) -> tuple[float, ...]:
        left, top, right, _ = node.box
        x, y = node.centre()
        return (top, left, x**2 + y**2) if direction == "horizontal" else (-right, top, y**2 - x**2)

    return sorted(family, key=key)
