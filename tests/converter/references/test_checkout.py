"""Networks of a checkout for the scripts: class counts, names, calibration."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from converter.errors import ConfigError, ReferenceUnavailable
from converter.references.paddle import checkout

YAML = Path("train.yml")


@pytest.mark.parametrize(
    ("deviation", "exponent"),
    [(1.0, 0), (0.25, 2), (8.0, -3), (0.7, 1), (0.71, 0), (1.5, -1), (0.0, 0), (float("inf"), 0),
     (float("nan"), 0)],
)  # fmt: skip
def test_exponents_bring_a_deviation_nearest_to_one(deviation, exponent):
    assert checkout.exponent_for(deviation) == exponent


def test_class_counts_of_an_option():
    assert checkout.class_count("ctc=97") == ("ctc", 97)
    for text in ("ctc", "sar=3", "ctc=0"):
        with pytest.raises(argparse.ArgumentTypeError, match="should read"):
            checkout.class_count(text)


@pytest.mark.parametrize(
    ("head", "classes", "expected"),
    [
        ({"name": "MultiHead"}, {"ctc": 97}, {"out_channels_list": {
            "CTCLabelDecode": 97, "SARLabelDecode": 99, "NRTRLabelDecode": 100}}),
        ({"name": "CTCHead"}, {"ctc": 97}, {"out_channels": 97}),
        ({"name": "ClsHead", "class_dim": 2}, {"cls": 4}, {"class_dim": 4}),
        ({"name": "CTCHead", "out_channels": 5}, {}, {"out_channels": 5}),
    ],
)  # fmt: skip
def test_class_counts_go_where_paddleocr_puts_them(head, classes, expected):
    single = {"Architecture": {"Head": dict(head)}}
    assert checkout.architectures_of(single, classes, YAML) == {"": {"Head": {**head, **expected}}}
    several = {
        "Architecture": {"Models": {k: {"Head": dict(head)} for k in ("Student", "Teacher")}}
    }
    found = checkout.architectures_of(several, classes, YAML)
    assert found == {f"{k}.": {"Head": {**head, **expected}} for k in ("Student", "Teacher")}


def test_classes_of_a_dictionary_are_not_for_the_asking():
    head = {"name": "PGHead", "character_dict_path": "ic15_dict.txt"}
    with pytest.raises(ConfigError, match=r"PGHead has the classes of ic15_dict\.txt, no others"):
        checkout.architectures_of({"Architecture": {"Head": head}}, {"ctc": 5}, YAML)


@pytest.mark.parametrize("architecture", [None, 3, {"Head": None}, {"Models": {"Student": {}}}])
def test_a_yaml_without_a_network(architecture):
    with pytest.raises(ConfigError, match=r"train\.yml has no Architecture with a Head"):
        checkout.architectures_of({"Architecture": architecture}, {}, YAML)


def test_super_resolution_is_one_transform():
    architecture = {"model_type": "sr", "Transform": {"name": "TSRN"}}
    assert checkout.architectures_of({"Architecture": architecture}, {}, YAML) == {"": architecture}
    with pytest.raises(ConfigError, match=r"train\.yml has no Architecture with a Head"):
        checkout.architectures_of({"Architecture": architecture}, {"ctc": 5}, YAML)


def test_a_tensor_goes_by_its_first_name():
    one, two = object(), object()
    assert checkout.first_names({"a": one, "b": two, "c": one}) == {"a": one, "b": two}


def test_a_folder_that_is_no_checkout(tmp_path):
    with pytest.raises(ReferenceUnavailable, match="is no PaddleOCR checkout"):
        checkout.require_checkout(tmp_path)
