"""Which words a line has, and where they stand."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.recognition.postprocess import Character, RecognizedText
from pipelines.recognition.words import find_words

BOX = np.array([[100, 50], [300, 50], [300, 70], [100, 70]], np.float32)


def read(text, score=0.5):
    """A reading with a character in each column but those of `_`."""
    characters = tuple(Character(c, score, i) for i, c in enumerate(text) if c != "_")
    return RecognizedText(
        "".join(c.text for c in characters), score, characters, float(len(text) or 1)
    )


def spans(words, axis=0):
    return [(word.text, *np.sort(word.box[:, axis])[[0, -1]].tolist()) for word in words]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("hello world", ["hello", "world"]),
        ("state-of-the-art", ["state-of-the-art"]),
        ("-3.14 3. a.b 1.2.3", ["3.14", "3", "a", "b", "1.2.3"]),
        ("VGG-16-", ["VGG-16-"]),
        ("中文abc字", ["中", "文", "abc", "字"]),
        ("(a),b!", ["a", "b"]),
        ("...", []),
        ("안녕", []),
        ("", []),
    ],
)
def test_what_is_a_word(text, words):
    assert [word.text for word in find_words(read(text), BOX)] == words


def test_a_latin_word_takes_its_columns():
    words = find_words(read("ab_cd____ef_________"), BOX)
    assert spans(words) == [("abcdef", 100, 210)]
    words = find_words(read("ab cd__,_ef_________"), BOX)
    assert spans(words) == [("ab", 100, 120), ("cd", 130, 150), ("ef", 190, 210)]
    np.testing.assert_array_equal(words[1].box, [[130, 50], [150, 50], [150, 70], [130, 70]])
    assert words[1].box.dtype == np.float32


def test_chinese_characters_are_as_wide_as_they_stand_apart():
    # Columns of 10 pixels; two characters 4 columns apart: 5 columns over 1 gap, 50 pixels.
    words = find_words(read("____中___文___________"[:20]), BOX)
    assert spans(words) == [("中", 120, 170), ("文", 160, 210)]
    # A single one is as wide as the line divided by its characters, and stays within the line.
    assert spans(find_words(read("_中__________________"[:20]), BOX)) == [("中", 100, 215)]


def test_the_score_is_that_of_the_word():
    characters = (Character("a", 0.5, 0), Character("b", 0.75, 1), Character("中", 0.25, 2))
    words = find_words(RecognizedText("ab中", 0.5, characters, 4.0), BOX)
    assert [word.score for word in words] == [0.625, 0.25]


def test_a_line_upside_down_is_read_from_the_right():
    words = find_words(read("ab cd_____"), BOX, upside_down=True)
    assert spans(words) == [("ab", 260, 300), ("cd", 200, 240)]
    np.testing.assert_array_equal(words[0].box, [[260, 50], [300, 50], [300, 70], [260, 70]])


def test_a_tall_line_is_read_downwards():
    tall = np.array([[10, 100], [30, 100], [30, 300], [10, 300]], np.float32)
    words = find_words(read("ab cd_____"), tall)
    assert spans(words, axis=1) == [("ab", 100, 140), ("cd", 160, 200)]
    np.testing.assert_array_equal(words[0].box, [[10, 100], [30, 100], [30, 140], [10, 140]])
    words = find_words(read("ab cd_____"), tall, upside_down=True)
    assert spans(words, axis=1) == [("ab", 260, 300), ("cd", 200, 240)]
    np.testing.assert_array_equal(words[0].box, [[10, 260], [30, 260], [30, 300], [10, 300]])


def test_words_slant_with_their_line():
    slanted = BOX + np.array([[0, 0], [0, 40], [0, 40], [0, 0]], np.float32)
    (_, word) = find_words(read("ab cd_____"), slanted)
    np.testing.assert_array_equal(word.box, [[160, 62], [200, 70], [200, 90], [160, 82]])


def test_words_of_a_curved_line():
    polygon = np.array([[100, 50], [200, 50], [300, 50], [300, 70], [200, 70], [100, 70]])
    assert spans(find_words(read("ab cd_____"), polygon)) == [("ab", 100, 140), ("cd", 160, 200)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("(a),b! 中文abc", ["(a),b!", "中文abc"]),
        ("  안녕  하세요. ", ["안녕", "하세요."]),
        ("...", ["..."]),
        (" ", []),
        ("", []),
    ],
)
def test_words_between_spaces_hold_all_text(text, words):
    found = find_words(read(text, 0.75), BOX, between_spaces=True)
    assert [word.text for word in found] == words
    assert {word.score for word in found} <= {0.75}


def test_words_between_spaces_go_half_a_character_beyond_their_centres():
    # Columns of 10 pixels, characters 2 columns apart: each takes 20 pixels.
    words = find_words(read("_a_b_ _c_d_ _e______"), BOX, between_spaces=True)
    assert spans(words) == [("ab", 105, 145), ("cd", 165, 205), ("e", 225, 245)]
    # But at most half of the way to the next word, and to the ends of the line.
    words = find_words(read("a___b c___d"), BOX, between_spaces=True)
    assert spans(words) == [("ab", 100, 200), ("cd", 200, 300)]
    (word,) = find_words(read("____a_____"), BOX, between_spaces=True)
    assert spans([word]) == [("a", 100, 290)]  # as wide as the line, as nothing shows its width
    (word,) = find_words(read("ab_____"), BOX, upside_down=True, between_spaces=True)
    assert spans([word]) == [("ab", pytest.approx(300 - 2 * 200 / 7, abs=0.01), 300)]
