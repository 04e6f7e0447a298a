"""What the weights' file says of a network, and what is taken where it says nothing."""

from __future__ import annotations

from dataclasses import fields

import pytest

from converter.catalog import cards as catalog
from pipelines.detection.postprocess.db import DBDecoder
from pipelines.detection.predictor import DECODERS, Detector
from pipelines.settings import (
    classification_settings,
    detection_settings,
    recognition_settings,
)
from schemas.processing import (
    ClassificationSettings,
    DetectionSettings,
    RecognitionSettings,
    SettingsError,
    checks_of_task,
)

PREPARATION = DetectionSettings.checks()


def network(said, **inputs):
    def network(batch):
        return batch

    network.card = {"input": inputs, "pipeline": said}
    return network


def test_a_plain_callable_says_nothing():
    assert detection_settings(lambda batch: batch) == DetectionSettings()


def test_both_sections_are_read():
    said = {"thresh": 0.2, "box_type": "poly"}
    detector = Detector(network(said, color="RGB", mean=[0.5] * 3, channels=3, height=None))
    assert detector.settings == DetectionSettings(color="RGB", mean=(0.5, 0.5, 0.5))
    assert detector.decoder == DBDecoder(thresh=0.2, box_type="poly")


@pytest.mark.parametrize("card", [None, {}, {"input": None, "pipeline": {}}])
def test_files_without_the_sections(card):
    silent = network({})
    silent.card = card
    assert detection_settings(silent) == DetectionSettings()


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
        ({"resize_long": 960}, {"short_size": 500}, {"short_size": 500}),
        ({"color": "RGB"}, {"color": None}, {"color": "RGB"}),
        ({"color": "RGB"}, {"color": "BGR"}, {"color": "BGR"}),
    ],
)  # fmt: skip
def test_which_word_counts(said, changes, expected):
    assert detection_settings(network(said), **changes) == DetectionSettings(**expected)


def test_which_word_of_the_decoding_counts():
    assert Detector(network({"thresh": 0.2})).decoder.thresh == 0.2
    assert Detector(network({"thresh": 0.2}), thresh=None).decoder.thresh == 0.2
    assert Detector(network({"thresh": 0.2}), thresh=0.4).decoder.thresh == 0.4


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
        Detector(network({name: value}))
    with pytest.raises(SettingsError, match=f"the setting {name} is .*, expected {expected}"):
        Detector(network({}), **{name: value})


def test_an_unknown_change():
    message = r"no setting tresh of this detector; there are .*limit_type.*, thresh"
    with pytest.raises(SettingsError, match=message):
        Detector(network({}), tresh=0.3)
    with pytest.raises(SettingsError, match=r"no setting thresh of a detector; there are .*resize"):
        detection_settings(network({}), thresh=0.3)


def test_every_setting_of_a_config_is_known_here():
    decoding = {name for decoder in DECODERS.values() for name in decoder.checks()}
    assert set(checks_of_task("det")) == set(PREPARATION) | decoding


@pytest.mark.parametrize("settings", [DetectionSettings, *dict.fromkeys(DECODERS.values())],
                         ids=lambda settings: settings.__name__)  # fmt: skip
def test_every_setting_is_checked(settings):
    assert set(settings.checks()) == {field.name for field in fields(settings)}


def test_a_head_that_no_decoder_is_for():
    other = network({})
    other.card |= {"task": "det", "architecture": {"Head": {"name": "OtherHead"}}}
    with pytest.raises(SettingsError, match="network that ends in OtherHead; text is found with"):
        Detector(other)


@pytest.mark.parametrize("card", [card for card in catalog.cards() if card.task == "det"],
                         ids=lambda card: card.name)  # fmt: skip
def test_settings_of_the_released_detectors_have_a_meaning(card):
    said = network(card.pipeline, **card.input.to_dict())
    said.card["architecture"] = card.architecture
    detector = Detector(said)
    settings = {**vars(detector.settings), **vars(detector.decoder)}
    stated = {**card.pipeline, "color": card.input.color}
    for name, value in stated.items():
        assert settings[name] == (tuple(value) if isinstance(value, list) else value)


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
    said = network(card.pipeline, **card.input.to_dict())
    said.card["architecture"] = card.architecture
    detector = Detector(said)
    prepared = {name: expected[name] for name in expected if name in PREPARATION}
    assert detector.settings == DetectionSettings(**prepared)
    decoded = {name: expected[name] for name in expected if name not in PREPARATION}
    assert detector.decoder == type(detector.decoder)(**decoded)


# Recognisers and classifiers

