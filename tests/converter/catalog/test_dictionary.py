"""Character tables: every line is a class, just as it stands."""

from __future__ import annotations

import hashlib

import pytest

from converter.catalog import cards as catalog
from converter.catalog.dictionary import Dictionary, dictionary_of_export, read_dictionary
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
    lines = tuple(characters.split(" "))
    dictionary = read_dictionary(file, space)
    assert dictionary.characters == lines
    expected = (*lines, " ") if space else lines
    assert dictionary.fit_to_classes(len(expected) + 1).characters == expected


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
    assert read_dictionary(file, space=True).fit_to_classes(4).characters == (" ", "a", " ")


def test_what_is_known_of_the_file(file):
    file.write_bytes(b"a\r\n")
    dictionary = read_dictionary(file, space=True).fit_to_classes(3)
    sha256 = hashlib.sha256(b"a\r\n").hexdigest()
    assert dictionary.entry().to_dict() == {
        "file": "dict.txt",
        "sha256": sha256,
        "characters": ["a", " "],
    }


@pytest.mark.parametrize(
    ("space", "fitting", "makes"),
    [
        (False, {4: "abc"}, "with the blank 4 classes;"),
        (True, {5: "abc "}, "with a space and the blank 5 classes;"),
        (None, {4: "abc", 5: "abc "}, "with the blank 4 classes, with a space too 5;"),
    ],
)
def test_the_count_of_classes(space, fitting, makes):
    dictionary = Dictionary("some.txt", "", ("a", "b", "c"), space)
    for classes in range(3, 7):
        if classes in fitting:
            fitted = dictionary.fit_to_classes(classes)
            assert fitted.characters == tuple(fitting[classes])
            assert fitted.fit_to_classes(classes) == fitted
            continue
        with pytest.raises(ConfigError) as caught:
            dictionary.fit_to_classes(classes)
        text = str(caught.value)
        assert f"has 3 characters, {makes} the weights have {classes}" in text
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


# In all, and the lines that are not unique: each line is a class all the same.
TABLES = {
    "ppocr_keys_v1.txt": (6623, "'", "懮", 0),
    "en_dict.txt": (95, "0", " ", 0),
    "dict/en_dict.txt": (63, "0", " ", 0),
    "dict/chinese_cht_dict.txt": (8421, "!", " ", 0),
    "dict/bn_dict.txt": (477, " ", "৯", 9),
    "dict/arabic_dict.txt": (161, "!", "٩", 0),
}


def test_every_shipped_table_is_read_line_by_line():
    files = sorted((catalog.FOLDER / "dicts").rglob("*.txt"))
    assert len(files) > 40
    for file in files:
        data = file.read_bytes()
        lines = data.count(b"\n") + (not data.endswith(b"\n"))
        assert len(read_dictionary(file).characters) == lines, file


@pytest.mark.parametrize("name", TABLES)
def test_shipped_tables(name):
    lines, first, last, repeated = TABLES[name]
    characters = read_dictionary(catalog.FOLDER / "dicts" / name).characters
    assert (len(characters), characters[0], characters[-1]) == (lines, first, last)
    assert len(characters) - len(set(characters)) == repeated


class TestOfAnExport:
    def test_the_table(self, tmp_path):
        file = tmp_path / "inference.yml"
        file.write_text("PostProcess: {name: CTCLabelDecode, character_dict: [a, '1', 'null', a]}")
        for dictionary in (read_dictionary(file), dictionary_of_export(file)):
            assert dictionary.file == "inference.yml"
            assert dictionary.characters == ("a", "1", "null", "a")
            assert dictionary.fit_to_classes(6).characters == ("a", "1", "null", "a", " ")

    @pytest.mark.parametrize("text", ["{}", "PostProcess: null", "PostProcess: {name: DB}"])
    def test_none(self, tmp_path, text):
        file = tmp_path / "inference.yml"
        file.write_text(text)
        assert dictionary_of_export(file) is None
        with pytest.raises(ConfigError, match="holds no list PostProcess"):
            read_dictionary(file)

    @pytest.mark.parametrize(("table", "what"), [("[a, 1]", "holds 1"), ("[]", "holds no list"),
                                                 ("abc", "holds no list")])  # fmt: skip
    def test_what_is_no_table(self, tmp_path, table, what):
        file = tmp_path / "inference.yml"
        file.write_text(f"PostProcess: {{character_dict: {table}}}")
        with pytest.raises(ConfigError, match=what):
            dictionary_of_export(file)


@pytest.mark.parametrize(
    ("decoder", "classes", "makes"),
    [
        ("AttnLabelDecode", 5, "with sos and eos 5 classes"),
        ("SARLabelDecode", 6, "with <UKN>, <BOS/EOS> and <PAD> 6 classes"),
        ("NRTRLabelDecode", 7, "with blank, <unk>, <s> and </s> 7 classes"),
        ("ABINetLabelDecode", 4, "with the </s> 4 classes"),
        ("CANLabelDecode", 3, "with nothing else 3 classes"),
    ],
)
def test_the_classes_that_a_decoder_adds(decoder, classes, makes):
    dictionary = Dictionary("some.txt", "", ("a", "b", "c"), space=None)
    assert dictionary.fit_to_classes(classes, decoder).characters == ("a", "b", "c")
    assert dictionary.fit_to_classes(classes + 1, decoder).characters == ("a", "b", "c", " ")
    with pytest.raises(ConfigError, match=f"3 characters, {makes}, with a space too {classes + 1}"):
        dictionary.fit_to_classes(classes + 2, decoder)
