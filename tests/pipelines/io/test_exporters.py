"""Outputs as files: json, txt, tsv, searchable PDF, and their names."""

import json
import os
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pypdfium2
import pytest

from pipelines.errors import OutputError
from pipelines.io.exporters import TEXT_FORMATS, page_image_name, unique_output_names, write_whole
from pipelines.io.files import Failure, Page
from pipelines.io.searchable_pdf import SearchablePdf, to_unicode
from pipelines.ocr import TextLine
from pipelines.recognition.words import Word

CHINESE = "每位读者 12 本"
# An accent, a character beyond the first 65536, Korean, Thai, a mark of its own.
LETTERS = "é𠮷한ไทยe\u0301"
ARABIC = "العربية مرحبا"


def rectangle(left, top, width, height):
    right, bottom = left + width, top + height
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]], np.float32)


def page(number=1, height=100, width=200, source="scans/a.png", count=1):
    return Page(Path(source), number, count, np.full((height, width, 3), 255, np.uint8))


def text_line(text, left=10, top=20, width=100, height=12, score=0.875):
    return TextLine(rectangle(left, top, width, height), text, score)


def written(format, *pages):
    """Write pages, each a list of lines or a failure."""
    writer = TEXT_FORMATS[format](Path("scans/a.png"), 72.0)
    for number, lines in enumerate(pages, 1):
        if isinstance(lines, Failure):
            writer.fail(lines)
        else:
            writer.add(page(number), lines)
    return writer.content()


FAILED = Failure(Path("scans/a.png"), 2, "scans/a.png, page 2: damaged")


# Text.


def test_txt():
    content = written("txt", [text_line("one"), text_line(CHINESE)], FAILED, [], [text_line("x")])
    assert content.decode() == f"one\n{CHINESE}\n\f\f\fx\n"


def test_a_text_stays_on_its_line():
    content = written("txt", [text_line("a\nb\fc\r\nd\u2028e")], [])
    assert content.decode() == "a b c d e\n\f"


# Tables.


def test_tsv():
    tilted = TextLine(np.array([[9.5, 20], [50, 10.2], [52, 18], [11, 28.9]], np.float32), "t", 1.0)
    rows = written("tsv", [text_line("one"), tilted], FAILED, [text_line(CHINESE)]).decode()
    assert [row.split("\t") for row in rows.splitlines()] == [
        ["page", "line", "left", "top", "width", "height", "score", "text"],
        ["1", "1", "10", "20", "100", "12", "0.8750", "one"],
        ["1", "2", "9", "10", "43", "19", "1.0000", "t"],
        ["3", "1", "10", "20", "100", "12", "0.8750", CHINESE],
    ]
    assert rows.endswith("\n")


def test_a_text_stays_in_its_cell():
    rows = written("tsv", [text_line("a\tb\nc\\d\r")]).decode().split("\n")
    assert rows[1].split("\t")[7:] == [r"a\tb\nc\\d\r"]
    assert len(rows) == 3


# JSON.


def test_json():
    arc = TextLine(np.arange(12, dtype=np.float32).reshape(6, 2) / 3, "arc", 0.123456789)
    document = json.loads(written("json", [text_line(CHINESE), arc], FAILED, []))
    assert document == {
        "format": 1,
        "source": "scans/a.png",
        "pages": [
            {
                "page": 1,
                "width": 200,
                "height": 100,
                "lines": [
                    {
                        "text": CHINESE,
                        "score": 0.875,
                        "box": [[10, 20], [110, 20], [110, 32], [10, 32]],
                    },
                    {
                        "text": "arc",
                        "score": 0.12346,
                        "box": [[0, 0.33], [0.67, 1], [1.33, 1.67], [2, 2.33], [2.67, 3],
                                [3.33, 3.67]],
                    },
                ],
            },
            {"page": 2, "error": "scans/a.png, page 2: damaged"},
            {"page": 3, "width": 200, "height": 100, "lines": []},
        ],
    }  # fmt: skip
    assert CHINESE in written("json", [text_line(CHINESE)]).decode()  # as it is, for people


def test_words_in_json():
    word = Word(rectangle(10, 20, 30, 12), "one", 0.5)
    line = replace(text_line("one two"), words=(word,))
    (entry,) = json.loads(written("json", [line]))["pages"][0]["lines"]
    box = [[10, 20], [40, 20], [40, 32], [10, 32]]
    assert entry["words"] == [{"text": "one", "score": 0.5, "box": box}]


def test_names_that_are_no_text():
    source = Path(os.fsdecode(b"\xff.png"))
    writer = TEXT_FORMATS["json"](source, 72.0)
    writer.add(page(), [text_line("\ud800")])
    document = json.loads(writer.content())
    assert document["source"] == "?.png"
    assert document["pages"][0]["lines"][0]["text"] == "?"


# Searchable PDF.


def opened(content):
    return pypdfium2.PdfDocument(content)


def text_of(pdf_page):
    return pdf_page.get_textpage().get_text_range()


def test_the_text_of_a_pdf_can_be_searched_and_copied():
    texts = ["one two", CHINESE, LETTERS, ARABIC]
    lines = [text_line(text, top=20 * n) for n, text in enumerate([*texts, ""])]
    document = opened(written("pdf", lines, FAILED, [], [text_line("last")]))
    assert len(document) == 3
    assert text_of(document[0]).splitlines() == texts
    assert text_of(document[1]) == ""
    assert text_of(document[2]) == "last"
    textpage = document[0].get_textpage()
    for part in ("two", "读者", "é", "한"):
        assert textpage.search(part).get_next() is not None
    assert textpage.search("three").get_next() is None


