"""What the weights' file says of a detector, and what is taken where it says nothing."""

from __future__ import annotations

import pytest

from converter import catalog
from converter.export_settings import DETECTION
from pipelines.detection import Detector
from pipelines.settings import DetSettings, SettingsError


def network(said, **inputs):
    def network(batch):
        return batch

    network.card = {"input": inputs, "pipeline": said}
    return network


def test_a_plain_callable_says_nothing():
    assert DetSettings.of(lambda batch: batch) == DetSettings()


def test_both_sections_are_read():
    said = {"thresh": 0.2, "box_type": "poly"}
    settings = DetSettings.of(network(said, color="RGB", mean=[0.5] * 3, channels=3, height=None))
    assert settings == DetSettings(thresh=0.2, box_type="poly", color="RGB", mean=(0.5, 0.5, 0.5))


@pytest.mark.parametrize("card", [None, {}, {"input": None, "pipeline": {}}])
def test_files_without_the_sections(card):
    silent = network({})
    silent.card = card
    assert DetSettings.of(silent) == DetSettings()


@pytest.mark.parametrize(
    ("said", "changes", "expected"),
    [
        ({"resize_long": 960}, {}, {"resize_long": 960}),
        ({"resize_long": 736, "limit_side_len": 64, "limit_type": "max"}, {},
         {"limit_side_len": 64}),
        ({"limit_side_len": 736}, {}, {"limit_side_len": 736, "limit_type": "min"}),
        ({}, {"limit_side_len": 736}, {"limit_side_len": 736, "limit_type": "max"}),
        ({"resize_long": 960}, {"limit_side_len": 500}, {"limit_side_len": 500}),
        ({"limit_side_len": 64}, {"resize_long": 500}, {"limit_type": "min", "resize_long": 500}),
        ({"resize_long": 960, "limit_side_len": 9, "image_shape": [32, 64]}, {},
         {"limit_type": "min", "image_shape": (32, 64)}),
        ({"thresh": 0.2}, {"thresh": None}, {"thresh": 0.2}),
        ({"thresh": 0.2}, {"thresh": 0.4}, {"thresh": 0.4}),
    ],
)  # fmt: skip
def test_which_word_counts(said, changes, expected):
    assert DetSettings.of(network(said), **changes) == DetSettings(**expected)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("limit_side_len", 0, "a whole number above 0"),
        ("limit_side_len", 1.5, "a whole number above 0"),
        ("limit_side_len", True, "a whole number above 0"),
        ("limit_side_len", float("nan"), "a whole number above 0"),
        ("max_side_limit", -1, "a whole number above 0"),
        ("max_candidates", float("inf"), "a whole number above 0"),
        ("limit_type", "long", "one of max, min, resize_long"),
        ("resize_long", "960", "a whole number above 0"),
        ("image_shape", [736], "height and width"),
        ("image_shape", (736, 0), "height and width"),
        ("multiple_of", 0, "a whole number above 0"),
        ("thresh", 1.5, "a number from 0 to 1"),
        ("box_thresh", "high", "a number from 0 to 1"),
        ("unclip_ratio", -0.5, "a number of at least 0"),
        ("use_dilation", 1, "true or false"),
        ("score_mode", "medium", "one of fast, slow"),
        ("box_type", [], "one of quad, poly"),
        ("color", "GRAY", "one of BGR, RGB"),
        ("mean", [0.5], "three numbers"),
        ("std", [0.5, 0, 0.5], "three numbers above 0"),
    ],
)
def test_values_without_a_meaning(name, value, expected):
    with pytest.raises(SettingsError, match=f"the setting {name} is .*, expected {expected}"):
        DetSettings.of(network({name: value}))
    with pytest.raises(SettingsError, match=f"the setting {name} is .*, expected {expected}"):
        Detector(network({}), **{name: value})


def test_an_unknown_change():
    with pytest.raises(SettingsError, match=r"no setting tresh of a detector; there are .*thresh"):
        DetSettings.of(network({}), tresh=0.3)


def test_every_setting_of_a_config_is_known_here():
    assert set(DETECTION) <= set(DetSettings.__dataclass_fields__)


@pytest.mark.parametrize("card", [card for card in catalog.cards() if card.task == "det"],
                         ids=lambda card: card.name)  # fmt: skip
def test_settings_of_the_released_detectors_have_a_meaning(card):
    said = network(card.pipeline, **card.input)
    settings = DetSettings.of(said)
    assert {**card.pipeline, "color": "BGR"}.items() <= vars(settings).items()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ch_PP-OCRv4_det", {}),
        ("PP-OCRv5_mobile_det", {"limit_side_len": 64, "limit_type": "min"}),
        ("PP-OCRv4_server_seal_det",
         {"limit_side_len": 736, "limit_type": "min", "thresh": 0.2, "unclip_ratio": 0.5,
          "box_type": "poly"}),
        ("PP-OCRv6_tiny_det",
         {"limit_side_len": 64, "limit_type": "min", "thresh": 0.2, "box_thresh": 0.4,
          "unclip_ratio": 1.4, "max_candidates": 3000}),
    ],
)  # fmt: skip
def test_settings_of_some_released_detectors(name, expected):
    card = catalog.card(name)
    assert DetSettings.of(network(card.pipeline, **card.input)) == DetSettings(**expected)
