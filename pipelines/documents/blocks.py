"""The blocks of a page, in reading order, from what the networks found.

The steps and their order are those of PaddleX 3, inference/pipelines/layout_parsing/pipeline_v2.py
(`get_layout_parsing_res`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from pipelines.documents import labels
from pipelines.documents.areas import page_areas
from pipelines.documents.cleanup import assign_lines, correct_labels, without_overlaps
from pipelines.documents.lines import Span, block_text, crop_of, to_text
from pipelines.documents.order.areas import reading_order
from pipelines.documents.order.halves import order_by_halves
from pipelines.documents.order.nodes import Area, Node
from pipelines.documents.page_data import PageData, Region
from pipelines.documents.rectangles import Rectangle, lines_within
from pipelines.documents.types import NO_TEXT, Block, Box, Figure, Flow, Formula

MOST_BLOCKS = 500
"""Pages of more blocks are read from top to bottom; the XY cut compares all pairs."""

MakeFigure = Callable[[Box, str], Figure]
"""Cuts a box out of the page as a figure, with the text that was read in it."""


def page_blocks(data: PageData, make_figure: MakeFigure, *, by_halves: bool = False) -> list[Block]:
    """Return the blocks of a page, in reading order.

    Args:
        data: what the networks found; its lines change.
        make_figure: cuts out what stays a picture.
        by_halves: whether the order is that of PP-Structure 2.
    """
    regions = without_overlaps(data.regions)
    correct_labels(regions)
    lines_of = assign_lines(data, regions)
    if not regions:
        return []
    blocks = []
    for index, region in enumerate(regions):
        if region.label == labels.FORMULA:
            lines_of[index] = lines_within(data.lines.boxes, region.box)
        blocks.append(_block(region, lines_of.get(index, []), data, make_figure))
    if by_halves:
        width = data.image.shape[1]
        order = order_by_halves([block.box for block in blocks], width)
        return numbered([blocks[index] for index in order])
    return numbered(_ordered(regions, blocks, data))


def _block(
    region: Region, of_region: Sequence[int], data: PageData, make_figure: MakeFigure
) -> Block:
    """Return a block with its content."""
    left, top, right, bottom = (int(side) for side in region.box)
    box = (left, top, right, bottom)
    if region.content is not None:
        return Block(region.label, box, region.content, region.score, flow=_flow_of(region.box))
    lines = data.lines
    spans = [Span(lines.boxes[line], lines.texts[line], lines.formulas[line]) for line in of_region]
    text, flow = "", _flow_of(region.box)
    if spans:
        own = data.line_rules == "own"
        text, flow = block_text(
            region.label, box, spans, lambda part: _read_part(part, data), own_spaces=own
        )
    if region.label == labels.FORMULA and any(span.is_formula for span in spans):
        return Block(region.label, box, Formula(text.strip()), region.score, flow=flow)
    content = make_figure(box, to_text(text).plain) if region.label in labels.CUT_OUT else None
    return Block(region.label, box, content or to_text(text), region.score, flow=flow)


def _flow_of(box: Rectangle) -> Flow:
    """Return the flow of a block without text: along its longer side."""
    width, height = _size(box)
    return NO_TEXT if width >= height else Flow("vertical")


def _size(box: Rectangle) -> tuple[float, float]:
    return box[2] - box[0], box[3] - box[1]


def _read_part(box: np.ndarray, data: PageData) -> Span | None:
    """Read a part of a line anew."""
    crop = crop_of(data.image, box)
    if data.read is None or not crop.size:
        return None
    text, score = data.read(crop)
    return Span(box, text) if score >= data.min_score else None


def _ordered(regions: Sequence[Region], blocks: list[Block], data: PageData) -> list[Block]:
    """Return the blocks in the order of the layout network, else in that of an XY cut."""
    orders = [region.order for region in regions]
    if None not in orders:
        indices = sorted(range(len(blocks)), key=lambda index: orders[index] or 0)
        return [blocks[index] for index in indices]
    if len(blocks) > MOST_BLOCKS:
        return sorted(blocks, key=lambda block: (block.box[1], block.box[0]))
    nodes = [
        Node(block.label, block.box, block.flow, key, size=_size(region.box))
        for key, (block, region) in enumerate(zip(blocks, regions, strict=True))
    ]
    found = page_areas(regions, data.areas, data.image.shape[:2])
    areas = [Area(each.box, [nodes[index] for index in each.regions]) for each in found]
    ordered = []
    for node in reading_order(areas):
        block = blocks[node.key]
        # A text that belongs to a picture is a note of it.
        label = labels.PICTURE_NOTE if node.label == labels.PICTURE_NOTE else block.label
        ordered.append(replace(block, label=label))
    return ordered


def numbered(blocks: Sequence[Block]) -> list[Block]:
    """Give the blocks that are read one after the other their numbers."""
    count, found = 0, []
    for block in blocks:
        is_numbered = block.label in labels.NUMBERED
        count += is_numbered
        found.append(replace(block, order=count if is_numbered else None))
    return found
