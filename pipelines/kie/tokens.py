"""From the lines of a page to tokens, their boxes, and the arrays that the networks take.

The steps are those of PaddleOCR 2.10, ppocr/data/imaug/label_ops.py (`VQATokenLabelEncode`),
imaug/vqa/augment.py (`order_by_tbyx`) and imaug/vqa/token/vqa_token_pad.py.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from schemas.processing import KieSettings, SettingsError

SAME_LINE = 20
"""Pixels by which the tops of two texts beside each other may differ."""
SCALE = 1000
"""Boxes of tokens are counted in so many parts of the page."""


class Line(Protocol):
    """A text of the page with its place."""

    @property
    def box(self) -> np.ndarray:
        """`(N, 2)`, x and y in pixels of the page."""

    @property
    def text(self) -> str:
        """The text."""


class Encoder:
    """A tokeniser.

    Args:
        content: that of a `tokenizer.json`.

    Raises:
        SettingsError: the library is missing, or the content is no tokeniser.
    """

    def __init__(self, content: Mapping[str, Any]) -> None:
        try:
            from tokenizers import Tokenizer
        except ImportError as error:
            raise SettingsError(
                "key information needs the library tokenizers: pip install paddleocr-to-torch[kie]"
            ) from error
        try:
            self._tokenizer = Tokenizer.from_str(json.dumps(content))
        # The library raises Exception itself.
        except Exception as error:
            raise SettingsError(f"the tokeniser of the weights is damaged: {error}") from error

    def __call__(self, text: str) -> list[int]:
        """Return the tokens of a text, without those of start and end."""
        try:
            ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        except KeyboardInterrupt:
            raise
        # Where Rust panics, as on damaged tables, the library raises a BaseException.
        except BaseException as error:
            raise SettingsError(
                f"the tokeniser of the weights cannot read {text[:40]!r}: {error}"
            ) from error
        return ids

    @property
    def padding(self) -> int:
        """The token that fills up short texts."""
        found = (self._tokenizer.token_to_id(name) for name in ("<pad>", "[PAD]"))
        return next((number for number in found if number is not None), 0)


@dataclass(frozen=True)
class PageTokens:
    """The tokens of a page.

    Attributes:
        lines: the lines that have tokens, in the order of these.
        ids: the tokens of all lines.
        boxes: a box for each token: left, top, right, bottom, in thousandths of the page.
        ends: for each line, the place behind its last token.
    """

    lines: tuple[Line, ...]
    ids: tuple[int, ...]
    boxes: tuple[tuple[int, int, int, int], ...]
    ends: tuple[int, ...]

    @property
    def spans(self) -> list[tuple[int, int]]:
        """For each line, the places of its first token and behind its last."""
        return list(zip((0, *self.ends), self.ends, strict=False))


def upright_box(line: Line) -> tuple[int, int, int, int]:
    """Return left, top, right and bottom of a line, in whole pixels."""
    (left, top), (right, bottom) = line.box.min(0), line.box.max(0)
    return int(left), int(top), int(right), int(bottom)


def top_down(lines: Sequence[Line]) -> list[Line]:
    """Sort lines from top to bottom, those of about one height from left to right.

    As in PaddleOCR, the first of all lines never changes its place with the second.
    """
    boxed = [(upright_box(line), line) for line in lines]
    boxed.sort(key=lambda each: (each[0][1], each[0][0]))
    for last in range(len(boxed) - 1):
        for place in range(last, 0, -1):
            (box, _), (following, _) = boxed[place : place + 2]
            if abs(following[1] - box[1]) >= SAME_LINE or following[0] >= box[0]:
                break
            boxed[place : place + 2] = boxed[place + 1], boxed[place]
    return [line for _, line in boxed]


def encode_page(
    lines: Sequence[Line], size: tuple[int, int], encode: Encoder, settings: KieSettings
) -> PageTokens:
    """Return the tokens of a page; lines without any are left out.

    Args:
        lines: the lines of the page.
        size: its height and width, in pixels.
        encode: the tokeniser.
        settings: how lines are ordered, and which box a token has.
    """
    ordered = top_down(lines) if settings.order_method == "tb-yx" else lines
    kept: list[Line] = []
    ids: list[int] = []
    boxes: list[tuple[int, int, int, int]] = []
    ends: list[int] = []
    for line in ordered:
        found = encode(line.text) if line.text else []
        if not found:
            continue
        box = upright_box(line)
        placed: Sequence[Sequence[float]] = [box] * len(found)
        if not settings.use_textline_bbox_info:
            by_word = _boxes_of_words(line.text, box, encode)
            placed = by_word if len(by_word) == len(found) else placed
        kept.append(line)
        ids += found
        boxes += [_in_thousandths(each, size) for each in placed]
        ends.append(len(ids))
    return PageTokens(tuple(kept), tuple(ids), tuple(boxes), tuple(ends))


def _boxes_of_words(
    text: str, box: tuple[int, int, int, int], encode: Encoder
) -> list[tuple[float, ...]]:
    """Return for each token the part of a line's box that its word's share of the text is."""
    left, top, right, bottom = box
    unit = (right - left) / len(text)
    start: float = left
    boxes: list[tuple[float, ...]] = []
    for word in text.split():
        part = (start, top, start + len(word) * unit, bottom)
        boxes += [part] * len(encode(word))
        start += (len(word) + 1) * unit
    return boxes


def _in_thousandths(box: Sequence[float], size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return a box in thousandths of the page, cut to it: the networks know no other places."""
    height, width = size
    left, top, right, bottom = (
        min(max(int(value * SCALE / side), 0), SCALE)
        for value, side in zip(box, (width, height, width, height), strict=True)
    )
    return left, top, max(left, right), max(top, bottom)


