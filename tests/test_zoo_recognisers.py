"""The released recognisers: how their weights say that lines are prepared and answers read."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
from line_steps import STEPS

from converter import catalog
from converter.dictionary import fitted
from converter.line_settings import line_settings
from pipelines.settings import RecSettings

ZOO = [card for card in catalog.cards() if card.task == "rec" and card.release == "algorithm zoo"]


def settings_of(pipeline, **scale):
    return RecSettings.of(SimpleNamespace(card={"input": scale, "pipeline": pipeline}), "ab")


@pytest.mark.parametrize("card", ZOO, ids=lambda card: card.name)
def test_the_dictionary_makes_the_classes(card):
    assert card.dictionary is not None
    fitted(card.dictionary, {"any": card.classes}, card.decoder)


@pytest.mark.parametrize("card", ZOO, ids=lambda card: card.name)
def test_settings_are_those_of_its_training(card):
    settings = settings_of(card.pipeline, **card.input)
    assert card.input.get("channels") == len(settings.mean) == len(settings.std)
    name = card.recorded.removeprefix("rec__")
    if name in STEPS:
        steps, decoder = STEPS[name]
        trained = settings_of(line_settings(steps, {"name": decoder}, name))
        if settings.resize == "RecResizeImg":  # where they may be wider than in training
            trained = replace(trained, max_width=settings.max_width)
        assert settings == trained