IMAGENET = {"color": "RGB", "mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}


def described(**card):
    described = network({})
    described.card = card
    return described


def test_a_recogniser():
    card = {"dictionary": {"file": "d.txt", "characters": ["a", "b"]}, "task": "rec",
            "input": {"height": 32, "mean": [0, 0, 0]}, "pipeline": {"max_width": 640}}  # fmt: skip
    said = RecognitionSettings(("a", "b"), height=32, max_width=640, mean=(0, 0, 0))
    assert recognition_settings(described(**card)) == said
    assert recognition_settings(
        described(**card), "xyz", height=48, max_width=None
    ) == RecognitionSettings("xyz", height=48, max_width=640, mean=(0, 0, 0))
    assert recognition_settings(lambda batch: batch, "xyz") == RecognitionSettings("xyz")


@pytest.mark.parametrize(
    ("name", "file", "expected"),
    [
        ("arabic_PP-OCRv3_mobile_rec", "inference.yml", True),
        ("custom", "arabic_dict.txt", True),
        ("ch_PP-OCRv4_rec", "ppocr_keys_v1.txt", False),
    ],
)
def test_arabic_is_read_from_the_right(name, file, expected):
    card = {"name": name, "dictionary": {"file": file, "characters": ["a"]}}
    assert recognition_settings(described(**card)).right_to_left is expected


def test_a_recogniser_without_characters():
    with pytest.raises(SettingsError, match=r"`python -m converter add-dict X.pth DICT.txt`"):
        recognition_settings(lambda batch: batch)
    with pytest.raises(SettingsError, match=r"`python -m converter add-dict r.pth DICT.txt`"):
        recognition_settings(described(weights={"file": "r.pth"}, dictionary=None))


def test_a_classifier():
    card = {"task": "cls", "labels": ["0_degree", "180_degree"], "class_counts": {"cls": 2},
            "input": {"height": 80, "width": 160, "color": "RGB"},
            "pipeline": {"keep_ratio": False, "cls_thresh": 0}}  # fmt: skip
    assert classification_settings(described(**card)) == ClassificationSettings(
        height=80, width=160, color="RGB", keep_ratio=False, cls_thresh=0
    )
    assert classification_settings(described(**card), cls_thresh=0.5).cls_thresh == 0.5
    assert classification_settings(lambda batch: batch) == ClassificationSettings()
    assert classification_settings(described(labels=["270", "0"])).angles == (270, 0)


@pytest.mark.parametrize(
    ("card", "message"),
    [
        ({"labels": ["cat", "dog"]}, "has 2 classes with the labels cat, dog; to turn images"),
        ({"labels": ["0", "0"]}, "has 2 classes with the labels 0, 0;"),
        ({"labels": ["0", "45"]}, "has 2 classes with the labels 0, 45;"),
        ({"labels": [], "class_counts": {"cls": 4}}, "has 4 classes with the labels 0, 180;"),
        ({"input": {"height": 0}}, "input.height is 0, expected a whole number above 0"),
        ({"pipeline": {"height": 0}}, "the setting height is 0, expected a whole number above 0"),
        ({"pipeline": {"keep_ratio": 1}}, "the setting keep_ratio is 1, expected true or false"),
        ({"pipeline": {"cls_thresh": 2}}, "the setting cls_thresh is 2, expected a number from 0"),
        ({"pipeline": {"resize_short": 100}}, "resize_short is 100, but 192 x 48 pixels have to"),
    ],
)
def test_classifiers_that_make_no_sense(card, message):
    with pytest.raises(SettingsError, match=message):
        classification_settings(described(**card))


def test_networks_for_something_else():
    weights = {"weights": {"file": "n.pth"}}
    with pytest.raises(SettingsError, match=r"n.pth is not a recogniser, its task is det"):
        recognition_settings(described(task="det", **weights), "abc")
    with pytest.raises(SettingsError, match=r"n.pth is not a classifier, its task is rec"):
        classification_settings(described(task="rec", **weights))
    with pytest.raises(SettingsError, match=r"n.pth is not a detector, its task is rec"):
        detection_settings(described(task="rec", **weights))


def test_as_many_numbers_as_channels():
    grey = {"color": "GRAY", "mean": (0.5,), "std": (0.5,)}
    assert RecognitionSettings("abc", **grey).mean == (0.5,)
    for wrong in ({"color": "GRAY"}, {**grey, "color": "RGB"}, {**grey, "std": (1, 1, 1)}):
        with pytest.raises(SettingsError, match=r"mean and std have \d and \d numbers, but color"):
            RecognitionSettings("abc", **wrong)


def test_unknown_changes():
    with pytest.raises(SettingsError, match="no setting thresh of a recogniser; there are decoder"):
        recognition_settings(lambda batch: batch, "abc", thresh=3)
    with pytest.raises(SettingsError, match="no setting thresh of a classifier; there are height"):
        classification_settings(lambda batch: batch, thresh=3)


# What tells lines from pages of tables is no classifier of orientation.
OTHERS = [card for card in catalog.cards()
          if card.task in ("rec", "cls") and not card.name.endswith("table_cls")]  # fmt: skip


@pytest.mark.parametrize("card", OTHERS,
                         ids=lambda card: card.name)  # fmt: skip
def test_settings_of_the_other_released_networks_have_a_meaning(card):
    said = network(card.pipeline, **card.input.to_dict())
    if card.task == "rec":
        settings = recognition_settings(said, "abc")
    else:
        said.card["labels"] = card.labels
        settings = classification_settings(said)
    assert settings.height == card.input.height
    assert settings.color == card.input.color


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ch_ppocr_mobile_v2.0_cls", {}),
        ("PP-LCNet_x1_0_textline_ori",
         {"height": 80, "width": 160, "keep_ratio": False, "cls_thresh": 0, **IMAGENET}),
        ("PP-LCNet_x0_25_textline_ori",
         {"height": 80, "width": 160, "keep_ratio": False, "cls_thresh": 0, **IMAGENET}),
        ("PP-LCNet_x1_0_doc_ori",
         {"height": 224, "width": 224, "resize_short": 256, "cls_thresh": 0,
          "angles": (0, 90, 180, 270), **IMAGENET}),
    ],
)  # fmt: skip
def test_settings_of_the_released_classifiers(name, expected):
    card = catalog.card(name)
    said = described(labels=card.labels, input=card.input.to_dict(), pipeline=card.pipeline)
    assert classification_settings(said) == ClassificationSettings(**expected)
