"""Curved lines cut out and flattened."""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np
import pytest

from pipelines.detection.curved import crop_polygon, sort_top_down
from pipelines.detection.postprocess.db import DBDecoder, rectangle
from pipelines.geometry import crop

CENTRE, RADIUS, WIDTH = (200, 200), 140, 26


def seal(start, end):
    """A ring's part on a page of 400 x 400: red, green and blue along it, and its polygon."""
    image = np.full((400, 400, 3), 255, np.uint8)
    heat = np.zeros((400, 400), np.float32)
    cuts = np.linspace(start, end, 4)
    for colour, (a, b) in zip(np.eye(3) * 200, pairwise(cuts), strict=True):
        cv2.ellipse(image, CENTRE, (RADIUS, RADIUS), 0, a, b, colour.tolist(), WIDTH)
    cv2.ellipse(heat, CENTRE, (RADIUS, RADIUS), 0, start, end, 1, WIDTH)
    (polygon,) = DBDecoder(box_type="poly", unclip_ratio=0.3).outlines(heat, 400, 400)
    return image, polygon


@pytest.mark.parametrize(("start", "end"), [(180, 330), (200, 340), (150, 390), (145, 225)])
def test_an_arc_becomes_a_straight_line(start, end):
    image, polygon = seal(start, end)
    line = crop_polygon(image, polygon)
    height, width = line.shape[:2]
    length = np.radians(end - start) * RADIUS
    assert line.dtype == np.uint8
    assert height == pytest.approx(WIDTH, rel=0.9)
    assert width == pytest.approx(length, rel=0.15)
    middle = line[height // 2]
    for channel, place in enumerate((0.2, 0.5, 0.8)):
        assert middle[int(width * place)].argmax() in (channel, 2 - channel)
        assert middle[int(width * place)].max() > 150


def test_a_straight_polygon_is_cut_out_as_a_box():
    image = np.random.default_rng(0).integers(0, 255, (300, 400, 3), np.uint8)
    polygon = np.array([[50, 50], [200, 52], [350, 50], [350, 90], [50, 90]], np.float32)
    expected = crop(image, rectangle(polygon.astype(np.int32))[0])
    assert np.array_equal(crop_polygon(image, polygon), expected)


@pytest.mark.parametrize(
    "polygon",
    [
        [[10, 10], [90, 60], [90, 10], [10, 60]],  # crosses itself
        [[10, 10], [90, 10], [10, 60]],
        [[10, 10], [10, 10], [10, 10], [11, 10], [11, 11]],
        [[0, 0], [99, 0], [99, 99], [98, 1]],  # thin
        [[5, 5], [60, 5], [60, 5], [5, 5]],  # of no height
        [[5, 5], [5, 60], [5, 60], [5, 5], [5, 5]],
        [[7, 7]] * 6,
    ],
)
def test_polygons_that_have_no_sides_are_cut_out_as_boxes(polygon):
    image = np.zeros((100, 100, 3), np.uint8)
    line = crop_polygon(image, np.array(polygon, np.float32))
    assert min(line.shape) > 0
    assert max(line.shape) <= 150


def test_polygons_are_sorted_by_their_highest_corner():
    low = np.array([[0, 50], [9, 50], [5, 30]], np.float32)
    high = np.array([[0, 90], [9, 70], [5, 20]], np.float32)
    assert sort_top_down([low, high])[0] is high
    assert sort_top_down([]) == []
