"""Thinning gives what scikit-image's `thin` does, which PaddleOCR uses."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from skimage.morphology import thin as expected

from pipelines.spotting.thinning import thin
from tests.support.probability_maps import probability_map


@pytest.mark.parametrize("seed", range(12))
def test_regions(seed):
    mask = (probability_map(seed, 160, 240) > 0.5).astype(np.uint8)
    thinned = thin(mask)
    assert thinned.dtype == np.uint8
    assert np.array_equal(thinned, expected(mask))
    assert 0 < thinned.sum() <= mask.sum()


@pytest.mark.parametrize("share", [0.3, 0.6, 0.8, 0.95])
def test_every_neighbourhood(share):
    mask = (np.random.default_rng(0).random((80, 90)) < share).astype(np.uint8)
    seen = cv2.filter2D(mask, cv2.CV_8U, np.float32([[8, 4, 2], [16, 0, 1], [32, 64, 128]]))
    assert share != 0.6 or len(np.unique(seen)) == 256
    assert np.array_equal(thin(mask), expected(mask))


def test_a_bar_becomes_a_line():
    mask = np.zeros((9, 30), np.uint8)
    mask[2:7, 3:27] = 1
    before = mask.copy()
    rows, columns = np.nonzero(thin(mask))
    assert set(rows.tolist()) == {4}
    assert len(columns) == len(set(columns.tolist())) > 18
    assert np.array_equal(mask, before)


@pytest.mark.parametrize("value", [0, 1])
def test_nothing_and_everything(value):
    mask = np.full((20, 30), value, np.uint8)
    assert np.array_equal(thin(mask), expected(mask))
