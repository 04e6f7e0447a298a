"""Long pages: warnings where lines become too small, and detection on overlapping tiles."""

from __future__ import annotations

import logging
from itertools import pairwise

import cv2
import numpy as np
import pytest

from pipelines.detection.predictor import Detector
from pipelines.detection.tiles import Tile, grid_of, merge_tiles, widen
from schemas.processing import DetectionSettings


class SharpEyed:
    """A DB network that finds what is dark, like a real one not below 5 pixels of height."""

    def __init__(self, **pipeline):
        self.card = {"task": "det", "pipeline": pipeline}
        self.shapes = []

    def __call__(self, batch):
        self.shapes.append(batch.shape[2:])
        dark = (batch.mean(1) < 0).astype(np.uint8)[0]
        seen = cv2.morphologyEx(dark, cv2.MORPH_OPEN, np.ones((5, 5), np.uint8))
        return seen[None, None].astype(np.float32)


def page_with(height, width, lines):
    """A white page with dark lines, each (left, top, width, height)."""
    page = np.full((height, width, 3), 255, np.uint8)
    for left, top, line_width, line_height in lines:
        page[top : top + line_height, left : left + line_width] = 0
    return page


def receipt():
    """147 lines of 20 pixels on 600 x 7500, as a receipt has them."""
    return page_with(7500, 600, [(60, 80 + 50 * i, 300 + i, 20) for i in range(147)])


def test_a_receipt_is_shrunk_until_its_lines_vanish(caplog):
    assert Detector(SharpEyed())(receipt()) == []
    (message,) = caplog.messages
    assert "600 x 7500 pixels is shrunk to 64 x 960" in message
    assert "lines lower than 47 pixels are missed; use tiles" in message


def test_tiles_find_each_line_of_a_receipt_once(caplog):
    network = SharpEyed()
    boxes = Detector(network, tiles=True)(receipt())
    assert caplog.messages == []
    assert set(network.shapes) == {(960, 608)}
    boxes.sort(key=lambda box: box[0, 1])
    grown = [20 * (300 + i) * 1.5 / (2 * (320 + i)) for i in range(147)]
    tops = [80 + 50 * i - d for i, d in enumerate(grown)]
    np.testing.assert_allclose([box[:2, 1].mean() for box in boxes], tops, atol=3)
    np.testing.assert_allclose(
        [np.ptp(box[:, 1]) for box in boxes], [20 + 2 * d for d in grown], atol=4
    )
    np.testing.assert_allclose([box[0, 0] for box in boxes], [60 - d for d in grown], atol=3)


def test_lines_along_the_page_are_joined_at_each_seam():
    page = page_with(300, 4000, [(100, 50, 3700, 30), (2000, 200, 300, 30)])
    boxes = Detector(SharpEyed(), tiles=True)(page)
    long, short = sorted(boxes, key=lambda box: box[0, 1])
    assert np.abs(long[:, 0] - [100, 3800, 3800, 100]).max() < 30
    assert np.abs(short[:, 0] - [2000, 2300, 2300, 2000]).max() < 30
    assert np.ptp(long[:, 1]) < 80


def test_polygons_are_joined_too():
    page = page_with(300, 2500, [(100, 50, 2300, 30)])
    (line,) = Detector(SharpEyed(box_type="poly"), tiles=True)(page)
    assert line[:, 0].min() < 110
    assert line[:, 0].max() > 2390
    assert np.ptp(line[:, 1]) < 80


def test_narrow_strips_are_widened(caplog):
    strip = page_with(40, 2000, [(13, 10, 637, 25)])
    network = SharpEyed()
    (box,) = Detector(network, tiles=True)(strip)
    assert set(network.shapes) == {(128, 960)}
    np.testing.assert_allclose(box, [[0, 0], [667, 0], [667, 39], [0, 39]], atol=2)
    assert caplog.messages == []
    Detector(network)(strip)
    assert "2000 x 40 pixels is distorted to 960 x 32" in caplog.text


