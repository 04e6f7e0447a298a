"""Where the words of a line stand: a line's reading and its box -> a box for each word.

Numbers follow PaddleOCR 2.x: ppocr/postprocess/rec_postprocess.py (`get_word_info`) and
ppstructure/utility.py (`cal_ocr_word_box`); for lines that run downwards PaddleX 3
(cal_ocr_word_box.py). Both draw upright rectangles from left to right. Here a word's box slants
with its line, a line that lies upside down has its words where they are read, and each box is that
of its text where a line mixes scripts. On upright lines the boxes are the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipelines.geometry import text_corners
from pipelines.recognition.postprocess import Character, RecognizedText

CHINESE, LATIN, OTHER = "chinese", "latin", "other"
LATIN_OR_DIGIT = re.compile("[a-zA-Z0-9]")
DIGIT = re.compile("[0-9]")


@dataclass(frozen=True, eq=False)
class Word:
    """A part of a line: a Chinese character, or a Latin word or number.

    Attributes:
        box: `(4, 2) float32`, as the line's.
        text: what it says.
        score: mean probability of its characters, 0 to 1.
    """

    box: np.ndarray
    text: str
    score: float

    def to_dict(self) -> dict[str, Any]:
        """Return the word as plain Python values: `text`, `score`, and `box` in pixels."""
        return {"text": self.text, "score": float(self.score), "box": self.box.tolist()}


def find_words(
    reading: RecognizedText, box: np.ndarray, *, upside_down: bool = False
) -> tuple[Word, ...]:
    """Return the words of a line in the order of reading.

    Letters of other scripts, punctuation and spaces are in no word.

    Args:
        reading: what the line says.
        box: the line's corners, `(N, 2)`, clockwise from the top left.
        upside_down: the line was turned by 180 degrees before it was read.
    """
    corners = text_corners(box)
    # A word's box begins at the same corner as the line's, wherever the text begins.
    ahead = 1 if len(box) == 4 and not np.array_equal(corners, box) else 0
    if upside_down:
        corners, ahead = np.roll(corners, -2, axis=0), ahead + 2
    length = float(np.abs(corners[1] - corners[0]).max())
    words = []
    for group, start, end in _extents(reading, length):
        place = np.roll(_between(corners, start / length, end / length), ahead, axis=0)
        score = float(np.mean([character.score for character in group]))
        words.append(Word(place, "".join(character.text for character in group), score))
    return tuple(words)


def _extents(
    reading: RecognizedText, length: float
) -> Iterator[tuple[Sequence[Character], float, float]]:
    """Each word's characters, and from where to where it stands on a line of this many pixels."""
    groups = list(_groups(reading.characters))
    column = length / reading.columns
    wide = [_span(group) * column / (len(group) - 1) for kind, group in groups
            if kind == CHINESE and len(group) > 1]  # fmt: skip
    square = float(np.mean(wide)) if wide else length / max(len(reading.text), 1)
    for kind, group in groups:
        if kind == LATIN:
            first = min(character.column for character in group)
            yield group, int(first * column), int((first + _span(group)) * column)
            continue
        for character in group:
            center = (character.column + 0.5) * column
            start, end = int(center - square / 2), int(center + square / 2)
            yield [character], max(start, 0), min(end, length)


def _span(group: Sequence[Character]) -> int:
    """How many columns lie between its ends."""
    return abs(group[-1].column - group[0].column) + 1


def _groups(characters: Sequence[Character]) -> Iterator[tuple[str, list[Character]]]:
    """Runs of Chinese, or of Latin letters and digits with the `-` and decimal points in them."""
    group: list[Character] = []
    before = OTHER
    for place, character in enumerate(characters):
        kind = _kind(character.text)
        following = characters[place + 1].text if place + 1 < len(characters) else ""
        if before == LATIN and (
            character.text == "-" or (character.text == "." and DIGIT.search(following))
        ):
            kind = LATIN
        if kind != before and group:
            yield before, group
            group = []
        before = kind
        if kind != OTHER:
            group.append(character)
    if group:
        yield before, group


def _kind(text: str) -> str:
    if "\u4e00" <= text <= "\u9fff":
        return CHINESE
    return LATIN if LATIN_OR_DIGIT.search(text) else OTHER


def _between(corners: np.ndarray, start: float, end: float) -> np.ndarray:
    """The part of a quadrilateral between two fractions of its length."""
    top_left, top_right, bottom_right, bottom_left = corners.astype(np.float64)
    top, bottom = top_right - top_left, bottom_right - bottom_left
    return np.array(
        [top_left + start * top, top_left + end * top,
         bottom_left + end * bottom, bottom_left + start * bottom],
        np.float32,
    )  # fmt: skip
