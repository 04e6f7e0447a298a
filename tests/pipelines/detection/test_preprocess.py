"""Sizes at which a detector sees images, worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.detection.preprocess import network_size, pad, resize
from schemas.processing import DetectionSettings


@pytest.mark.parametrize(
    ("height", "width", "limit", "limit_type", "expected"),
    [
        (960, 960, 960, "max", (960, 960)),
        (961, 961, 960, "max", (960, 960)),
        (1200, 900, 960, "max", (960, 704)),  # 720 is 22.5 strides: halves go to the even 22
        (900, 1200, 960, "max", (704, 960)),
        (80, 112, 960, "max", (64, 128)),  # 2.5 and 3.5 strides: down and up
        (47, 49, 960, "max", (32, 64)),
        (1, 1, 960, "max", (32, 32)),
        (1, 5000, 960, "max", (32, 960)),
        (5000, 1, 960, "max", (960, 32)),
        (500, 700, 320, "max", (224, 320)),
        (1080, 1920, 736, "min", (1088, 1920)),
        (368, 500, 736, "min", (736, 992)),
        (500, 368, 736, "min", (992, 736)),
        (1, 1, 736, "min", (736, 736)),
        (10, 20, 736, "min", (736, 1472)),
        (100, 5000, 736, "min", (64, 4000)),  # no side is longer than max_side_limit
        (5000, 100, 64, "min", (4000, 64)),
        (480, 640, 960, "resize_long", (704, 960)),
        (4800, 6400, 960, "resize_long", (704, 960)),
    ],
)
def test_network_size(height, width, limit, limit_type, expected):
    settings = DetectionSettings(limit_side_len=limit, limit_type=limit_type)
    assert network_size(height, width, settings) == expected


@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [
        (480, 640, (768, 1024)),  # 720 and 960, up to multiples of 128
        (2000, 1000, (1024, 512)),
        (1, 5000, (128, 1024)),
        (1, 1, (1024, 1024)),
    ],
)
def test_resize_long(height, width, expected):
    assert network_size(height, width, DetectionSettings(resize_long=960)) == expected


@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [
        (640, 640, (640, 640)),
        (500, 700, (640, 896)),
        (500, 701, (640, 928)),  # 897.28, and half a pixel more, up to a multiple of 32
        (5, 3, (1088, 640)),
        (100, 5000, (96, 4000)),  # no side is longer than max_side_limit, but for the strides
    ],
)
def test_short_size(height, width, expected):
    settings = DetectionSettings(short_size=640)
    assert network_size(height, width, settings) == expected
    image = np.full((height, width, 3), 255, np.uint8)
    assert pad(image, settings) is image


def test_image_shape():
    assert network_size(100, 300, DetectionSettings(image_shape=(736, 1280))) == (736, 1280)
    settings = DetectionSettings(image_shape=(64, 1), keep_ratio=True)
    assert network_size(100, 300, settings) == (64, 192)
    assert network_size(100, 301, settings) == (64, 224)


def test_other_strides():
    assert network_size(100, 300, DetectionSettings(multiple_of=100)) == (100, 300)
    assert network_size(120, 380, DetectionSettings(multiple_of=64)) == (128, 384)


def test_small_images_are_padded_with_black_not_stretched():
    padded = pad(np.full((16, 24, 3), 255, np.uint8), DetectionSettings())
    assert resize(padded, DetectionSettings()) is padded
    assert padded.shape == (32, 32, 3)
    assert (padded[:16, :24] == 255).all()
    assert padded.sum() == 255 * 16 * 24 * 3


def test_larger_images_are_stretched():
    assert (resize(np.full((16, 64, 3), 255, np.uint8), DetectionSettings()) == 255).all()


def test_an_image_of_the_right_size_stays_as_it_is():
    image = np.zeros((64, 96, 3), np.uint8)
    assert resize(image, DetectionSettings()) is image