def test_more_characters_than_a_section_of_the_table_has():
    text = "".join(map(chr, range(0x4E00, 0x4E00 + 250)))
    document = opened(written("pdf", [text_line(text)]))
    assert text_of(document[0]) == text
    assert to_unicode(dict.fromkeys(text, 1)).count("beginbfchar") == 3


def test_the_text_of_a_pdf_stands_where_it_was_read():
    document = opened(written("pdf", [text_line("abcde", left=10, top=20, width=100, height=12)]))
    assert document[0].get_size() == (200, 100)  # points, at 72 pixels per inch
    textpage = document[0].get_textpage()
    for number in range(5):
        box = textpage.get_charbox(number, loose=True)
        expected = (10 + 20 * number, 100 - 32, 30 + 20 * number, 100 - 20)
        assert box == pytest.approx(expected, abs=0.2)


def test_tall_and_tilted_lines_of_a_pdf():
    tall = text_line("abc", left=150, top=10, width=12, height=60)
    corner, along, down = np.array([20, 30]), np.array([80, 20]), np.array([-3, 12])
    tilted = np.array([corner, corner + along, corner + along + down, corner + down], np.float32)
    textpage = opened(written("pdf", [tall, TextLine(tilted, "wxyz", 0.9)]))[0].get_textpage()
    text = textpage.get_text_range()
    boxes = {c: textpage.get_charbox(text.index(c)) for c in "abcwz"}
    for place, character in enumerate("abc"):  # downwards
        expected = (150, 100 - 30 - 20 * place, 162, 100 - 10 - 20 * place)
        assert boxes[character] == pytest.approx(expected, abs=0.2)
    assert boxes["w"] == pytest.approx((17, 100 - 47, 40, 100 - 30), abs=0.2)
    assert boxes["z"] == pytest.approx((77, 100 - 62, 100, 100 - 45), abs=0.2)


def test_the_text_of_a_pdf_is_invisible_over_the_picture():
    image = np.full((100, 200, 3), 255, np.uint8)
    image[:, 100:] = (200, 40, 30)
    with_text, without = SearchablePdf(144), SearchablePdf(144)
    with_text.add(image, [text_line("abcde", width=180, height=60)])
    without.add(image, [])
    drawn, expected = (
        opened(pdf.content())[0].render(scale=2).to_numpy().astype(int)
        for pdf in (with_text, without)
    )
    np.testing.assert_array_equal(drawn, expected)
    np.testing.assert_allclose(drawn[:, :90], 255, atol=6)
    np.testing.assert_allclose(drawn[:, 110:], np.tile([200, 40, 30], (100, 90, 1)), atol=6)


def test_the_resolution_sets_the_size_of_a_pdf_page():
    pdf = SearchablePdf(200)
    pdf.add(np.zeros((2339, 1654, 3), np.uint8), [])
    assert opened(pdf.content())[0].get_size() == pytest.approx((595.4, 842), abs=0.1)  # A4


# Names.


def allotted(*sources, out="out", ending=".json"):
    return list(
        unique_output_names([Path(source) for source in sources], Path(out), ending).values()
    )


def test_names_never_collide():
    assert allotted("a.png", "b.png") == ["a", "b"]
    assert allotted("a.png", "a.jpg", "x/a.png", "y/a.png") == ["a", "a.jpg", "a.png", "a.png-2"]
    assert allotted("a.jpg.png", "a.png", "a.jpg") == ["a.jpg", "a", "a.jpg-2"]
    assert allotted("A.png", "a.jpg") == ["A", "a.jpg"]  # for file systems that make no difference
    assert allotted("a.page1.png", "a.png") == ["a.page1", "a"]


def test_names_stay_in_the_folder():
    for source in ("../../a.png", "/etc/a.png", "..png", "...png", ".png"):
        (name,) = allotted(source)
        assert Path(f"{name}.json").name == f"{name}.json"
        assert Path(page_image_name(name, "1.jpg")).name == page_image_name(name, "1.jpg")


def test_names_never_replace_a_source(tmp_path):
    inside = [tmp_path / "a.pdf", tmp_path / "b.png", tmp_path / "b.page1.jpg"]
    assert allotted(*inside, out=tmp_path, ending=".pdf") == ["a.pdf", "b.png", "b.page1"]
    assert allotted(*inside, out=tmp_path / "out", ending=".pdf") == ["a", "b", "b.page1"]


# Whole or not.


def test_files_are_whole_or_as_they_were(tmp_path, monkeypatch):
    file = tmp_path / "a.txt"
    write_whole(file, b"first")
    assert file.read_bytes() == b"first"

    for error, raised in (
        (OSError(28, "No space left on device"), OutputError),
        (KeyboardInterrupt(), KeyboardInterrupt),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(Path, "replace", Mock(side_effect=error))
            with pytest.raises(raised):
                write_whole(file, b"second")
        assert file.read_bytes() == b"first"
        assert list(tmp_path.iterdir()) == [file]
    with pytest.raises(OutputError, match=r"cannot write .*none/a.txt: No such file"):
        write_whole(tmp_path / "none" / "a.txt", b"")
