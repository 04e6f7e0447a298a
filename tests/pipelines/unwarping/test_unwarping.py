"""Unwarping of whole pages."""

from __future__ import annotations

import numpy as np
import pytest

from architectures.registry import build
from pipelines import Unwarper

UVDOC = {"model_type": "unwarp", "algorithm": "UVDoc", "Transform": {"name": "UVDoc"}}


def page():
    return np.random.RandomState(0).randint(0, 256, (30, 50, 3), np.uint8)


def test_a_page_that_the_network_turns_upside_down():
    assert np.array_equal(Unwarper(lambda batch: batch[:, :, ::-1])(page()), page()[::-1])


def test_values_beyond_white_and_black_are_clipped():
    white = Unwarper(lambda batch: np.where(batch > 0.5, 1.01, -0.01).astype(np.float32))(page())
    assert set(np.unique(white)) == {0, 255}


def test_uvdoc_keeps_the_size_of_the_page():
    flat = Unwarper(build(UVDOC))(page())
    assert flat.shape == page().shape
    assert flat.dtype == np.uint8


def test_a_network_of_another_kind():
    with pytest.raises(ValueError, match="expected a page of shape"):
        Unwarper(lambda batch: batch[:, :1])(page())
