"""How the lines of a page slant."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.geometry import skew


def line(angle, length, x=100, y=100):
    """A line of 20 pixels that slants downwards by an angle, clockwise from its top left."""
    across, up = np.deg2rad(angle), np.deg2rad(angle - 90)
    right = length * np.array([np.cos(across), np.sin(across)])
    top = 20 * np.array([np.cos(up), np.sin(up)])
    corners = np.array([top, top + right, right, 0 * right]) + np.array([x, y])
    return corners.astype(np.float32)


@pytest.mark.parametrize("angle", [-3, 0, 3, 12.5])
def test_the_skew_of_a_page_is_that_of_its_lines(angle):
    # A column that runs down, and a stamp, show nothing.
    boxes = [line(angle, 300, y=50 * i) for i in range(4)] + [line(90, 600), line(45, 900)]
    assert skew(boxes) == pytest.approx(angle, abs=0.01)


def test_long_lines_count_more():
    assert skew([line(5, 50), line(-5, 60), line(1, 400)]) == pytest.approx(1, abs=0.01)
    curved = np.array([[0, 0], [200, 2], [400, 4], [400, 24], [200, 22], [0, 20]], np.float32)
    assert abs(skew([curved]) - 0.6) < 0.1
    assert skew([]) == 0
