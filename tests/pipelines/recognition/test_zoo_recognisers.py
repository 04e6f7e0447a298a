"""The released recognisers: how their weights say that lines are prepared and answers read."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import architectures
from converter.catalog import cards as catalog
from converter.catalog.dictionary import fit_to_classes
from converter.catalog.processing import line_settings
from pipelines import OCR, FormulaReader
from pipelines.recognition.predictor import Recognizer
from pipelines.runtime import TorchNetwork
from pipelines.settings import recognition_settings
from schemas.special_tokens import CLASSES
from tests.support.line_steps import STEPS
from tests.support.pages import NAMES, bar_page, find_bars
from tests.support.small_networks import NETWORKS

ZOO = [card for card in catalog.cards() if card.task == "rec" and card.release == "algorithm zoo"]


def settings_of(pipeline, **scale):
    return recognition_settings(SimpleNamespace(card={"input": scale, "pipeline": pipeline}), "ab")


@pytest.mark.parametrize("card", ZOO, ids=lambda card: card.name)
def test_the_dictionary_makes_the_classes(card):
    assert card.dictionary is not None
    fit_to_classes(card.dictionary, {"any": card.classes}, card.decoder)


FORMULAS = [card for card in catalog.cards() if card.task == "formula"]


@pytest.mark.parametrize("card", FORMULAS, ids=lambda card: card.name)
def test_formulas(card):
    table = fit_to_classes(card.dictionary, {}, card.decoder)
    said = {"input": card.input.to_dict(), "pipeline": card.pipeline}
    said["dictionary"] = table.entry().to_dict()
    settings = FormulaReader(SimpleNamespace(card=said)).settings
    assert settings.decoder == card.decoder
    assert settings.mean == card.input.mean
    if card.input.height:
        assert (settings.height, settings.width) == (card.input.height, card.input.width)


@pytest.mark.parametrize("card", ZOO, ids=lambda card: card.name)
def test_settings_are_those_of_its_training(card):
    settings = settings_of(card.pipeline, **card.input.to_dict())
    assert card.input.channels == len(settings.mean) == len(settings.std)
    name = card.recorded.removeprefix("rec__")
    if name in STEPS:
        steps, decoder = STEPS[name]
        trained = settings_of(line_settings(steps, {"name": decoder}, name))
        if settings.resize == "RecResizeImg":  # where they may be wider than in training
            trained = replace(trained, max_width=settings.max_width)
        assert settings == trained


# Networks of `small_networks.py`, how their answers are read, and how lines become their inputs.
READERS = {
    "pren": ("PRENLabelDecode", {"resize": "PRENResizeImg"}),
    "abinet": ("ABINetLabelDecode", {"resize": "ABINetRecResizeImg", "color": "RGB"}),
    "visionlan": ("VLLabelDecode", {"resize": "VLRecResizeImg"}),
    "satrn": ("SATRNLabelDecode", {"resize": "SVTRRecResizeImg", "padding": False}),
    "crnn": ("CTCLabelDecode", {}),
}


@pytest.mark.parametrize("name", READERS)
def test_the_networks_read(tmp_path, name):
    architecture, (height, width) = NETWORKS[name]
    decoder, settings = READERS[name]
    torch.manual_seed(0)
    model = architectures.build(architecture)
    layout = CLASSES[decoder]
    (classes,) = model.class_counts.values()
    card = {
        "format": 1, "task": "rec", "architecture": model.architecture,
        "class_counts": model.class_counts, "form": model.form,
        "weights": write_state(model, tmp_path / "rec.pth"),
        "input": {"height": height, "width": width},
        "pipeline": {"decoder": decoder, "max_width": width, **settings},
        "dictionary": {"characters": [chr(0x4E00 + k) for k in range(classes - layout.count(0))]},
    }  # fmt: skip
    (tmp_path / "rec.json").write_text(json.dumps(card))
    recognizer = Recognizer(TorchNetwork(tmp_path / "rec.pth"), batch_size=2)
    lines = [np.random.RandomState(k).randint(0, 256, (20, 60, 3), np.uint8) for k in range(3)]
    together = recognizer(lines)
    alone = [recognizer([line])[0] for line in lines]
    assert [reading.text for reading in together] == [reading.text for reading in alone]
    assert all(0 <= reading.score <= 1 for reading in together)


def write_state(model, file):
    torch.save(model.state_dict(), file)
    return {"file": file.name, "sha256": hashlib.sha256(file.read_bytes()).hexdigest()}


def test_a_page_is_read_by_a_network_that_spells_lines_out():
    def spell_colour(batch, valid_ratio):
        assert valid_ratio.shape == (len(batch),)
        answer = np.zeros((len(batch), 4, CLASSES["SARLabelDecode"].scores(3)), np.float32)
        answer[np.arange(len(batch)), 0, batch[:, :, 24, 60].argmax(1)] = 0.8
        answer[:, 1:, 4] = 0.9  # the end
        return answer

    spell_colour.extra_inputs = ("valid_ratio",)
    settings = {"decoder": "SARLabelDecode", "resize": "SARRecResizeImg", "width": 48,
                "max_width": 160}  # fmt: skip
    ocr = OCR(find_bars, spell_colour, characters=NAMES, rec_settings=settings)
    lines = ocr(bar_page())
    assert [line.text for line in lines] == ["green", "red", "blue"]
    assert [line.character_scores for line in lines] == [(pytest.approx(0.8),)] * 3
