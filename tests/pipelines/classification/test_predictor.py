"""Which images are turned, and by how much."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from pipelines.classification.predictor import Classifier, Orientation
from pipelines.classification.preprocess import preprocess
from pipelines.geometry import rotate, rotate_back
from pipelines.settings import classification_settings

PAGES = {"labels": ["0", "90", "180", "270"], "input": {"height": 224, "width": 224},
         "pipeline": {"resize_short": 256, "cls_thresh": 0}}  # fmt: skip


def noise(height, width):
    return np.random.RandomState(height).randint(0, 256, (height, width, 3)).astype(np.uint8)


def answering(*rows, card=None):
    """A classifier that answers with the given rows, in the order in which it is asked."""
    answers = iter(rows)

    def network(batch):
        return np.array([next(answers) for _ in batch], np.float32)

    network.card = card
    return network


@pytest.mark.parametrize(
    ("scores", "angle"),
    [((0.09, 0.91), 180), ((0.11, 0.89), 0), ((0.1, 0.9), 0), ((0.95, 0.05), 0),
     ((0.97, 0.93), 0)],
)  # fmt: skip
def test_only_what_is_surely_upside_down_is_turned(scores, angle):
    assert Classifier(answering(scores))([noise(48, 100)]) == [angle]


def test_the_threshold_can_be_changed():
    assert Classifier(answering((0.3, 0.7)), cls_thresh=0.6)([noise(48, 100)]) == [180]


def test_the_labels_say_what_a_class_means():
    card = {"labels": ["180_degree", "0_degree"], "pipeline": {"cls_thresh": 0}}
    network = answering((0.6, 0.4), (0.4, 0.6), card=card)
    assert Classifier(network)([noise(48, 50), noise(48, 100)]) == [180, 0]


def test_quarters_of_a_turn():
    rows = [[0.3, 0.2, 0.2, 0.3], [0.1, 0.5, 0.2, 0.2], [0, 0, 1, 0], [0.1, 0.2, 0.3, 0.4]]
    images = [noise(200, 50 * (1 + i)) for i in range(4)]
    assert Classifier(answering(*rows, card=PAGES), batch_size=3)(images) == [0, 90, 180, 270]


def test_probabilities_of_orientations():
    rows = [[0.5, 0.125, 0.25, 0.125], [0, 0, 0.25, 0.75]]
    found = Classifier(answering(*rows, card=PAGES), cls_thresh=0.9).orientations(
        [noise(200, 50), noise(200, 100)]
    )
    assert found == [Orientation(0, 0.5), Orientation(270, 0.75)]


def test_the_right_line_of_several_is_found():
    lines = [noise(48, width) // 2 + 100 for width in (300, 100, 200)]
    lines[2] //= 4

    def dark_is_down(batch):
        assert batch.shape == (3, 3, 48, 192)
        dark = batch[:, 0, :, :90].max((1, 2)) < -0.3
        return np.stack([~dark, dark], 1).astype(np.float32)

    assert Classifier(dark_is_down)(lines) == [0, 0, 180]
    assert Classifier(dark_is_down)([]) == []


def test_a_classifier_of_other_shape():
    with pytest.raises(ValueError, match=r"shape \(1, 4\), expected an array of shape \(1, 2\)"):
        Classifier(lambda _: np.zeros((1, 4), np.float32))([noise(48, 100)])
    with pytest.raises(ValueError, match=r"returned maps of shape \(1, 2\), expected an array"):
        Classifier(lambda _: {"maps": np.zeros((1, 2), np.float32)})([noise(48, 100)])


@pytest.mark.parametrize("size", [(1, 1), (1, 4000), (4000, 1), (30, 700), (224, 224), (256, 300)])
def test_pages_of_every_size(size):
    settings = classification_settings(answering(card=PAGES))
    images = preprocess([noise(*size)], settings)
    assert images.shape == (1, 3, 224, 224)
    assert images.dtype == np.float32
    assert images.std() > 0.01 or size == (1, 1)


def test_of_a_long_page_the_middle_is_looked_at():
    page = np.zeros((10, 4000, 3), np.uint8)
    page[:, 1990:2010] = 255
    images = preprocess([page], classification_settings(answering(card=PAGES)))
    assert images[:, :, :, 112].min() == 1
    page[:, 1800:2200] = 255
    np.testing.assert_array_equal(
        preprocess([page], classification_settings(answering(card=PAGES))), 1
    )


# Turning


def test_images_are_turned_counter_clockwise():
    image = noise(30, 50)
    np.testing.assert_array_equal(rotate(image, 90), cv2.rotate(image, 2))
    np.testing.assert_array_equal(rotate(image, 180), cv2.rotate(image, 1))
    np.testing.assert_array_equal(rotate(image, 270), cv2.rotate(image, 0))
    np.testing.assert_array_equal(rotate(image, 0), image)
    assert rotate(image, 90).flags.c_contiguous


@pytest.mark.parametrize("angle", [0, 90, 180, 270])
def test_points_are_turned_back_to_where_they_were(angle):
    image = noise(30, 50)
    upright = rotate(image, angle)
    points = np.array([[0, 0], [7, 3], [20, 29], [29, 10]], np.float32)
    places = rotate_back(points, angle, image.shape)
    assert places.dtype == np.float32
    for (x, y), (column, row) in zip(points.astype(int), places.astype(int), strict=True):
        np.testing.assert_array_equal(upright[y, x], image[row, column])


@pytest.mark.parametrize("scores", [(np.nan, 0.5), (np.nan, np.nan), (0.1, np.inf)])
def test_scores_that_are_no_numbers(scores):
    with pytest.raises(ValueError, match=r"the classifier returned values that are not finite"):
        Classifier(answering(scores))([noise(48, 100)])
