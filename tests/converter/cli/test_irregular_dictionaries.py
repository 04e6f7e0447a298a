"""Dictionaries whose lines hold more than a character: taken as they are, reported, cleaned."""

from __future__ import annotations

import json

import pytest
import yaml

from converter.catalog.dictionary import SHIPPED, read_dictionary
from tests.support.checkpoints import fine_tuned

MARK = "\ufeff"
CASES = {
    "mark": f"{MARK}0\n1\n2\na\nb\n",
    "tabs": "0\t0\n1\t1\n2\t2\na\t3\nb\t4\n",
    "numbered": "1 0\n2 1\n3 2\n4 a\n5 b\n",
    "padded": "0 \n1 \n 2\na\t\nb\n",
    "all": f"{MARK}0\t0\n1\t1\n2\t2\na\t3\nb\t4\n",
    "windows": f"{MARK}0 \r\n1\r\n2\r\na\r\nb\r\n",
}
REPORTS = {
    "mark": ["the first line begins with a byte order mark (U+FEFF)"],
    "tabs": ["5 of 5 lines hold spaces or tabs beside other characters, such as '0\\t0'"],
    "numbered": ["5 of 5 lines hold spaces or tabs beside other characters, such as '1 0'"],
    "padded": ["4 of 5 lines hold spaces or tabs beside other characters, such as '0 '"],
    "all": ["the first line begins with a byte order mark", "5 of 5 lines hold"],
    "windows": ["the first line begins with a byte order mark", "1 of 5 lines hold"],
}


def write(file, text):
    file.write_bytes(text.encode("utf-8"))
    return file


@pytest.fixture
def reader(tmp_path):
    """The command of a recogniser of five characters and the space."""
    folder = fine_tuned(tmp_path, "abcde")
    model = ("--paddle-dir", folder, "--out", tmp_path / "x.pth", "--reference", "none")
    return ("en_number_mobile_v2.0_rec", *model)


def dictionary(out):
    return json.loads(out.with_suffix(".json").read_text(encoding="utf-8"))["dictionary"]


@pytest.mark.parametrize("case", CASES)
def test_lines_are_taken_as_they_are_and_reported(convert, reader, tmp_path, case):
    table = write(tmp_path / "table.txt", CASES[case])
    done = convert(*reader, "--dict", table)
    assert done.code == 0, done
    written = dictionary(tmp_path / "x.pth")
    lines = CASES[case].replace("\r", "").split("\n")[:-1]
    assert written["characters"] == [*lines, " "]  # as PaddleOCR reads them
    notes = written["notes"]
    warned = [f"converter: warning: dictionary table.txt: {note}" for note in notes]
    assert done.err.splitlines() == warned
    for note, beginning in zip(notes, REPORTS[case], strict=True):
        assert note.startswith(beginning)


@pytest.mark.parametrize("case", CASES)
def test_strip_dict(convert, reader, tmp_path, case):
    table = write(tmp_path / "table.txt", CASES[case])
    done = convert(*reader, "--dict", table, "--strip-dict")
    assert done.code == 0, done
    written = dictionary(tmp_path / "x.pth")
    assert written["characters"] == [*"012ab", " "]
    assert len(written["notes"]) == 1
    assert "were stripped to their character" in done.err


def test_the_table_of_a_training_yaml(convert, tmp_path):
    folder, out = fine_tuned(tmp_path, "abcde"), tmp_path / "x.pth"
    write(folder / "own_dict.txt", CASES["mark"])
    mine = ("mine", "--config", folder / "train.yml", "--paddle-dir", folder, "--out", out)
    done = convert(*mine, "--reference", "none")
    assert "byte order mark" in done.err
    assert dictionary(out)["characters"][0] == f"{MARK}0"
    assert convert(*mine, "--reference", "none", "--strip-dict").code == 0
    assert dictionary(out)["characters"] == [*"012ab", " "]


@pytest.mark.parametrize("case", CASES)
def test_add_dict(convert, reader, tmp_path, case):
    plain, table = write(tmp_path / "p.txt", "v\nw\nx\ny\nz\n"), write(tmp_path / "t", CASES[case])
    out = tmp_path / "x.pth"
    done = convert(*reader, "--dict", plain)
    assert (done.code, done.err) == (0, "")
    assert "notes" not in dictionary(out)
    done = convert("add-dict", out, table, "--replace")
    assert done.code == 0
    assert done.err.count("warning: dictionary t: ") == len(REPORTS[case])
    assert len(dictionary(out)["notes"]) == len(REPORTS[case])
    done = convert("add-dict", out, table, "--replace", "--strip-dict")
    assert done.code == 0
    assert dictionary(out)["characters"] == [*"012ab", " "]


def test_nothing_is_stripped_from_a_plain_table(tmp_path):
    """Lines of a space, of a tab and of several letters are characters."""
    table = read_dictionary(write(tmp_path / "t.txt", "a\n \n\t\n\u3000\nch\n7\n"))
    assert table.stripped() is table
    assert table.notes == ()


def test_digits_are_no_line_numbers(tmp_path):
    table = read_dictionary(write(tmp_path / "t.txt", "a 0\nb 0\nc 2\n"))
    assert table.stripped().characters == ("a 0", "b 0", "c 2")


def test_shipped_tables_are_paddleocrs(tmp_path):
    """Some of PaddleOCR's own tables hold such lines; copies of them are reported."""
    shipped = SHIPPED / "dict" / "german_dict.txt"
    assert read_dictionary(shipped).notes == ()
    copy = write(tmp_path / "copy.txt", shipped.read_text(encoding="utf-8"))
    (note,) = read_dictionary(copy).notes
    assert note.startswith("1 of 143 lines hold spaces or tabs beside other characters")


def test_the_dictionary_of_the_machine_that_trained(convert, tmp_path):
    """PaddleX writes an absolute path into the YAML, and the dictionary beside the export."""
    folder, out = fine_tuned(tmp_path, "abcde"), tmp_path / "x.pth"
    content = yaml.safe_load((folder / "train.yml").read_text())
    content["Global"]["character_dict_path"] = "/home/user/dataset/ocr_rec/dict.txt"
    (folder / "train.yml").write_text(yaml.safe_dump(content))
    mine = ("mine", "--config", folder / "train.yml", "--paddle-dir", folder, "--out", out)
    done = convert(*mine, "--reference", "none")
    assert (done.code, done.out) == (2, "")
    assert "'/home/user/dataset/ocr_rec/dict.txt', which is neither near it nor shipped" in done.err
    export = {"PostProcess": {"name": "CTCLabelDecode", "character_dict": [*"uvwxy"]}}
    (folder / "inference.yml").write_text(yaml.safe_dump(export))
    done = convert(*mine, "--reference", "none")
    assert done.code == 0
    assert "was not found; inference.yml of the export was taken" in done.err
    assert dictionary(out)["characters"] == [*"uvwxy", " "]
    assert dictionary(out)["file"] == "inference.yml"
    assert len(dictionary(out)["notes"]) == 1


def test_strip_dict_needs_a_table(convert, classifier, tmp_path):
    done = convert(
        "ch_ppocr_mobile_v2.0_cls", "--paddle-dir", classifier, "--out", tmp_path / "x.pth",
        "--strip-dict",
    )  # fmt: skip
    assert (done.code, done.out) == (2, "")
    assert "has no table of characters for --strip-dict" in done.err
