"""The detector as a whole: images in, boxes of the image out."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.detection.predictor import Detector


def test_normalisation_by_hand():
    image = np.zeros((64, 64, 3), np.uint8)
    image[:] = (255, 0, 51)
    batch = Detector(np.copy).preprocess(image)[0]
    assert batch.shape == (1, 3, 64, 64)
    assert batch.dtype == np.float32
    assert batch.flags.c_contiguous
    # (1 - 0.485) / 0.229, (0 - 0.456) / 0.224, (0.2 - 0.406) / 0.225
    expected = np.array([2.24890830, -2.03571429, -0.91555556])
    np.testing.assert_allclose(batch[0, :, 10, 20], expected, rtol=1e-6)
    assert (batch == batch[:, :, :1, :1]).all()


def test_the_file_tells_colour_mean_and_std(detector_of):
    image = np.zeros((64, 64, 3), np.uint8)
    image[:] = (255, 0, 51)
    detector = detector_of(color="RGB", mean=[0.5, 0.5, 0.5], std=[0.5, 0.25, 0.5])
    batch = detector.preprocess(image)[0]
    np.testing.assert_allclose(batch[0, :, 0, 0], [-0.6, -2, 1], atol=1e-6)


def dark(batch):
    """A network that takes what is dark for text."""
    return (batch.mean(1, keepdims=True) < 0).astype(np.float32)


@pytest.fixture
def detector_of():
    """Return a function from what the weights' file says to the detector."""

    class Network:
        def __init__(self, card):
            self.card = card

        def __call__(self, batch):
            return dark(batch)

    inputs = ("color", "mean", "std", "multiple_of")

    def detector_of(**said):
        card = {
            "input": {key: said[key] for key in inputs if key in said},
            "pipeline": {key: said[key] for key in said if key not in inputs},
        }
        return Detector(Network(card))

    return detector_of


def test_detector_maps_the_image_to_boxes_of_the_image():
    page = np.full((1200, 900, 3), 255, np.uint8)
    page[300:331, 100:701] = 0

    detector = Detector(dark)
    assert detector.probability_map(page).shape == (960, 704)
    (box,) = detector(page)
    d = 600 * 30 * 1.5 / (2 * (600 + 30))
    expected = [[100 - d, 300 - d], [700 + d, 300 - d], [700 + d, 330 + d], [100 - d, 330 + d]]
    np.testing.assert_allclose(box, expected, atol=3)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_map_of_no_numbers(value):
    heat = np.zeros((1, 1, 64, 64), np.float32)
    heat[0, 0, 3, 4] = value
    with pytest.raises(ValueError, match=r"not finite numbers.*half precision"):
        Detector(lambda _: heat)(np.zeros((64, 64, 3), np.uint8))


def test_several_results_for_one_map():
    detector = Detector(lambda batch: {"maps": dark(batch), "score": np.zeros((1, 64, 64))})
    message = r"returned maps of shape \(1, 1, 64, 64\), score of shape \(1, 64, 64\), expected"
    with pytest.raises(ValueError, match=message):
        detector(np.zeros((64, 64, 3), np.uint8))


@pytest.mark.parametrize("shape", [(1, 2, 64, 64), (1, 1, 32, 64), (1, 1, 64), (1, 10)])
def test_a_network_that_gives_no_map(shape):
    detector = Detector(lambda _: np.zeros(shape, np.float32))
    with pytest.raises(ValueError, match=r"expected an array of shape \(1, 1, 64, 64\).*DB"):
        detector(np.zeros((64, 64, 3), np.uint8))


def test_the_file_tells_how_images_are_resized_and_maps_decoded(detector_of):
    page = np.full((1200, 900, 3), 255, np.uint8)
    page[300:331, 100:701] = 0
    detector = detector_of(limit_side_len=480, limit_type="max", box_type="poly", box_thresh=0.5)
    assert detector.probability_map(page).shape == (480, 352)
    (polygon,) = detector(page)
    assert len(polygon) > 4
    assert detector.decoder.box_thresh == 0.5
