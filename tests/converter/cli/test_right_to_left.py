"""Which recognisers' texts are turned round: as PaddleOCR decides, by the dictionary's path."""

from __future__ import annotations

import json

import numpy as np
import pytest
import yaml

from converter.catalog import cards as catalog
from pipelines import Recognizer
from pipelines.recognition.postprocess import ctc_decode
from tests.support.checkpoints import CLS, fine_tuned, save, weights

LETTERS = "ابتثج"


def reader(folder, path):
    """Write a recogniser of Arabic letters whose YAML names its dictionary by `path`."""
    fine_tuned(folder, LETTERS)
    file = folder / path
    file.parent.mkdir(exist_ok=True)
    (folder / "own_dict.txt").rename(file)
    content = yaml.safe_load((folder / "train.yml").read_text())
    content["Global"]["character_dict_path"] = path
    (folder / "train.yml").write_text(yaml.safe_dump(content))
    return ("--config", folder / "train.yml", "--paddle-dir", folder, "--reference", "none")


def direction(out):
    stated = json.loads(out.with_suffix(".json").read_text())["pipeline"]["right_to_left"]
    assert Recognizer(out).settings.right_to_left is stated
    return stated


@pytest.mark.parametrize(
    ("name", "path", "expected"),
    [
        ("my_reader", "./arabic_data/dict.txt", True),
        ("my_reader", "./plain/dict.txt", False),
        ("my_reader", "./plain/my_arabic_dict.txt", True),
        ("my_reader", "./Arabic/dict.txt", False),  # PaddleOCR looks for "arabic" in lower case
        ("arabic_reader", "./plain/dict.txt", False),
    ],
)
def test_the_whole_path_in_the_yaml_decides(convert, tmp_path, name, path, expected):
    out = tmp_path / "x.pth"
    assert convert(name, *reader(tmp_path, path), "--out", out).code == 0
    assert direction(out) is expected


def test_an_option_decides_otherwise(convert, tmp_path):
    model, out = reader(tmp_path, "./arabic_data/dict.txt"), tmp_path / "x.pth"
    assert convert("mine", *model, "--out", out, "--no-right-to-left").code == 0
    assert direction(out) is False
    other = tmp_path / "plain.txt"
    other.write_text("".join(f"{c}\n" for c in LETTERS))
    assert convert("mine", *model, "--out", out, "--dict", other).code == 0
    assert direction(out) is True  # what the YAML names, another dictionary does not change
    model = ("--paddle-dir", tmp_path, "--reference", "none", "--dict", other)
    released = ("en_number_mobile_v2.0_rec", *model, "--out", out)
    assert convert(*released).code == 0
    assert direction(out) is False
    assert convert(*released, "--right-to-left").code == 0
    assert direction(out) is True


def test_the_texts(convert, tmp_path):
    """The columns of the network, from the left, are letters in visual or in reading order."""
    columns = np.eye(7, dtype=np.float32)[1:6]
    for path, text in (("./arabic_data/dict.txt", LETTERS[::-1]), ("./plain/dict.txt", LETTERS)):
        folder = tmp_path / path[2:].partition("/")[0]
        folder.mkdir()
        out = folder / "x.pth"
        assert convert("mine", *reader(folder, path), "--out", out).code == 0
        settings = Recognizer(out).settings
        turned = settings.right_to_left
        assert ctc_decode(columns, settings.characters, right_to_left=turned).text == text
        chosen = Recognizer(out, right_to_left=not turned).settings.right_to_left
        assert chosen is not turned


def test_the_releases():
    """The releases whose dictionary is Arabic, also where it is not part of the project."""
    turned = {name for name in catalog.names() if catalog.card(name).pipeline.get("right_to_left")}
    assert turned == {name for name in catalog.names() if "arabic" in name}
    tables = {name for name, row in catalog.rows().items() if "arabic" in row.get("dictionary", "")}
    assert tables <= turned
    assert len(tables) == 3


def test_only_recognisers_have_a_direction(convert, tmp_path):
    save(tmp_path / "best_accuracy.pdparams", weights(CLS))
    done = convert(
        "ch_ppocr_mobile_v2.0_cls", "--paddle-dir", tmp_path, "--out", tmp_path / "x.pth",
        "--right-to-left",
    )  # fmt: skip
    assert (done.code, done.out) == (2, "")
    assert "reads no lines, so it has no --right-to-left" in done.err
