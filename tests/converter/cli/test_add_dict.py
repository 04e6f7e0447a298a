"""Giving a converted recogniser its characters, and where a dictionary comes from."""

from __future__ import annotations

import json

import pytest

import architectures
from tests.support.checkpoints import fine_tuned

LITE = "en_number_mobile_v2.0_rec"


@pytest.fixture
def reader(convert, tmp_path):
    """A recogniser of eight classes, converted without any dictionary."""
    folder, out = fine_tuned(tmp_path), tmp_path / "reader.pth"
    text = (folder / "train.yml").read_text().replace("character_dict_path: own_dict.txt", "")
    (folder / "train.yml").write_text(text)
    done = convert("mine", "--config", folder / "train.yml", "--paddle-dir", folder, "--out", out)
    assert (done.code, done.err) == (0, "")
    assert done.out.endswith(f"    python -m converter add-dict {out} DICT.txt\n")
    assert card_of(out)["dictionary"] is None
    return out


def card_of(weights):
    return json.loads(weights.with_suffix(".json").read_text(encoding="utf-8"))


def table(tmp_path, lines, name="table.txt"):
    file = tmp_path / name
    file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return file


@pytest.mark.parametrize(("lines", "space"), [("abcdef", True), ("abcdefa", False)])
def test_a_table_with_and_without_its_space(convert, reader, tmp_path, lines, space):
    before = card_of(reader)
    done = convert("add-dict", reader, table(tmp_path, lines))
    described = reader.with_suffix(".json")
    assert (done.code, done.out) == (0, f"wrote {described}: 7 characters and the blank\n")
    after = card_of(reader)
    assert after["dictionary"]["characters"] == [*lines, *([" "] if space else [])]
    assert {**after, "dictionary": None} == before
    assert architectures.load(reader).card.to_dict() == after


def test_the_table_of_an_export(convert, reader, tmp_path):
    settings = tmp_path / "inference.yml"
    settings.write_text("PostProcess: {character_dict: [a, b, c, d, e, f]}")
    assert convert("add-dict", reader, settings).code == 0
    assert card_of(reader)["dictionary"]["characters"] == [*"abcdef", " "]


def test_another_takes_its_place_only_when_asked(convert, reader, tmp_path):
    assert convert("add-dict", reader, table(tmp_path, "abcdef")).code == 0
    other = table(tmp_path, "123456", "other.txt")
    done = convert("add-dict", reader, other)
    assert done.code == 2
    assert "has the dictionary table.txt already; give --replace" in done.err
    assert card_of(reader)["dictionary"]["characters"] == [*"abcdef", " "]
    assert convert("add-dict", reader, other, "--replace").code == 0
    assert card_of(reader)["dictionary"]["characters"] == [*"123456", " "]


def test_what_does_not_fit(convert, reader, tmp_path):
    done = convert("add-dict", reader, table(tmp_path, "abc"))
    assert done.code == 2
    assert "with the blank 4 classes, with a space too 5; the weights have 8" in done.err
    done = convert("add-dict", reader, tmp_path / "none.txt")
    assert (done.code, "cannot read the dictionary" in done.err) == (2, True)


def test_what_is_no_recogniser(convert, classifier, tmp_path):
    out = tmp_path / "x.pth"
    assert convert("ch_ppocr_mobile_v2.0_cls", "--paddle-dir", classifier, "--out", out).code == 0
    done = convert("add-dict", out, table(tmp_path, "abc"))
    assert (done.code, "takes no dictionary" in done.err) == (2, True)


def test_files_that_do_not_belong_together(convert, reader, tmp_path):
    lines = table(tmp_path, "abcdef")
    before = reader.with_suffix(".json").read_bytes()
    reader.write_bytes(b"other weights")
    done = convert("add-dict", reader, lines)
    assert (done.code, "describes other weights" in done.err) == (3, True)
    assert reader.with_suffix(".json").read_bytes() == before
    for content, message in (
        (b"", "is not JSON"),
        (b"[]", "does not describe a converted network"),
        (b"{}", "does not describe a converted network"),
        (b'{"format": 1, "class_counts": {}}', "the card lacks weights"),
        (b'{"format": 1, "class_counts": {}, "weights": 1}', "weights is 1, expected a mapping"),
    ):
        reader.with_suffix(".json").write_bytes(content)
        done = convert("add-dict", reader, lines)
        assert (done.code, message in done.err) == (3, True), done.err
    reader.unlink()
    done = convert("add-dict", reader, lines)
    assert (done.code, done.err.startswith("converter add-dict: ")) == (3, True)


# Where a conversion takes the dictionary from.


def test_the_export_s_own_table_comes_before_the_shipped_one(convert, tmp_path):
    folder = fine_tuned(tmp_path, "abcdef")
    (folder / "inference.yml").write_text("PostProcess: {character_dict: ['1', b, c, d, e, f]}")
    out = tmp_path / "x.pth"
    arguments = (LITE, "--paddle-dir", folder, "--out", out, "--reference", "none")
    assert convert(*arguments).code == 0
    assert card_of(out)["dictionary"]["file"] == "inference.yml"
    assert card_of(out)["dictionary"]["characters"] == [*"1bcdef", " "]
    assert set(card_of(out)["source"]["files"]) == {"best_accuracy.pdparams", "inference.yml"}
    given = table(tmp_path, "uvwxyz")
    assert convert(*arguments, "--dict", given).code == 0
    assert card_of(out)["dictionary"]["characters"] == [*"uvwxyz", " "]


def test_a_damaged_table_of_an_export(convert, tmp_path):
    folder = fine_tuned(tmp_path, "abcdef")
    (folder / "inference.yml").write_text("PostProcess: {character_dict: [1, 2]}")
    done = convert(LITE, "--paddle-dir", folder, "--out", tmp_path / "x.pth")
    assert done.code == 2
    assert "holds 1, which is not text" in done.err
    assert not (tmp_path / "x.pth").exists()
