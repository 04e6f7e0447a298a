"""Own detectors: configurations of PaddleDetection and PaddleX, and files of labels."""

from __future__ import annotations

import json
import re

import pytest
import yaml

from converter.catalog import cards as catalog
from converter.catalog.custom import custom_card, same_network
from converter.catalog.detector_config import MAX_FILES, read_sections
from converter.catalog.labels import read_labels
from converter.errors import ConfigError

NETWORK = {
    "architecture": "PicoDet",
    "PicoDet": {"backbone": "LCNet", "neck": "CSPPAN", "head": "PicoHead"},
    "LCNet": {"scale": 0.75, "feature_maps": [3, 4, 5]},
    "CSPPAN": {"out_channels": 128, "use_depthwise": True, "num_csp_blocks": 1, "num_features": 4},
    "PicoHead": {
        "conv_feat": {"name": "PicoFeat", "num_convs": 4, "share_cls_reg": True},
        "fpn_stride": [8, 16, 32, 64],
        "nms": {"name": "MultiClassNMS"},
        "reg_max": 7,
        "cell_offset": 0.5,
    },
}
READER = """
TestReader:
  sample_transforms:
  - Decode: {}
  - Resize: {interp: 2, target_size: [320, 256], keep_ratio: False}
  - NormalizeImage: {is_scale: true, mean: [0.1, 0.2, 0.3], std: [0.4, 0.5, 0.6]}
TestDataset:
  !ImageFolder
    anno_path: train.json
    dataset_dir: data
"""
COCO = {"images": [], "categories": [{"id": 7, "name": "title"}, {"id": 2, "name": "text"}]}


def configuration(folder, **changes):
    """A detector whose network lies in `base/`, its reader beside it; returns the YAML."""
    (folder / "base").mkdir()
    (folder / "own").mkdir()
    (folder / "base" / "network.yml").write_text(yaml.safe_dump(NETWORK))
    (folder / "base" / "reader.yml").write_text(READER)
    file = folder / "own" / "mine.yml"
    content = {"_BASE_": ["../base/network.yml", "../base/reader.yml"], **changes}
    file.write_text(yaml.safe_dump(content))
    return file


def test_own_values_replace_those_of_the_bases(tmp_path):
    file = configuration(tmp_path, LCNet={"scale": 1.0})
    card = custom_card("mine", file)
    assert same_network(card.architecture, catalog.card("PicoDet_layout_1x").architecture)
    assert card.mapping == "picodet"
    assert (card.input.height, card.input.width) == (320, 256)
    assert (card.input.mean, card.input.std) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    assert card.input.color == "RGB"
    assert card.proof.only_size == (320, 256)
    assert card.labels == ()
    assert card.release == "custom"


def test_defaults_are_paddledetections(tmp_path):
    head = {"conv_feat": {"share_cls_reg": True}, "nms": None}
    file = configuration(tmp_path, PicoHead={}, _BASE_=["../base/short.yml"])
    (tmp_path / "base" / "short.yml").write_text(yaml.safe_dump({**NETWORK, "PicoHead": head}))
    stated = custom_card("mine", file).architecture["Head"]
    assert stated["cell_offset"] == 0
    assert (stated["num_convs"], stated["reg_max"], stated["strides"]) == (2, 16, [8, 16, 32])


def test_later_bases_replace_earlier_ones(tmp_path):
    (tmp_path / "a.yml").write_text("x: {one: 1, two: 1}\ny: [1, 2]")
    (tmp_path / "b.yml").write_text("x: {two: 2}\ny: [3]")
    (tmp_path / "c.yml").write_text("_BASE_: [a.yml, b.yml]\nx: {three: 3}")
    assert read_sections(tmp_path / "c.yml") == {"x": {"one": 1, "two": 2, "three": 3}, "y": [3]}


@pytest.mark.parametrize(
    ("bases", "message"),
    [
        (["../base/none.yml"], "builds on ../base/none.yml, but there is no file "),
        (["/etc/passwd.yml"], "'/etc/passwd.yml'; expected the path of a .yml file relative to"),
        (["~/a.yml"], "expected the path of a .yml file relative to it"),
        (["../base/network.txt"], "expected the path of a .yml file relative to it"),
        ("../base/network.yml", "_BASE_ in .* is '../base/network.yml', expected a list of paths"),
        ([1], "expected a list of paths"),
        (["mine.yml"], "builds on itself"),
        (["../base"], "expected the path of a .yml file"),
    ],
)
def test_bases_that_cannot_be_read(tmp_path, bases, message):
    with pytest.raises(ConfigError, match=message):
        custom_card("mine", configuration(tmp_path, _BASE_=bases))


