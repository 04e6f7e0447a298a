"""Maps of probabilities to boxes and polygons, worked out by hand."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from pipelines.detection.postprocess.db import DBDecoder


def heat_with(*rectangles, size=(320, 480), value=0.9):
    """A map with filled boxes, each ((centre x, y), (width, height), degrees)."""
    heat = np.zeros(size, np.float32)
    for rectangle in rectangles:
        cv2.fillPoly(heat, [np.round(cv2.boxPoints(rectangle)).astype(np.int32)], value)
    return heat


def upright(left, top, right, bottom):
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]], np.float32)


def grown(width, height, ratio=1.5):
    return width * height * ratio / (2 * (width + height))


def test_two_rectangles_grow_by_area_over_perimeter():
    heat = np.zeros((320, 480), np.float32)
    heat[40:61, 50:251] = 0.9  # corners 50, 40 and 250, 60
    heat[200:231, 100:201] = 0.7
    boxes = DBDecoder().outlines(heat, 320, 480)
    assert [(box.shape, box.dtype) for box in boxes] == [((4, 2), np.float32)] * 2
    low, high = sorted(boxes, key=lambda box: box[0, 1])
    d = grown(200, 20)
    np.testing.assert_allclose(low, upright(50 - d, 40 - d, 250 + d, 60 + d), atol=1)
    d = grown(100, 30)
    np.testing.assert_allclose(high, upright(100 - d, 200 - d, 200 + d, 230 + d), atol=1)


def test_boxes_are_scaled_to_the_image_and_whole():
    heat = heat_with(((240, 160), (200, 30), 0))
    same = DBDecoder().outlines(heat, 320, 480)[0]
    larger = DBDecoder().outlines(heat, 800, 1100)[0]
    np.testing.assert_allclose(larger, same * [1100 / 480, 800 / 320], atol=2)
    assert (larger == larger.round()).all()


@pytest.mark.parametrize("degrees", [-40, -20, -5, 5, 20, 40])
def test_rotated_rectangle(degrees):
    rectangle = ((240, 160), (200, 24), degrees)
    (box,) = DBDecoder().outlines(heat_with(rectangle), 320, 480)
    d = 2 * grown(200, 24)
    corners = cv2.boxPoints(((240, 160), (200 + d, 24 + d), degrees))
    nearest = np.linalg.norm(box[:, None] - corners, axis=2).min(1)
    assert nearest.max() < 4  # the drawn mask is jagged
    assert np.cross(np.append(box[1] - box[0], 0), np.append(box[3] - box[0], 0))[2] > 0
    assert np.linalg.norm(box[1] - box[0]) > np.linalg.norm(box[3] - box[0])
    assert (box[1] - box[0])[0] > 0  # it starts at the top left


def test_nothing_and_faint_noise_give_no_boxes():
    assert DBDecoder().outlines(np.zeros((64, 96), np.float32), 64, 96) == []
    noise = np.random.RandomState(0).uniform(0, 0.29, (64, 96)).astype(np.float32)
    assert len(DBDecoder().outlines(noise, 64, 96)) == 0


def test_isolated_specks_give_no_boxes():
    heat = np.zeros((320, 480), np.float32)
    heat[::8, ::8] = 1
    assert len(DBDecoder().outlines(heat, 320, 480)) == 0


@pytest.mark.parametrize(("value", "found"), [(0.29, 0), (0.31, 0), (0.59, 0), (0.61, 1), (1.0, 1)])
def test_both_thresholds(value, found):
    heat = heat_with(((240, 160), (200, 30), 0), value=value)
    assert len(DBDecoder().outlines(heat, 320, 480)) == found
    assert len(DBDecoder(box_thresh=0.3).outlines(heat, 320, 480)) == (value > 0.3)


def test_the_mean_counts_the_rectangle_not_the_region():
    # An L shape: its pixels are certain, but its rectangle is mostly empty.
    heat = np.zeros((320, 480), np.float32)
    heat[50:250, 50:62] = 1
    heat[238:250, 50:250] = 1
    assert len(DBDecoder().outlines(heat, 320, 480)) == 0
    assert len(DBDecoder(box_thresh=0.05).outlines(heat, 320, 480)) == 1


@pytest.mark.parametrize(("rows", "found"), [(2, 0), (3, 0), (4, 1)])
def test_smallest_side(rows, found):
    # n rows of pixels are n - 1 high from centre to centre, and 3 is the least.
    heat = np.zeros((320, 480), np.float32)
    heat[100 : 100 + rows, 50:250] = 1
    assert len(DBDecoder().outlines(heat, 320, 480)) == found
    assert len(DBDecoder(unclip_ratio=4).outlines(heat, 320, 480)) == found


def test_smallest_side_in_the_image():
    heat = heat_with(((240, 160), (200, 10), 0))
    assert len(DBDecoder().outlines(heat, 320, 480)) == 1
    assert len(DBDecoder().outlines(heat, 32, 480)) == 0


def test_boxes_stay_inside_the_image():
    heat = np.zeros((320, 480), np.float32)
    heat[0:20, 0:480] = 1
    (box,) = DBDecoder().outlines(heat, 320, 480)
    assert box.min() == 0
    assert box[:, 0].max() == 479


def test_at_most_so_many_candidates():
    heat = heat_with(*[((240, 20 + 40 * n), (300, 10), 0) for n in range(8)])
    assert len(DBDecoder().outlines(heat, 320, 480)) == 8
    assert len(DBDecoder(max_candidates=3).outlines(heat, 320, 480)) == 3


def test_unclip_ratio():
    heat = heat_with(((240, 160), (200, 30), 0))
    tight = DBDecoder(unclip_ratio=0.5).outlines(heat, 320, 480)[0]
    wide = DBDecoder(unclip_ratio=2.0).outlines(heat, 320, 480)[0]
    assert tight[0, 1] - wide[0, 1] == pytest.approx(grown(200, 30, 1.5), abs=1)


def test_dilation_joins_what_one_pixel_parts():
    heat = np.zeros((320, 480), np.float32)
    heat[100:120, 50:150] = heat[100:120, 151:250] = 1
    assert len(DBDecoder().outlines(heat, 320, 480)) == 2
    assert len(DBDecoder(use_dilation=True).outlines(heat, 320, 480)) == 1


def test_the_slow_score_measures_the_outline():
    # An L shape: its pixels are certain, but its rectangle is mostly empty.
    heat = np.zeros((320, 480), np.float32)
    heat[50:250, 50:62] = heat[238:250, 50:250] = 1
    assert len(DBDecoder().outlines(heat, 320, 480)) == 0
    assert len(DBDecoder(score_mode="slow").outlines(heat, 320, 480)) == 1


def test_polygons_follow_a_curve():
    heat = np.zeros((320, 480), np.float32)
    cv2.ellipse(heat, (240, 280), (180, 180), 0, 200, 340, 1, 20)
    (polygon,) = DBDecoder(box_type="poly", unclip_ratio=0.5).outlines(heat, 320, 480)
    assert polygon.dtype == np.float32
    distance = np.linalg.norm(polygon - [240, 280], axis=1)
    assert len(polygon) > 8
    assert distance.min() > 180 - 10 - 10  # half of the stroke, and what it grows by
    assert distance.max() < 180 + 10 + 10
    inside = np.zeros_like(heat)
    cv2.fillPoly(inside, [polygon.astype(np.int32)], 1)
    assert inside[heat > 0].all()


def test_polygons_are_scaled_and_stay_inside_the_image():
    heat = np.zeros((320, 480), np.float32)
    heat[0:30, 0:480] = 1
    (polygon,) = DBDecoder(box_type="poly").outlines(heat, 640, 240)
    assert polygon.min() == 0
    assert polygon[:, 0].max() == 239
    assert polygon[:, 1].max() == pytest.approx(2 * (29 + grown(479, 29)), abs=2)


def test_a_page_with_more_regions_than_are_examined(caplog):
    heat = np.zeros((320, 480), np.float32)
    for left in range(20, 460, 40):
        heat[100:120, left : left + 20] = 0.9
    assert len(DBDecoder(max_candidates=11).outlines(heat, 320, 480)) == 11
    assert caplog.messages == []
    assert len(DBDecoder(max_candidates=10).outlines(heat, 320, 480)) == 10
    (message,) = caplog.messages
    assert "11 regions of text, of which the first 10 are examined" in message
    assert "max_candidates" in message
