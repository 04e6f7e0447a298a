"""Cropping, reading order, batches of lines."""

import itertools
from dataclasses import replace

import cv2
import numpy as np
import pytest

from pipelines.batching import by_width
from pipelines.geometry import crop, reading_order
from pipelines.recognition.preprocess import preprocess
from schemas.processing import RecognitionSettings


def box_at(left, top, width=100, height=20):
    return np.array(
        [[left, top], [left + width, top], [left + width, top + height], [left, top + height]],
        np.float32,
    )


def corners(boxes):
    return [tuple(map(int, box[0])) for box in boxes]


# Cropping


def gradient(height=300, width=400):
    """An image whose blue counts columns and whose green counts rows, half a level a pixel."""
    y, x = np.mgrid[0:height, 0:width] / 2
    return np.dstack([x, y, np.zeros_like(x)]).round().astype(np.uint8)


def test_an_upright_crop_is_a_slice():
    image = np.random.RandomState(0).randint(0, 256, (300, 400, 3)).astype(np.uint8)
    np.testing.assert_array_equal(crop(image, box_at(50, 60)), image[60:80, 50:150])


@pytest.mark.parametrize("degrees", [-30, -10, 10, 30])
def test_a_rotated_crop_is_straight(degrees):
    page = np.full((300, 400, 3), 255, np.uint8)
    page[140:160, 100:300] = (0, 0, 255)
    page[140:160, 100:200] = (255, 0, 0)
    turn = cv2.getRotationMatrix2D((200, 150), degrees, 1)
    turned = cv2.warpAffine(page, turn, (400, 300), borderValue=(255, 255, 255))
    box = (box_at(100, 140, 200, 20) @ turn[:, :2].T + turn[:, 2]).astype(np.float32)
    line = crop(turned, box)
    assert abs(line.shape[0] - 20) <= 1
    assert abs(line.shape[1] - 200) <= 1
    assert np.abs(line[3:17, 3:96].astype(int) - (255, 0, 0)).max() < 40
    assert np.abs(line[3:17, 104:196].astype(int) - (0, 0, 255)).max() < 40


def test_unequal_sides_give_the_longer():
    box = np.array([[50, 50], [150, 50], [170, 80], [50, 70]], np.float32)
    assert crop(gradient(), box).shape == (36, 120, 3)


@pytest.mark.parametrize(("height", "shape"), [(149, (149, 100)), (150, (100, 150))])
def test_tall_crops_are_turned_to_the_left(height, shape):
    image = gradient()
    line = crop(image, box_at(20, 30, 100, height))
    assert line.shape[:2] == shape
    assert line.flags.c_contiguous
    slice_ = image[30 : 30 + height, 20:120]
    np.testing.assert_array_equal(line, slice_ if height < 150 else np.rot90(slice_))


# Reading order


def test_reading_order_from_top_to_bottom_then_left_to_right():
    boxes = [box_at(300, 101), box_at(10, 200), box_at(10, 109), box_at(150, 105), box_at(5, 5)]
    expected = [(5, 5), (10, 109), (150, 105), (300, 101), (10, 200)]
    for shuffled in itertools.permutations(boxes):
        assert corners(reading_order(np.array(shuffled))) == expected


def test_ten_pixels_apart_are_two_lines():
    assert corners(reading_order(np.array([box_at(300, 100), box_at(10, 109)])))[0] == (10, 109)
    assert corners(reading_order(np.array([box_at(300, 100), box_at(10, 110)])))[0] == (300, 100)


def test_no_boxes_have_an_order_too():
    assert reading_order([]) == []


# Batches


SETTINGS = RecognitionSettings("abc")


def blank_line(width, height=48, grey=255):
    return np.full((height, width, 3), grey, np.uint8)


def test_batches_of_six_from_narrow_to_wide():
    widths = [400, 100, 900, 300, 200, 800, 700, 600, 500, 1000, 1100, 50, 60]
    batches = [[widths[i] for i in b] for b in by_width([blank_line(w) for w in widths])]
    assert batches == [
        [50, 60, 100, 200, 300, 400],
        [500, 600, 700, 800, 900, 1000],
        [1100],
    ]
    assert list(by_width([])) == []


def test_the_ratio_counts_not_the_width():
    (batch,) = by_width([blank_line(100, 10), blank_line(300, 100)])
    assert list(batch) == [1, 0]


def stack(lines, width, settings):
    """Lines as a batch of this width."""
    return preprocess(lines, replace(settings, width=width, resize="SVTRRecResizeImg")).images


def test_lines_are_scaled_and_padded_with_zeros():
    batch = stack([blank_line(50, 24), blank_line(500), blank_line(31, grey=51)], 320, SETTINGS)
    assert batch.shape == (3, 3, 48, 320)
    assert batch.dtype == np.float32
    assert (batch[0, :, :, :100] == 1).all()
    assert (batch[0, :, :, 100:] == 0).all()
    assert (batch[1] == 1).all()
    np.testing.assert_allclose(batch[2, :, :, :31], (0.2 - 0.5) / 0.5, rtol=1e-6)
    assert (batch[2, :, :, 31:] == 0).all()


def test_another_height():
    batch = stack([blank_line(50, 16)], 320, RecognitionSettings("abc", height=32))
    assert batch.shape == (1, 3, 32, 320)
    assert (batch[0, :, :, :100] == 1).all()
    assert (batch[0, :, :, 100:] == 0).all()


def test_fractions_of_a_column_round_up():
    assert stack([blank_line(10, 47)], 192, SETTINGS)[0, 0, 0].sum() == 11  # 10.2 columns


def test_channels_keep_their_order():
    line = blank_line(48)
    line[:] = (0, 255, 0)
    assert stack([line], 48, SETTINGS)[0, :, 0, 0].tolist() == [-1, 1, -1]


def test_channels_in_another_order_with_other_statistics():
    line = blank_line(48)
    line[:] = (0, 51, 255)
    settings = RecognitionSettings("abc", color="RGB", mean=(0, 0.2, 1), std=(0.5, 1, 0.25))
    np.testing.assert_allclose(stack([line], 48, settings)[0, :, 0, 0], [2, 0, -4], atol=1e-6)


@pytest.mark.parametrize("shape", [(0, 5, 3), (5, 0, 3)])
def test_a_line_without_pixels(shape):
    with pytest.raises(ValueError, match=r"an image of shape \(., ., 3\) has no pixels"):
        list(by_width([blank_line(20), np.zeros(shape, np.uint8)]))
