"""Lookup tables against the arithmetic that they stand for, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.normalization import (
    Normalizer,
    divide,
    divide_double,
    divide_mixed,
    multiply,
    scale_and_shift,
)

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
MEAN32, STD32 = np.float32(MEAN), np.float32(STD)

# Each rule on a whole image (H, W, 3), as the code that it follows computes it.
RULES = {
    multiply: lambda image: (image.astype(np.float32) * np.float32(1 / 255) - MEAN32) / STD32,
    divide: lambda image: (image.astype(np.float32) / 255 - MEAN32) / STD32,
    divide_mixed: lambda image: (image.astype(np.float32) / 255 - np.array(MEAN)) / np.array(STD),
    divide_double: lambda image: (image / 255 - np.array(MEAN)) / np.array(STD),
    scale_and_shift: lambda image: (
        image.astype(np.float32) * (1 / 255 / np.array(STD)).astype(np.float32)
        + (-np.array(MEAN) / np.array(STD)).astype(np.float32)
    ),
}


@pytest.fixture
def image():
    """Every value in every channel."""
    return (
        np.random.RandomState(0)
        .permutation(np.arange(2304) % 256)
        .astype(np.uint8)
        .reshape(24, 32, 3)
    )


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("color", ["BGR", "RGB"])
def test_tables_have_the_very_bits(image, rule, color):
    ordered = image if color == "BGR" else image[..., ::-1]
    expected = RULES[rule](ordered).astype(np.float32).transpose(2, 0, 1)
    normalized = Normalizer(color, MEAN, STD, rule)(image)
    assert normalized.dtype == np.float32
    np.testing.assert_array_equal(normalized, expected)


def test_the_rules_differ_in_their_last_bits(image):
    results = [Normalizer("BGR", MEAN, STD, rule)(image) for rule in RULES]
    for index, one in enumerate(results):
        for other in results[index + 1 :]:
            assert 0 < np.abs(one - other).max() < 1e-6


def test_grey_images_and_views(image):
    normalize = Normalizer("GRAY", MEAN[:1], STD[:1])
    np.testing.assert_array_equal(normalize(image[..., 0]), Normalizer("BGR", MEAN, STD)(image)[:1])
    part = image[3:9, 5:6]  # not contiguous, one column
    whole = Normalizer("RGB", MEAN, STD)(image)
    np.testing.assert_array_equal(Normalizer("RGB", MEAN, STD)(part), whole[:, 3:9, 5:6])
