"""Regions to blocks: without those that are found twice, with their lines, under the right label.

The rules are those of PaddleX 3, inference/pipelines/layout_parsing/pipeline_v2.py
(`standardized_data`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from pipelines.documents import labels
from pipelines.documents.lines import crop_of
from pipelines.documents.page_data import PageData, PageLines, Region
from pipelines.documents.rectangles import (
    area,
    intersection,
    lines_within,
    shared_area,
    shared_of_smaller,
)
from pipelines.documents.uncovered import uncovered_regions

SAME_REGION = 0.5
"""Two regions that share more than this of the smaller one are the same."""
LARGE_TITLE = 0.3
"""The only title is that of the document if it is larger than this share of the largest region."""
READABLE = 0.6
"""A part of a line is cut out and read if it keeps this share of the line's height."""
LETTER = 0.5
"""It is at least as long as this share of the line's height, which is the width of a letter."""
SAME_TEXT = 0.8
"""A line that shares more than this of the smaller box with a part of another is left out."""
_OTHER_CONTENT = frozenset({labels.FORMULA, labels.TABLE, labels.SEAL})
"""What takes no lines of the page, or takes them later."""


def without_overlaps(regions: Sequence[Region]) -> list[Region]:
    """Leave out the smaller of two regions that overlap; of a picture and another, the picture."""
    dropped: set[int] = set()
    for first, region in enumerate(regions):
        for second in range(first + 1, len(regions)):
            other = regions[second]
            if first in dropped or second in dropped:
                continue
            if shared_of_smaller(region.box, other.box) <= SAME_REGION:
                continue
            pictures = [each.label == labels.IMAGE for each in (region, other)]
            if pictures[0] != pictures[1]:
                dropped.add(first if pictures[0] else second)
            else:
                dropped.add(first if area(region.box) <= area(other.box) else second)
    return [region for index, region in enumerate(regions) if index not in dropped]


def correct_labels(regions: Sequence[Region]) -> None:
    """Correct the labels of footnotes above a text, and of an only, large title, in place."""
    lowest = max((region.box[3] for region in regions if region.label == labels.TEXT), default=0)
    for region in regions:
        if region.label == labels.FOOTNOTE and region.box[3] < lowest:
            region.label = labels.TEXT
    titles = [region for region in regions if region.label == labels.TITLE]
    if len(titles) == 1 and all(region.label != labels.DOCUMENT_TITLE for region in regions):
        largest = max(area(region.box) for region in regions)
        if area(titles[0].box) > largest * LARGE_TITLE:
            titles[0].label = labels.DOCUMENT_TITLE


def assign_lines(data: PageData, regions: list[Region]) -> dict[int, list[int]]:
    """Return the lines of each region, as indices; lines in several regions are cut up.

    Lines without a region get one, unless PaddleX's rules are wanted; a page without regions gets
    one for each line; `regions` and `data.lines` change.
    """
    if regions and data.line_rules == "own":
        regions += uncovered_regions(data.lines, regions, data.image.shape[0])
    lines_of = {
        index: lines_within(data.lines.boxes, region.box)
        for index, region in enumerate(regions)
        if region.label not in _OTHER_CONTENT
    }
    if data.read is None:
        _give_to_largest(data.lines, regions, lines_of)
    else:
        _cut_shared_lines(data, regions, lines_of)
        _read_empty_regions(data, regions, lines_of)
    if not regions:
        for index, (box, score) in enumerate(
            zip(data.lines.boxes.tolist(), data.lines.scores, strict=True)
        ):
            regions.append(Region(labels.TEXT, tuple(box), score))
            lines_of[index] = [index]
    return lines_of


def _regions_of(lines_of: Mapping[int, Sequence[int]]) -> dict[int, list[int]]:
    """Return the regions of each line, as indices."""
    regions_of: dict[int, list[int]] = {}
    for region, of_region in lines_of.items():
        for line in of_region:
            regions_of.setdefault(line, []).append(region)
    return regions_of


def _give_to_largest(
    lines: PageLines, regions: Sequence[Region], lines_of: dict[int, list[int]]
) -> None:
    """Leave each line in the region that has the most of it, in place."""
    for line, of_line in _regions_of(lines_of).items():
        shares = [shared_area(lines.boxes[line], regions[region].box) for region in of_line]
        for region in of_line:
            if region != of_line[shares.index(max(shares))]:
                lines_of[region].remove(line)


def _cut_shared_lines(
    data: PageData, regions: Sequence[Region], lines_of: dict[int, list[int]]
) -> None:
    """Cut each line that is in several regions, and read the parts anew, in place."""
    for line, of_line in _regions_of(lines_of).items():
        kept = of_line
        if data.line_rules == "own" and len(of_line) > 1:
            kept = _with_readable_part(data.lines.boxes[line], regions, of_line)
            for region in set(of_line) - set(kept):
                lines_of[region].remove(line)
        if len(kept) > 1:
            _cut_line(data, regions, line, kept, lines_of)


def _with_readable_part(
    line: np.ndarray, regions: Sequence[Region], of_line: Sequence[int]
) -> list[int]:
    """Return the regions that have a part of a line to be read, else the one with most of it.

    Regions that lie closely below each other overlap, and a part of a line from its upper half
    cannot be read; neither can the edge of a line that reaches into the next column.
    """
    across = 1 if line[2] - line[0] >= line[3] - line[1] else 0
    height = max(line[across + 2] - line[across], 1)
    parts = {region: intersection(line, np.asarray(regions[region].box)) for region in of_line}
    readable = [
        region
        for region, part in parts.items()
        if part[across + 2] - part[across] >= READABLE * height
        and part[3 - across] - part[1 - across] >= LETTER * height
    ]
    return readable or [max(parts, key=lambda region: area(parts[region]))]


def _cut_line(
    data: PageData,
    regions: Sequence[Region],
    line: int,
    of_line: Sequence[int],
    lines_of: dict[int, list[int]],
) -> None:
    assert data.read is not None
    lines = data.lines
    whole, is_first = lines.boxes[line].copy(), True
    for region in of_line:
        part = intersection(whole, np.asarray(regions[region].box))
        _blank_covered(lines, lines_of[region], part)
        text, score = data.read(crop_of(data.image, part))
        if score < data.min_score:
            continue
        if is_first:
            lines.change(line, part, text, score)
        else:
            lines_of[region].remove(line)
            lines_of[region].append(lines.append(part, text, score))
        is_first = False


def _blank_covered(lines: PageLines, of_region: Sequence[int], part: np.ndarray) -> None:
    """Remove the texts of the lines that a part of another one covers."""
    for index in of_region:
        if shared_of_smaller(lines.boxes[index], part) > SAME_TEXT:
            lines.texts[index] = ""


def _read_empty_regions(
    data: PageData, regions: Sequence[Region], lines_of: dict[int, list[int]]
) -> None:
    """Read the regions without text as one line each, in place."""
    assert data.read is not None
    for index, of_region in lines_of.items():
        region = regions[index]
        if region.label in labels.PICTURES or any(data.lines.texts[line] for line in of_region):
            continue
        crop = crop_of(data.image, region.box)
        if not crop.size:
            continue
        text, score = data.read(crop)
        if score >= data.min_score:
            of_region.append(data.lines.append(region.box, text, score))
