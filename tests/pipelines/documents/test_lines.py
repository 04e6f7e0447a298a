"""Lines that several regions share, and spaces between lines, where PaddleX's rules lose text."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.documents.blocks import page_blocks
from pipelines.documents.page_data import PageData, PageLines, Region
from pipelines.documents.uncovered import uncovered_regions


def texts(regions, lines, rules="own"):
    """The texts of blocks; a line that is read anew has the size of what was cut out."""
    boxes = np.array([box for box, _ in lines], np.int32)
    data = PageData(
        np.full((200, 400, 3), 255, np.uint8),
        [Region("text", box, 0.9) for box in regions],
        [],
        PageLines(boxes, [text for _, text in lines], [0.9] * len(lines)),
        lambda crop: (f"x{crop.shape[1]}y{crop.shape[0]}", 1.0),
        line_rules=rules,
    )
    return [block.text.strip() for block in page_blocks(data, lambda *_: None)]


BELOW = [(10, 10, 200, 52), (10, 48, 200, 90)]
"""Two regions, the second of which begins within the last line of the first."""
LINES = [((12, 12, 190, 26), "one"), ((12, 40, 190, 55), "two"), ((12, 70, 190, 84), "three")]


def test_a_line_at_the_border_of_two_regions_stays_whole():
    assert texts(BELOW, LINES) == ["one two", "three"]
    assert texts(BELOW, LINES, "paddlex") == ["one x178y12", "x178y7three"]


def test_a_line_that_no_region_has_whole_goes_to_the_one_with_most_of_it():
    regions = [(10, 10, 200, 48), (10, 47, 200, 90)]
    assert texts(regions, LINES) == ["one two", "three"]


def test_a_line_over_two_columns_is_cut():
    columns = [(10, 10, 100, 90), (105, 10, 200, 90)]
    assert texts(columns, [((12, 12, 190, 26), "one")]) == ["x88y14", "x85y14"]


def test_an_edge_of_a_line_in_the_next_column_is_not_read():
    columns = [(10, 10, 100, 90), (105, 10, 200, 90)]
    lines = [((12, 12, 110, 26), "one"), ((107, 12, 190, 26), "two")]
    assert texts(columns, lines) == ["one", "two"]
    assert texts(columns, lines, "paddlex") == ["x88y14", "x5y14two"]


@pytest.mark.parametrize(
    ("first", "second", "text"),
    [
        ("ends.", "Then", "ends. Then"),
        ("in 12", "days", "in 12 days"),
        ("twice-", "daily", "twicedaily"),
        ("潮汐，", "每日", "潮汐，每日"),
        ("the", "每日", "the 每日"),
    ],
)
def test_spaces_between_lines(first, second, text):
    lines = [((12, 12, 198, 26), first), ((12, 40, 198, 54), second)]
    assert texts([(10, 10, 200, 60)], lines) == [text]


def test_spaces_as_paddlex_has_them():
    lines = [((12, 12, 198, 26), "ends."), ((12, 40, 198, 54), "Then")]
    assert texts([(10, 10, 200, 60)], lines, "paddlex") == ["ends.Then"]


def test_lines_in_no_region_are_kept():
    lines = [((12, 60, 190, 74), "in it"), ((12, 20, 190, 34), "above"), ((12, 40, 120, 54), "it."),
             ((220, 20, 390, 34), "beside")]  # fmt: skip
    region = [(10, 58, 200, 90)]
    assert texts(region, lines) == ["above it.", "in it", "beside"]
    assert texts(region, lines, "paddlex") == ["in it"]


def test_lines_in_no_region_at_the_edges_are_furniture():
    boxes = [(12, 2, 90, 12), (12, 188, 90, 198), (12, 90, 90, 110)]
    lines = PageLines(np.array(boxes), ["head", "foot", "noise"], [0.9, 0.9, 0.3])
    found = uncovered_regions(lines, [Region("text", (10, 40, 200, 80), 0.9, order=4)], 200)
    assert [(region.label, region.order) for region in found] == [("header", -1), ("footer", 4)]
