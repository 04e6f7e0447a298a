"""What is put in order: blocks, and the areas of a page that hold them.

Nodes change while the order is found: a picture grows by its captions, which follow it later.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from pipelines.documents import labels
from pipelines.documents.rectangles import ACROSS, Rectangle
from pipelines.documents.types import NO_TEXT, Direction, Flow

# What a node is for the order, as far as that is not its label.
HEADER, FOOTER, UNORDERED = "header", "footer", "unordered"
DOCUMENT_TITLE, TITLE, PICTURE, NORMAL = "doc_title", "paragraph_title", "vision", "normal_text"
AREA, ACROSS_COLUMNS, REFERENCE_ACROSS = "region", "cross_layout", "cross_reference"
TITLE_TEXT, SUBTITLE, CAPTION = "doc_title_text", "sub_paragraph_title", "vision_title"
NOTE, INNER_AREA = "vision_footnote", "sub_region"
SET_ASIDE = frozenset({HEADER, UNORDERED, FOOTER, NOTE, SUBTITLE, TITLE_TEXT, CAPTION, INNER_AREA})
"""The roles of what takes no part in the cut: it stands first or last, or follows another node."""


@dataclass(eq=False)
class Node:
    """A block, or an area of blocks.

    Attributes:
        label: of the block.
        box: left, top, right and bottom; of a node with children around all of them.
        flow: of its text.
        key: which block it is.
        index: its place among the nodes of its area.
        role: what it is for the order.
        lines: the number of its lines.
        children: the nodes that follow it, such as captions.
        size: its width and height before its box was rounded; None where it was not.
    """

    label: str
    box: tuple[int, int, int, int]
    flow: Flow = NO_TEXT
    key: int = -1
    index: int = -1
    role: str | None = None
    children: list[Node] = field(default_factory=list)
    size: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        left, top, right, bottom = self.box
        size: tuple[float, float] = self.size or (right - left, bottom - top)
        self.width, self.height = size
        self.lines = self.flow.lines
        self.line_height, self.line_width = self.flow.line_height, self.flow.line_width
        self._own_box = self.box
        self.turn(self.flow.direction)

    @property
    def area(self) -> float:
        """Its area without children."""
        return float(self.width) * float(self.height)

    def turn(self, direction: Direction) -> None:
        """Set the direction of its lines, and what is measured along it and across."""
        self.direction = direction
        self.across: Direction = ACROSS[direction]  # type: ignore[assignment]
        lies = direction == "horizontal"
        self.short, self.long = (self.height, self.width) if lies else (self.width, self.height)
        left, top, right, bottom = self.box
        along, across = (left, right), (top, bottom)
        self.edges, self.edges_across = (along, across) if lies else (across, along)

    def adopt(self, child: Node) -> None:
        """Make another node, with its own children, follow this one."""
        if not self.children:
            self._own_box = self.box
        left, top, right, bottom = self.box
        child_left, child_top, child_right, child_bottom = child.box
        self.box = (
            min(left, child_left),
            min(top, child_top),
            max(right, child_right),
            max(bottom, child_bottom),
        )
        self.turn(self.direction)
        self.children += [child, *child.release()]

    def release(self) -> list[Node]:
        """Return the children, which are parted from it again."""
        if not self.children:
            return []
        self.box = self._own_box
        children, self.children = self.children, []
        return children

    def centre(self) -> tuple[float, float]:
        """Return x and y of its centre."""
        left, top, right, bottom = self.box
        return (left + right) / 2, (top + bottom) / 2


class Area(Node):
    """A part of a page, or a page of such parts, with the nodes in it.

    Attributes:
        nodes: its nodes, by their index.
        headers, footers, unordered, titles, captions, normal: the indices of nodes, by label.
        distance: of its nearest node from the corner where reading starts.

    Args:
        box: left, top, right and bottom.
        nodes: the nodes.
    """

    def __init__(self, box: Rectangle, nodes: Sequence[Node]) -> None:
        left, top, right, bottom = (int(side) for side in box)
        super().__init__(labels.REGION, (left, top, right, bottom))
        self.nodes = list(nodes)
        self.lines = 10
        for index, node in enumerate(self.nodes):
            node.index = index
        self.headers = self._of(labels.HEADERS)
        self.footers = self._of(labels.FOOTERS)
        self.unordered = self._of(labels.UNORDERED)
        self.titles = self._of(labels.TITLES)
        self.captions = self._of(labels.CAPTIONS)
        others = labels.HEADERS | labels.FOOTERS | labels.UNORDERED | labels.TITLES
        others = others | labels.CAPTIONS | labels.DOCUMENT_TITLES | labels.PICTURES
        self.normal = [node.index for node in self.nodes if node.label not in others]
        texts = [self.nodes[index] for index in self.normal]
        lying = sum(node.direction == "horizontal" for node in texts)
        self.turn("horizontal" if lying >= len(texts) * 0.5 else "vertical")
        heights, widths = [t.line_height for t in texts], [t.line_width for t in texts]
        self.line_height = sum(heights) / len(texts) if texts else 10
        self.line_width = sum(widths) / len(texts) if texts else 20
        self.distance = min(map(self._distance, self.nodes), default=0.0)

    def _of(self, group: frozenset[str]) -> list[int]:
        return [node.index for node in self.nodes if node.label in group]

    def _distance(self, node: Node) -> float:
        left, top, right, _ = node.box
        x = left if self.direction == "horizontal" else right - self.box[2]
        return float((x**2 + top**2) ** 0.5)

    def centre_along(self) -> float:
        """Return the middle of the area along its lines."""
        axis = 0 if self.direction == "horizontal" else 1
        return (self.box[axis] + self.box[axis + 2]) / 2
