"""Where the dictionary that a training YAML names is found."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from converter.catalog import cards as catalog
from converter.catalog.custom import custom_card
from converter.errors import ConfigError
from tests.converter.catalog.test_cards import CRNN, DB, training
from tests.support.line_steps import STEPS

SHIPPED = "./ppocr/utils/en_dict.txt"


@pytest.fixture
def folder(tmp_path):
    """The folder of the training YAML, two levels deep."""
    deep = tmp_path / "configs" / "rec"
    deep.mkdir(parents=True)
    return deep


def write(file: Path, text: str = "a\nb\n") -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    return file


def characters(file: Path) -> tuple[str, ...]:
    dictionary = custom_card("mine", file).dictionary
    assert dictionary is not None
    return dictionary.characters


def test_another_takes_the_place_of_one_that_is_missing(folder, tmp_path):
    file = training(folder, CRNN, character_dict_path="gone.txt", use_space_char=True)
    dictionary = custom_card("mine", file, write(tmp_path / "my.txt")).dictionary
    assert dictionary is not None
    assert (dictionary.characters, dictionary.space) == (("a", "b"), True)


def test_another_takes_the_place_of_a_release(tmp_path):
    released = catalog.card("en_PP-OCRv4_rec", write(tmp_path / "my.txt")).dictionary
    assert released is not None
    assert (released.characters, released.space) == (("a", "b"), None)


@pytest.mark.parametrize("place", [".", "..", "../.."])
def test_a_relative_path_is_looked_for_beside_and_above(folder, place):
    write(folder / place / "dicts" / "my.txt")
    assert characters(training(folder, CRNN, character_dict_path="dicts/my.txt")) == ("a", "b")


def test_the_nearest_wins(folder):
    write(folder.parent / "my.txt", "far\n")
    write(folder / "my.txt", "near\n")
    assert characters(training(folder, CRNN, character_dict_path="my.txt")) == ("near",)


def test_a_training_yaml_named_without_its_folder(folder, monkeypatch):
    write(folder.parent.parent / "dicts" / "my.txt")
    training(folder, CRNN, character_dict_path="dicts/my.txt")
    monkeypatch.chdir(folder)
    assert characters(Path("training.yml")) == ("a", "b")


def test_an_absolute_path(folder, tmp_path):
    file = write(tmp_path / "elsewhere" / "my.txt")
    assert characters(training(folder, CRNN, character_dict_path=str(file))) == ("a", "b")


@pytest.mark.parametrize(
    ("path", "length"),
    [
        (SHIPPED, 95),
        ("ppocr/utils/en_dict.txt", 95),
        ("/gone/ppocr/utils/en_dict.txt", 95),
        ("ppocr/utils/dict/en_dict.txt", 63),
        ("./ppocr/utils/dict/korean_dict.txt", 3688),
    ],
)
def test_a_shipped_table(folder, path, length):
    assert len(characters(training(folder, CRNN, character_dict_path=path))) == length


def test_the_users_own_table_comes_before_the_shipped_one(folder):
    write(folder / SHIPPED)
    assert characters(training(folder, CRNN, character_dict_path=SHIPPED)) == ("a", "b")


@pytest.mark.parametrize(
    "path",
    ["my.txt", "en_dict.txt", "utils/en_dict.txt", "ppocr/utils/my.txt", "/x.txt"],
)
def test_a_table_that_is_nowhere(folder, path):
    card = custom_card("mine", training(folder, CRNN, character_dict_path=path))
    assert (card.dictionary, card.missing_dictionary.path) == (None, path)
    with pytest.raises(ConfigError, match=f"names the dictionary '{path}', which is neither"):
        card.missing_dictionary.find(None)


@pytest.mark.parametrize("path", ["dicts\\my.txt", ".\\dicts\\my.txt"])
def test_a_path_of_windows(folder, path):
    write(folder.parent / "dicts" / "my.txt")
    assert characters(training(folder, CRNN, character_dict_path=path)) == ("a", "b")


@pytest.mark.parametrize("path", ["ppocr\\utils\\en_dict.txt", "D:\\x\\ppocr\\utils\\en_dict.txt"])
def test_a_shipped_table_by_a_path_of_windows(folder, path):
    assert len(characters(training(folder, CRNN, character_dict_path=path))) == 95


@pytest.mark.parametrize(
    "path", ["/home/user/my.txt", "./train_data/my.txt", "train_data\\my.txt", "C:\\data\\my.txt"]
)
def test_what_replaces_a_missing_table(folder, path):
    """The dictionary of the export, or else the file of the same name beside the YAML."""
    write(folder / "my.txt")
    file = training(folder, CRNN, character_dict_path=path, use_space_char=True)
    missing = custom_card("mine", file).missing_dictionary
    export, empty = folder / "inference.yml", folder / "empty.yml"
    export.write_text(yaml.safe_dump({"PostProcess": {"character_dict": ["x", "y"]}}))
    empty.write_text("PostProcess: {name: DBPostProcess}")
    table = missing.find(export)
    assert (table.characters, table.space) == (("x", "y"), None)
    assert table.entry().notes == (
        f"{path!r} of training.yml was not found; inference.yml of the export was taken",
    )
    for settings in (None, empty):
        table = missing.find(settings)
        assert (table.characters, table.space) == (("a", "b"), True)
        assert table.notes == (
            f"{path!r} of training.yml was not found; my.txt beside it was taken",
        )


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, False),
        ({"use_space_char": None}, False),
        ({"use_space_char": False}, False),
        ({"use_space_char": True}, True),
    ],
)
def test_use_space_char(folder, settings, expected):
    write(folder / "my.txt")
    file = training(folder, CRNN, character_dict_path="my.txt", **settings)
    dictionary = custom_card("mine", file).dictionary
    assert dictionary is not None
    assert dictionary.space is expected


@pytest.mark.parametrize("path", [None, ""])
def test_no_dictionary_is_named(folder, path):
    """PaddleOCR has the digits and the small letters for it, and then no space."""
    file = training(folder, CRNN, character_dict_path=path, use_space_char=True)
    dictionary = custom_card("mine", file).dictionary
    assert "".join(dictionary.characters) == "0123456789abcdefghijklmnopqrstuvwxyz"
    assert dictionary.fit_to_classes(37).characters == dictionary.characters


def test_nothing_is_said_of_a_dictionary(folder):
    assert custom_card("mine", training(folder, CRNN)).dictionary is None


def test_how_a_users_own_lines_are_read(folder):
    file = training(folder, CRNN)
    content = yaml.safe_load(file.read_text())
    steps, decoder = STEPS["rec_r31_sar"]
    content |= {"Eval": {"dataset": {"transforms": steps}}, "PostProcess": {"name": decoder}}
    file.write_text(yaml.safe_dump(content))
    card = custom_card("mine", file)
    assert card.decoder == "SARLabelDecode"
    expected = {"resize": "SARRecResizeImg", "height": 48, "width": 48, "max_width": 160}
    assert expected.items() <= card.pipeline.items()


def test_a_detector_needs_none(folder):
    file = training(folder, DB, character_dict_path="nowhere.txt")
    assert custom_card("mine", file).dictionary is None
