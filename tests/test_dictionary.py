"""Character tables: every line is a class, just as it stands."""

from __future__ import annotations

import hashlib

import pytest

from converter import catalog
from converter.dictionary import Dictionary, read_dictionary
from converter.errors import ConfigError


@pytest.fixture
def file(tmp_path):
    return tmp_path / "dict.txt"


@pytest.mark.parametrize(
    ("data", "characters"),
    [
        ("b\na\nc\n", "b a c"),
        ("a\nb", "a b"),
        ("a\r\nb\r\n", "a b"),
        ("a\nb\na\na\n", "a b a a"),
        ("\t\n\u3000\n\u00a0\n", "\t \u3000 \u00a0"),
        ("\u2028\n\x0b\n\x85\nx\n", "\u2028 \x0b \x85 x"),
        ("漢\n😀\né\ne\u0301\n", "漢 😀 é e\u0301"),
        ("ch\nsch\n", "ch sch"),
    ],
)
@pytest.mark.parametrize("space", [False, True])
def test_lines_are_taken_as_they_are(file, data, characters, space):
    file.write_bytes(data.encode())
    expected = (*characters.split(" "), *([" "] if space else []))
    assert read_dictionary(file, space).characters == expected


@pytest.mark.parametrize(
    ("data", "characters"),
    [
        (b"a\n \nb\n", ("a", " ", "b")),
        (b" \n", (" ",)),
        (b" a\nb \n", (" a", "b ")),
        (b"a\n\nb\n", ("a", "", "b")),
        (b"a\n\n", ("a", "")),
    ],
)
def test_a_line_of_one_space_and_an_empty_line_are_classes(file, data, characters):
    file.write_bytes(data)
    assert read_dictionary(file, space=False).characters == characters


def test_a_table_with_a_space_and_use_space_char_has_two(file):
    file.write_bytes(b" \na\n")
    assert read_dictionary(file, space=True).characters == (" ", "a", " ")


def test_what_is_known_of_the_file(file):
    file.write_bytes(b"a\r\n")
    dictionary = read_dictionary(file, space=True)
    sha256 = hashlib.sha256(b"a\r\n").hexdigest()
    assert dictionary.to_dict() == {"file": "dict.txt", "sha256": sha256, "characters": ["a", " "]}


def test_the_count_of_classes():
    dictionary = Dictionary("some.txt", "", ("a", "b", "c"))
    dictionary.check(4)
    for classes in (3, 5):
        with pytest.raises(ConfigError) as caught:
            dictionary.check(classes)
        text = str(caught.value)
        assert f"has 3 characters, with the blank 4 classes; the weights have {classes}" in text
        assert "--dict" in text


@pytest.mark.parametrize(
    ("data", "message"),
    [(b"", "is empty"), (b"\n", "is empty"), (b"\r\n\r\n", "is empty"), (b"\xff\n", "not UTF-8")],
)
def test_files_that_hold_no_table(file, data, message):
    file.write_bytes(data)
    with pytest.raises(ConfigError, match=message):
        read_dictionary(file, space=False)


def test_no_such_file(file, tmp_path):
    for path in (file, tmp_path):
        with pytest.raises(ConfigError, match="cannot read the dictionary"):
            read_dictionary(path, space=True)


@pytest.mark.parametrize(
    ("name", "lines", "first", "last"),
    [("ppocr_keys_v1.txt", 6623, "'", "懮"), ("en_dict.txt", 95, "0", " ")],
)
def test_shipped_tables(name, lines, first, last):
    file = catalog.FOLDER / "dicts" / name
    assert file.read_bytes().count(b"\n") == lines
    characters = read_dictionary(file, space=False).characters
    assert len(characters) == lines
    assert (characters[0], characters[-1]) == (first, last)
    assert read_dictionary(file, space=True).characters == (*characters, " ")
