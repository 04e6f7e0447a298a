"""Putting nodes that took no part in the cut between those that did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pipelines.documents import labels
from pipelines.documents.order import nodes as roles
from pipelines.documents.order.nodes import Area, Node
from pipelines.documents.paragraphs import starts_paragraph
from pipelines.documents.rectangles import edge_distance
from pipelines.documents.types import Direction

EDGE_WEIGHT, SIDE_WEIGHT = 10**4, 0.0001
"""Of the distance between edges, and of the place along the lines; that across them counts 1."""
TOLERANCE = 2
"""Places across the lines that differ by less than this are the same, in pixels."""
NEAREST_ABSTRACT = 0.1
_FLOATING = labels.PICTURES | labels.CAPTIONS


def sorted_by_place(found: Sequence[Node], area: Area) -> list[Node]:
    """Sort nodes by the lines of text in which they begin, and along these."""

    def key(node: Node) -> tuple[float, ...]:
        left, top, right, _ = node.box
        x, y = node.centre()
        if area.direction == "horizontal":
            return top // area.line_height, left // area.line_width, x**2 + y**2
        return -right // area.line_width, top // area.line_height, y**2 - x**2

    return sorted(found, key=key)


def insert_all(ordered: list[Node], others: Sequence[Node], area: Area) -> None:
    """Insert nodes into those that are in order, in place.

    Args:
        ordered: in reading order.
        others: those to insert.
        area: which holds all of them.
    """
    for number, node in enumerate(sorted_by_place(others, area)):
        if number == 0 and node.role == roles.DOCUMENT_TITLE and node.label != labels.REGION:
            ordered.insert(0, node)
        elif isinstance(node, Area):
            ordered.insert(_place_of_area(node, ordered), node)
        elif node.role == roles.REFERENCE_ACROSS:
            ordered.insert(_place_of_reference(node, ordered), node)
        elif node.role == roles.UNORDERED:
            ordered.insert(_place_by_corner(node, ordered), node)
        else:
            ordered.insert(_place_by_edges(node, ordered, area), node)


def _place_of_area(node: Area, ordered: Sequence[Node]) -> int:
    """Return the place before the first area that is farther from where reading starts."""
    for place, other in enumerate(ordered):
        if isinstance(other, Area) and other.distance > node.distance:
            return place
    return len(ordered)


def _place_of_reference(node: Node, ordered: Sequence[Node]) -> int:
    """Return the place after the node above that reaches farthest to the right and down."""
    best, place = -1, 0
    for index, other in enumerate(ordered):
        reach = other.box[2] * 10 + other.box[3]
        if other.box[3] <= node.box[1] and reach > best:
            best, place = reach, index + 1
    return place


def _place_by_corner(node: Node, ordered: Sequence[Node]) -> int:
    """Return the place after the node whose top left corner is nearest."""
    left, top, *_ = node.box
    distances = [abs(other.box[0] - left) + abs(other.box[1] - top) for other in ordered]
    return distances.index(min(distances)) + 1 if distances else 0


def _place_by_edges(node: Node, ordered: Sequence[Node], area: Area) -> int:
    """Return the place before or after the node whose edges are nearest, of equals the first."""
    tolerance: float = TOLERANCE
    best, lowest, place = float("inf"), float("inf"), 0
    for index, other in enumerate(ordered):
        distance = edge_distance(node.box, other.box, _weights(node))
        if node.label in labels.DOCUMENT_TITLES:
            tolerance = max(tolerance, area.line_width, 1)
        if node.label == labels.ABSTRACT:
            tolerance *= 2
            distance = max(NEAREST_ABSTRACT, distance) * 10
        depth, side = _depth(node, other, area.direction)
        if abs(lowest - depth) <= tolerance:
            depth = lowest
        weighted = distance * EDGE_WEIGHT + depth + side * SIDE_WEIGHT
        lowest = min(depth, lowest)
        if weighted < best:
            best = weighted
            place = _beside(node, ordered, index, area.direction)
    return place


def _weights(node: Node) -> tuple[float, float, float, float]:
    """Return the weights of the distance to the left, to the right, above and below."""
    if node.role == roles.DOCUMENT_TITLE:
        return (1, 0.1, 0.1, 1) if node.direction == "horizontal" else (0.2, 0.1, 1, 1)
    return (1, 1, 0.1, 1) if node.role == roles.TITLE else (1, 1, 1, 0.1)


def _depth(node: Node, other: Node, direction: Direction) -> tuple[float, float]:
    """Return how far another node is across the lines and along them; later ones are nearer."""
    left, top, right, bottom = other.box
    if direction == "horizontal":
        depth, side, is_above = top, left, bottom < node.box[1]
    else:
        depth, side, is_above = -right, top, left > node.box[2]
    if is_above and node.label not in labels.UNORDERED:
        return -depth, -side
    return depth, side


def _beside(node: Node, ordered: Sequence[Node], index: int, direction: Direction) -> int:
    """Return the place before or after another node, but not within a paragraph."""
    other = ordered[index]
    own, its = node.box, other.box
    if own[1] // 2 != its[1] // 2:
        is_after = own[1] > its[1]
    elif direction == "horizontal":
        is_after = own[0] > its[0]
    else:
        is_after = own[2] < its[2]
    floats = node.label in _FLOATING
    if is_after:
        splits = floats and index < len(ordered) - 1 and not _starts(ordered, index + 1)
        return index + 1 + splits
    splits = floats and index > 0 and not _starts(ordered, index)
    return index - 1 if splits else index


def _starts(ordered: Sequence[Node], index: int) -> bool:
    """Return whether a node starts a paragraph, after the one before it."""
    node, before = ordered[index], ordered[index - 1]
    farthest = float(max(node.width, before.width))
    flow_before = replace(before.flow, lines=before.lines)
    return starts_paragraph(node.flow, node.edges, flow_before, before.edges, farthest)
