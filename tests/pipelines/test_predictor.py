"""What all predictors share: weights, models and callables, devices, settings, images."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

import architectures
from pipelines import FormulaReader, Recognizer, Spotter, Upscaler
from pipelines.classification.predictor import Classifier
from pipelines.detection.predictor import Detector
from pipelines.runtime import DeviceError, TorchNetwork
from pipelines.validation import SettingsError
from tests.support.small_networks import NETWORKS
from tests.support.small_weights import save_network

PREDICTORS = {
    "det": Detector,
    "rec": Recognizer,
    "cls": Classifier,
    "e2e": Spotter,
    "formula": FormulaReader,
    "sr": Upscaler,
}


class Card:
    """A network that is never run."""

    def __init__(self, **card):
        self.card = card


@pytest.mark.parametrize("task", PREDICTORS)
def test_weights_of_another_task(task):
    other = "rec" if task != "rec" else "det"
    with pytest.raises(SettingsError, match=rf"^x.pth is not an? .*, its task is {other}$"):
        PREDICTORS[task](Card(task=other, weights={"file": "x.pth"}))


@pytest.mark.parametrize("task", PREDICTORS)
def test_settings_that_do_not_exist(task):
    dictionary = {"characters": ["a", "b"], "tokenizer": {}}
    with pytest.raises(SettingsError, match="there is no setting nonsense of "):
        PREDICTORS[task](Card(task=task, dictionary=dictionary), nonsense=1)


@pytest.mark.parametrize("task", PREDICTORS)
def test_devices(task, tmp_path, monkeypatch):
    monkeypatch.setattr("pipelines.runtime.has_bfloat16", lambda: False)
    with pytest.raises(DeviceError, match="the device cuda:99 is not available"):
        PREDICTORS[task](tmp_path / "none.pth", device="cuda:99")
    with pytest.raises(DeviceError, match="half precision on cpu is bfloat16, which"):
        PREDICTORS[task](tmp_path / "none.pth", half=True)
    with pytest.raises(architectures.loading.ArtefactError, match=r"none.json is missing"):
        PREDICTORS[task](tmp_path / "none.pth")


def test_weights_a_model_and_a_network_are_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr("tests.support.small_weights.CARD", {"task": "det"})
    path, _ = save_network(tmp_path / "det.pth", NETWORKS["det v4"][0])
    image = np.random.RandomState(0).randint(0, 256, (64, 96, 3)).astype(np.uint8)
    maps = [
        Detector(network).probability_map(image)
        for network in (path, str(path), architectures.load(path), TorchNetwork(path))
    ]
    for other in maps[1:]:
        np.testing.assert_array_equal(other, maps[0])


def test_images_of_a_classifier_may_be_files():
    content = cv2.imencode(".png", np.zeros((48, 100, 3), np.uint8))[1].tobytes()
    classify = Classifier(lambda batch: np.tile(np.float32([[0.0, 1.0]]), (len(batch), 1)))
    assert classify([content, np.zeros((48, 50, 3), np.uint8)]) == [180, 180]