@pytest.mark.parametrize("height", [3508, 1200, 100])
def test_ordinary_pages_are_one_image_without_a_warning(height, caplog):
    # An A4 page at 300 pixels per inch has a scale of 0.27; its lines are 40 pixels high.
    page = page_with(height, height * 2480 // 3508, [])
    Detector(SharpEyed())(page)
    assert caplog.messages == []


def test_tiles_change_nothing_on_a_page_that_fits():
    page = page_with(900, 800, [(100, 50, 300, 30), (100, 850, 300, 50)])
    plain, tiled = Detector(SharpEyed())(page), Detector(SharpEyed(), tiles=True)(page)
    np.testing.assert_array_equal(plain, tiled)


@pytest.mark.parametrize(
    ("changes", "tile"),
    [
        ({}, 960),
        ({"limit_side_len": 1500}, 1500),
        ({"limit_side_len": 400}, 600),  # a tile is no shorter than the page is wide
        ({"limit_side_len": 64, "limit_type": "min"}, 4000),
        ({"resize_long": 2400}, 2400),
        ({"short_size": 736, "max_side_limit": 3000}, 3000),
        ({"image_shape": (736, 1280)}, 1280),
    ],
)
def test_tiles_are_as_long_as_the_rule_allows(changes, tile):
    tiles, across = grid_of(7500, 600, DetectionSettings(**changes))
    assert across == [Tile(0, 600)]
    assert grid_of(600, 7500, DetectionSettings(**changes)) == (across, tiles)
    assert {each.end - each.start for each in tiles} == {tile}
    assert (tiles[0].start, tiles[-1].end) == (0, 7500)
    overlaps = [first.end - second.start for first, second in pairwise(tiles)]
    assert min(overlaps) >= int(tile * 0.2) - 1


def test_a_page_that_is_long_and_wide_is_cut_along_both_sides(caplog):
    """Lines of 22 pixels on 4000 x 5000; two cross seams, one at a corner of four tiles."""
    rows, columns = grid_of(5000, 4000, DetectionSettings())
    assert {tile.end - tile.start for tile in (*rows, *columns)} == {1920}
    corner = (columns[1].start - 400, rows[1].start + 100)
    lines = [
        (150, 40, 400, 22),
        (300, 2500, 3300, 22),  # across all columns
        (*corner, 900, 22),
        (3300, 4900, 500, 22),
        (2000, rows[0].end - 11, 300, 22),  # cut by the end of the first row
    ]
    page = page_with(5000, 4000, lines)
    assert len(Detector(SharpEyed())(page)) < len(lines)
    caplog.clear()
    boxes = Detector(SharpEyed(), tiles=True)(page)
    assert caplog.messages == []
    assert len(boxes) == len(lines)
    boxes.sort(key=lambda box: box[:, 1].mean())
    for box, (left, top, width, height) in zip(
        boxes, sorted(lines, key=lambda line: line[1]), strict=True
    ):
        assert np.abs(box.mean(0) - [left + width / 2, top + height / 2]).max() < 25
        assert abs(np.ptp(box[:, 0]) - width) < 60
        assert np.ptp(box[:, 1]) < 80


def box_at(left, top, right, bottom):
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]], np.float32)


TILES = [Tile(0, 1000), Tile(800, 1800)]


@pytest.mark.parametrize(
    ("first", "second", "merged"),
    [
        # Cut by the end of the first tile, whole in the second, and the other way round.
        ([(10, 980, 90, 1000)], [(10, 980, 90, 1010)], [(10, 980, 90, 1010)]),
        ([(10, 790, 90, 820)], [(10, 800, 90, 820)], [(10, 790, 90, 820)]),
        # The cut box is a little larger, yet the whole one is kept.
        ([(9, 975, 91, 1000)], [(10, 980, 90, 1003)], [(10, 980, 90, 1003)]),
        # Whole in both.
        ([(10, 900, 90, 920)], [(11, 901, 89, 919)], [(10, 900, 90, 920)]),
        # Seen by one tile only; two lines side by side; neighbours that overlap a little.
        ([(10, 900, 90, 920)], [], [(10, 900, 90, 920)]),
        ([], [(10, 900, 90, 920)], [(10, 900, 90, 920)]),
        (
            [(10, 900, 90, 920)],
            [(100, 900, 190, 920)],
            [(100, 900, 190, 920), (10, 900, 90, 920)],
        ),
        (
            [(10, 900, 90, 922)],
            [(10, 918, 90, 940)],
            [(10, 918, 90, 940), (10, 900, 90, 922)],
        ),
        # A column of text that no tile holds as a whole.
        ([(10, 700, 40, 1000)], [(10, 800, 40, 1500)], [(10, 700, 40, 1500)]),
    ],
)
def test_lines_at_a_seam(first, second, merged):
    outlines = [[box_at(*line) for line in first], [box_at(*line) for line in second]]
    found = merge_tiles(outlines, TILES, vertical=True)
    assert [(*box.min(0), *box.max(0)) for box in found] == merged


def test_widening_repeats_the_border():
    image = np.arange(40, dtype=np.uint8)[:, None, None].repeat(200, 1).repeat(3, 2)
    widened, offset = widen(image)
    assert widened.shape == (128, 200, 3)
    assert offset.tolist() == [0, 44]
    np.testing.assert_array_equal(widened[44:84], image)
    assert (widened[0, 0, 0], widened[-1, 0, 0]) == (0, 39)


def test_the_number_of_tiles_is_logged(caplog):
    caplog.set_level(logging.DEBUG, "pipelines")
    Detector(SharpEyed(), tiles=True)(receipt())
    assert "searched 1 x 10 tiles of 600 x 960 pixels" in caplog.messages
