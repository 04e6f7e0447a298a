"""Overlaps and what is kept of outlines that overlap, against intersections by shapely."""

from __future__ import annotations

import numpy as np
import pytest
from shapely.geometry import Polygon

from pipelines.detection.postprocess.nms import Outlines, locality_aware_nms, quad_overlap, suppress

SQUARE = [0, 0, 10, 0, 10, 10, 0, 10]


def by_shapely(one, other):
    first, second = (Polygon(np.reshape(quad, (-1, 2))).buffer(0) for quad in (one, other))
    inside = first.intersection(second).area
    around = first.area + second.area - inside
    return inside / around if around else 0


def moved(quad, x, y):
    return (np.array(quad, float) + [x, y] * 4).tolist()


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (SQUARE, 1),
        (SQUARE[::-1], 1),  # the other way round: the corners mirrored
        (moved(SQUARE, 5, 0), 1 / 3),
        (moved(SQUARE, 10, 0), 0),  # they touch
        (moved(SQUARE, 11, 0), 0),
        ([2, 2, 8, 2, 8, 8, 2, 8], 0.36),
        ([0, 0, 10, 0, 10, 10, 10, 10], 0.5),  # a triangle
        ([0, 0, 10, 0, 2, 2, 0, 10], 0.2),  # with a reflex corner
        ([3, 3, 3, 3, 3, 3, 3, 3], 0),
        ([5, 0, 10, 5, 5, 10, 0, 5], 0.5),
    ],
)
def test_overlap_of_quadrilaterals(other, expected):
    assert quad_overlap(SQUARE, other) == pytest.approx(expected)
    assert quad_overlap(other, SQUARE) == pytest.approx(expected)


def test_two_points():
    assert quad_overlap([3] * 8, [3] * 8) == 0


def test_overlap_of_any_quadrilaterals():
    random = np.random.default_rng(0)
    overlapping = 0
    for _ in range(500):
        one = random.integers(0, 20, 8).astype(float)
        other = random.choice([one + random.normal(0, 1, 8), random.integers(0, 20, 8)])
        expected = by_shapely(one, other)
        assert quad_overlap(one.tolist(), other.tolist()) == pytest.approx(expected, abs=1e-9)
        overlapping += 0 < expected < 1
    assert overlapping > 200


@pytest.mark.parametrize("growth", [0, 1e-4])
@pytest.mark.parametrize("thresh", [0, 0.1, 0.5, 0.9])
def test_what_is_kept(thresh, growth):
    """Twelve corners around circles: alike, shifted, crossing themselves."""
    random = np.random.default_rng(0)
    angles = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=1) * 10
    noise = random.choice([0.05, 1, 4], (80, 1, 1))
    places = random.uniform(0, 80, (80, 1, 2)).round(-1)
    points = circle + places + random.normal(0, 1, (80, 12, 2)) * noise
    order = random.permutation(80)

    kept = suppress(Outlines(points, growth), order, thresh)
    expected = []
    for one in order:
        if all(by_shapely(points[one], points[other]) <= thresh for other in expected):
            expected.append(one)
    assert kept == expected
    assert len(expected) < 80


def test_runs_are_merged_by_their_scores():
    boxes = np.array(
        [[*SQUARE, 1], [*moved(SQUARE, 1, 0), 3], [*moved(SQUARE, 40, 0), 9],
         [*moved(SQUARE, 0, 1), 0.5]], np.float32
    )  # fmt: skip
    found = locality_aware_nms(boxes, 0.2)
    assert found.dtype == np.float32
    # The last one overlaps the first two, but does not follow on them, and scores less.
    np.testing.assert_allclose(found, [boxes[2], [*moved(SQUARE, 0.75, 0), 4]])


def test_no_boxes():
    assert locality_aware_nms(np.empty((0, 9)), 0.2).shape == (0, 9)