def test_bases_that_multiply(tmp_path):
    for level in range(8):
        (tmp_path / f"{level}.yml").write_text(f"_BASE_: [{level + 1}.yml, {level + 1}.yml]")
    (tmp_path / "8.yml").write_text("x: 1")
    with pytest.raises(ConfigError, match=f"0.yml builds on more than {MAX_FILES} files"):
        read_sections(tmp_path / "0.yml")


def test_a_detector_that_is_not_known(tmp_path):
    with pytest.raises(ConfigError, match="none of PicoDet, DETR, YOLOv3"):
        custom_card("mine", configuration(tmp_path, _BASE_=["../base/reader.yml"], RCNN={}))


def test_labels_of_the_data_set(tmp_path):
    file = configuration(tmp_path)
    (tmp_path / "own" / "data").mkdir()
    (tmp_path / "own" / "data" / "train.json").write_text(json.dumps(COCO))
    assert custom_card("mine", file).labels == ("title", "text")
    listed = {**yaml.safe_load(file.read_text()), "TrainDataset": {"label_list": ["a", "b"]}}
    file.write_text(yaml.safe_dump(listed))
    assert custom_card("mine", file).labels == ("a", "b")


def test_data_outside_of_the_folder_is_not_read(tmp_path):
    for path in ("../secret.json", str(tmp_path / "secret.json")):
        folder = tmp_path / str(len(path))
        folder.mkdir()
        (folder / "secret.json").write_text(json.dumps(COCO))
        (tmp_path / "secret.json").write_text(json.dumps(COCO))
        data = {"dataset_dir": "", "anno_path": path}
        assert custom_card("mine", configuration(folder, TrainDataset=data)).labels == ()


@pytest.mark.parametrize("size", ["[320]", "a", "[1, 2, 3]", "[0, 320]"])
def test_a_size_of_another_kind(tmp_path, size):
    file = configuration(tmp_path)
    (tmp_path / "base" / "reader.yml").write_text(READER.replace("[320, 256]", size))
    with pytest.raises(ConfigError, match=r"target_size is|TestReader of the configuration"):
        custom_card("mine", file)


def test_a_configuration_of_paddlex(tmp_path):
    file = tmp_path / "config.yaml"
    content = {
        "Global": {"model": "PP-DocLayout-S", "mode": "train", "dataset_dir": "data"},
        "Train": {"num_classes": 2, "learning_rate": 0.1},
    }
    file.write_text(yaml.safe_dump(content))
    card = custom_card("mine", file)
    released = catalog.card("PP-DocLayout-S")
    assert (card.name, card.architecture) == ("mine", released.architecture)
    assert (card.labels, card.release, card.train) == ((), "custom", None)
    folder = tmp_path / "data" / "annotations"
    folder.mkdir(parents=True)
    (folder / "instance_train.json").write_text(json.dumps(COCO))
    assert custom_card("mine", file).labels == ("title", "text")


def test_labels_of_a_file(tmp_path):
    file = tmp_path / "labels.txt"
    file.write_text("\ufefftext\r\n doc title \n\n", encoding="utf-8")
    assert read_labels(file) == ("text", "doc title")
    file.write_text(json.dumps(COCO))
    assert read_labels(file) == ("title", "text")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "name no class"),
        (b"\xff\xfe", "are not UTF-8 text"),
        (b"a\nb\na\n", "name 'a' twice"),
        (b"{", "begin as JSON but are not"),
        (b"{" + b'"a":{' * 100_000, "begin as JSON but are not"),
        (b"{}", "has categories None, expected COCO's list"),
        (b'{"categories": [{"id": 1}]}', "expected COCO's list of rows with names"),
    ],
)
def test_labels_that_cannot_be_read(tmp_path, data, message):
    file = tmp_path / "labels.txt"
    file.write_bytes(data)
    with pytest.raises(ConfigError, match=message):
        read_labels(file)
    with pytest.raises(ConfigError, match=re.escape(str(tmp_path / "none"))):
        read_labels(tmp_path / "none")
