"""Maps that detectors are trained with, against PaddleOCR's own code."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from pipelines.detection.targets import draw_targets
from tests.oracle.paddleocr_source import load

HEIGHT, WIDTH = 96, 160


def outlines(seed: int) -> tuple[list[np.ndarray], list[bool]]:
    """Turned boxes and a bent outline, some small, some over the border, one that is ignored."""
    random = np.random.default_rng(seed)
    found = []
    for _ in range(5):
        centre = random.uniform((0, 0), (WIDTH, HEIGHT))
        size = random.uniform((4, 4), (70, 24))
        box = (centre.tolist(), size.tolist(), float(random.uniform(-60, 60)))
        found.append(cv2.boxPoints(box).astype(np.float32))
    left, top = random.uniform((5, 5), (40, 30))
    bent = [(0, 8), (30, 0), (60, 8), (60, 28), (30, 18), (0, 28)]
    found.append((np.array(bent) + np.array((left, top))).astype(np.float32))
    return found, [n == 1 for n in range(len(found))]


@pytest.mark.parametrize("seed", range(6))
def test_the_maps(seed):
    shrink = load("paddleocr", "ppocr/data/imaug/make_shrink_map.py").MakeShrinkMap()
    border = load("paddleocr", "ppocr/data/imaug/make_border_map.py").MakeBorderMap()
    polygons, ignored = outlines(seed)
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    data = {"image": image, "polys": [p.copy() for p in polygons], "ignore_tags": list(ignored)}
    expected = border(shrink(data))
    ours = draw_targets(polygons, ignored, HEIGHT, WIDTH)
    np.testing.assert_array_equal(ours.shrink, expected["shrink_map"])
    np.testing.assert_array_equal(ours.shrink_mask, expected["shrink_mask"])
    np.testing.assert_array_equal(ours.thresh_mask, expected["threshold_mask"])
    # On an outline PaddleOCR may take the root of a rounded number below 0, and leaves the place
    # out; near it, distances by cosines lose digits.
    unlike = np.abs(ours.thresh - expected["threshold_map"]) > 1e-3
    assert unlike.mean() < 0.005
    assert (ours.thresh[unlike] > 0.699).all()
    assert 0 < ours.shrink.mean() < 0.5
    assert ours.thresh.max() > 0.6


def test_a_page_without_text():
    maps = draw_targets([], [], 8, 9)
    assert not maps.shrink.any()
    assert maps.shrink_mask.all()
    assert (maps.thresh == np.float32(0.3)).all()
    assert not maps.thresh_mask.any()
