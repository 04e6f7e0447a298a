"""Word boxes: the recognised text and the box of a line to a box for each word.

Numbers follow PaddleOCR 2.x: ppocr/postprocess/rec_postprocess.py (`get_word_info`) and
ppstructure/utility.py (`cal_ocr_word_box`); for lines that run downwards PaddleX 3
(cal_ocr_word_box.py). Both return upright rectangles from left to right. Here a word's box slants
with its line, the words of an upside-down line are where they are read, and boxes match their texts
where a line mixes scripts. On upright lines the boxes are the same.

These words leave out punctuation and other scripts than Chinese and Latin. Text layers need all
text of a line, so what stands between spaces can be located instead.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np

from pipelines.geometry import text_corners
from pipelines.recognition.postprocess import Character, RecognizedText

CHINESE, LATIN, OTHER = "chinese", "latin", "other"
LATIN_OR_DIGIT = re.compile("[a-zA-Z0-9]")
DIGIT = re.compile("[0-9]")


@dataclass(frozen=True, eq=False)
class Word:
    """A word of a line: a Chinese character, a Latin word or number, or what is between spaces.

    Attributes:
        box: `(4, 2) float32`, x and y in pixels of the image, corners in the order of the line's.
        text: the text of the word.
        score: mean probability of its characters, 0 to 1.
    """

    box: np.ndarray
    text: str
    score: float

    def to_dict(self) -> dict[str, Any]:
        """Return the word as plain Python values: `text`, `score`, and `box` in pixels."""
        return {"text": self.text, "score": float(self.score), "box": self.box.tolist()}


def find_words(
    line: RecognizedText,
    box: np.ndarray,
    *,
    upside_down: bool = False,
    between_spaces: bool = False,
) -> tuple[Word, ...]:
    """Return the words of a line in reading order.

    Letters of other scripts, punctuation and spaces belong to no word, unless `between_spaces`.

    Args:
        line: the text of the line, decoded by CTC.
        box: `(N, 2) float32`, the corners of the line, clockwise from the top left.
        upside_down: whether the line was rotated by 180 degrees before it was read.
        between_spaces: whether a word is all that stands between spaces, in any script.
    """
    corners = text_corners(box)
    # A word's box starts at the same corner as the line's, wherever the text starts.
    shift = 1 if len(box) == 4 and not np.array_equal(corners, box) else 0
    if upside_down:
        corners, shift = np.roll(corners, -2, axis=0), shift + 2
    length = float(np.abs(corners[1] - corners[0]).max())
    words = []
    extents = _extents_between_spaces if between_spaces else _extents
    for group, start, end in extents(line, length):
        word_box = np.roll(_slice(corners, start / length, end / length), shift, axis=0)
        score = float(np.mean([character.score for character in group]))
        words.append(Word(word_box, "".join(character.text for character in group), score))
    return tuple(words)


def _extents(
    line: RecognizedText, length: float
) -> Iterator[tuple[Sequence[Character], float, float]]:
    """Yield each word's characters, with its start and end on a line of `length` pixels."""
    groups = list(_groups(line.characters))
    column = length / line.columns
    pitches = [
        _span(group) * column / (len(group) - 1)
        for script, group in groups
        if script == CHINESE and len(group) > 1
    ]
    width = float(np.mean(pitches)) if pitches else length / max(len(line.text), 1)
    for script, group in groups:
        if script == LATIN:
            first = min(character.column for character in group)
            yield group, int(first * column), int((first + _span(group)) * column)
            continue
        for character in group:
            center = (character.column + 0.5) * column
            start, end = int(center - width / 2), int(center + width / 2)
            yield [character], max(start, 0), min(end, length)


def _extents_between_spaces(
    line: RecognizedText, length: float
) -> Iterator[tuple[Sequence[Character], float, float]]:
    """Yield what stands between spaces, with its start and end on a line of `length` pixels.

    A word goes half a character beyond the centres of its first and last one, but not into others.
    """
    groups = [
        list(group)
        for is_space, group in groupby(line.characters, lambda one: one.text.isspace())
        if not is_space
    ]
    columns = [sorted(character.column for character in group) for group in groups]
    distances = np.diff(sorted(character.column for character in line.characters))
    usual = float(np.median(distances)) if len(distances) else line.columns
    every = sorted(column for word in columns for column in word)
    for group, word in zip(groups, columns, strict=True):
        first, last = word[0], word[-1]
        half = ((last - first) / (len(word) - 1) if len(word) > 1 else usual) / 2
        before = [(column + first) / 2 for column in every if column < first]
        after = [(column + last) / 2 for column in every if column > last]
        start = max(first - half, *before[-1:], -0.5) + 0.5
        end = min(last + half, *after[:1], line.columns - 0.5) + 0.5
        yield group, start * length / line.columns, max(start, end) * length / line.columns


def _span(group: Sequence[Character]) -> int:
    """Return the number of columns from the first to the last character."""
    return abs(group[-1].column - group[0].column) + 1


def _groups(characters: Sequence[Character]) -> Iterator[tuple[str, list[Character]]]:
    """Yield runs of Chinese, or of Latin letters and digits with `-` and decimal points."""
    group: list[Character] = []
    before = OTHER
    for index, character in enumerate(characters):
        script = _script(character.text)
        following = characters[index + 1].text if index + 1 < len(characters) else ""
        if before == LATIN and (
            character.text == "-" or (character.text == "." and DIGIT.search(following))
        ):
            script = LATIN
        if script != before and group:
            yield before, group
            group = []
        before = script
        if script != OTHER:
            group.append(character)
    if group:
        yield before, group


def _script(text: str) -> str:
    if "\u4e00" <= text <= "\u9fff":
        return CHINESE
    return LATIN if LATIN_OR_DIGIT.search(text) else OTHER


def _slice(corners: np.ndarray, start: float, end: float) -> np.ndarray:
    """Return the part of a quadrilateral `(4, 2)` between two fractions, 0 to 1, of its length."""
    top_left, top_right, bottom_right, bottom_left = corners.astype(np.float64)
    top, bottom = top_right - top_left, bottom_right - bottom_left
    upper = [top_left + start * top, top_left + end * top]
    lower = [bottom_left + end * bottom, bottom_left + start * bottom]
    return np.array([*upper, *lower], np.float32)