def network_inputs(
    page: PageTokens, start: int, end: int, padding: int, length: int | None = None
) -> dict[str, np.ndarray]:
    """Return the arrays of a part of a page, each `(1, T, ...) int64`.

    Args:
        page: the tokens.
        start, end: places of the first token and behind the last.
        padding: the token behind the last, where there is one.
        length: T, if the arrays are padded; PaddleOCR always pads. Padding is not seen.
    """
    ids, boxes = list(page.ids[start:end]), [list(box) for box in page.boxes[start:end]]
    used = len(ids)
    rest = max(0, (length or used) - used)
    return {
        "input_ids": np.array([ids + [padding] * rest], np.int64),
        "bbox": np.array([boxes + [[0, 0, 0, 0]] * rest], np.int64),
        "attention_mask": np.array([[1] * used + [0] * rest], np.int64),
        "token_type_ids": np.zeros((1, used + rest), np.int64),
    }


def windows(page: PageTokens, most: int) -> list[tuple[int, int]]:
    """Return the parts of a page that are read one after the other, each of at most `most` tokens.

    They begin with a line and overlap by about a quarter, so that every line is read with some of
    what stands before and behind it. A line is cut only where it is longer than a part.
    """
    total = len(page.ids)
    starts = [start for start, _ in page.spans]
    parts = [(0, min(most, total))]
    while parts[-1][1] < total:
        start, end = parts[-1]
        wanted = end - most // 4
        following = max([place for place in starts if start < place <= wanted], default=wanted)
        parts.append((following, min(following + most, total)))
    return parts


def nearest_window(parts: Sequence[tuple[int, int]], total: int) -> np.ndarray:
    """Return for each token the part in which it stands farthest from an end, `(total,)`.

    The ends of the page are no ends in that sense.
    """
    places = np.arange(total)
    margins = [
        np.where(
            (places >= start) & (places < end),
            np.minimum(
                places - start if start else total, end - 1 - places if end < total else total
            ),
            -1,
        )
        for start, end in parts
    ]
    return np.argmax(margins, 0)
