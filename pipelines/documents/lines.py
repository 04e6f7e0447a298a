"""The text of a block from its lines: their order, spaces, hyphens and paragraphs.

The rules are those of PaddleX 3, inference/pipelines/layout_parsing/layout_objects.py.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np

from pipelines.documents import labels
from pipelines.documents.rectangles import ACROSS, Rectangle, axis_of, enclosing, projected_overlap
from pipelines.documents.types import Box, Direction, Flow, Formula, Text

SAME_LINE = 0.6
"""Two spans are on one line if they share this of the lower one's height."""
TALL = 1.5
"""A box is that of vertical text if it is higher than its width times this."""
SHORT, SHORTER = 0.3, 0.5
"""A line that ends earlier than this share of the width, of text or of words, ends a paragraph."""
INDENTED = 0.4
"""A line that begins later than this share of the width begins a paragraph."""
LINE_GAP = 1.5
"""In heights of the line: the free space that ends one, and the indent that begins a paragraph."""
MANY, MOST = 0.5, 0.6
"""Where more lines than this share of a block end early, each line is a paragraph."""
NARROWEST = 1
"""Parts of a line next to a formula that are narrower are left out, in pixels."""
CLEAR = 1e-5
"""The parts keep this distance from the formula, in pixels."""
JOINING = frozenset(",，、;；:：-'\"“")
"""Characters after which a line does not end a paragraph."""
SEPARATORS = {labels.DOCUMENT_TITLE: " ", labels.CONTENT: "\n"}
"""Labels of blocks whose lines are joined without regard to paragraphs."""
BEGIN, END = "\ue000", "\ue001"
"""Stand around formulas while a text is put together; texts that were read have none."""
_FORMULA = re.compile(f"{BEGIN}(.*?){END}", re.DOTALL)
_LETTER, _DIGIT = re.compile("[A-Za-z]"), re.compile(r"\d")

ReadCrop = Callable[[np.ndarray], "tuple[str, float]"]
"""Reads an image `(H, W, 3) uint8` BGR of one line: its text and score."""


@dataclass(frozen=True, eq=False)
class Span:
    """A piece of a line, as the detector found it, or a formula in it.

    Attributes:
        box: `(4,)`, left, top, right and bottom.
        text: its text, or LaTeX.
        is_formula: whether it is a formula.
    """

    box: np.ndarray
    text: str
    is_formula: bool = False


@dataclass(eq=False)
class _Line:
    """The spans of one line.

    Attributes:
        spans: in the order of reading, once that is found.
        direction: of the line.
        ends_early: whether the paragraph seems to end with it.
    """

    spans: list[Span]
    direction: Direction
    ends_early: bool = False
    box: list[float] = field(init=False)

    def __post_init__(self) -> None:
        self.box = enclosing(span.box for span in self.spans)

    def add(self, span: Span) -> None:
        self.spans.append(span)
        self.box = enclosing([self.box, span.box])

    def extent(self, axis: int) -> float:
        return float(abs(self.box[axis + 2] - self.box[axis]))


@dataclass(frozen=True)
class _Frame:
    """Where the lines of a block begin and end, along their direction."""

    label: str
    start: float
    end: float

    @property
    def width(self) -> float:
        return self.end - self.start


def block_text(
    label: str,
    box: Box,
    spans: Sequence[Span],
    read: Callable[[np.ndarray], Span | None],
    *,
    own_spaces: bool = False,
) -> tuple[str, Flow]:
    """Return the text of a block, with `BEGIN` and `END` around formulas, and how its lines run.

    Args:
        label: of the block.
        box: of the block.
        spans: those in the block, in any order; there is at least one.
        read: reads a box `(4,)` of the page anew, where a formula parts a line; None if its score
            is too low.
        own_spaces: whether spaces come after all lines but Chinese ones, else after letters.
    """
    direction = _direction(spans)
    axis = axis_of(direction)
    lines = _without_outliers(_group(spans, direction), axis)
    boxes = [span.box for span in spans] if label == labels.REFERENCE else [box]
    frame = _Frame(label, min(b[axis] for b in boxes), max(b[axis + 2] for b in boxes))
    texts, ends = [], []
    widest = 0.0
    for line in lines:
        widest = max(widest, line.extent(axis))
        line.spans = _in_order(line, read)
        texts.append(_line_text(line, frame, widest))
        ends.append((line.spans[0].box[0], line.spans[-1].box[2]) if line.spans else None)
    flow = Flow(
        direction,
        len(lines),
        float(np.mean([line.extent(1 - axis) for line in lines])),
        float(np.mean([line.extent(axis) for line in lines])),
        None if ends[0] is None else float(ends[0][0]),
        None if ends[-1] is None or len(ends) == 1 else float(ends[-1][1]),
    )
    if label in SEPARATORS:
        return SEPARATORS[label].join(texts), flow
    if own_spaces:
        texts = _spaced(texts, lines)
    return _joined(texts, lines, frame, axis), flow


def to_text(marked: str) -> Text:
    """Return the text that a string with `BEGIN` and `END` around formulas stands for."""
    parts: list[str | Formula] = []
    for number, part in enumerate(_FORMULA.split(marked)):
        if number % 2:
            parts.append(Formula(part))
        elif part:
            parts.append(part)
    return Text(tuple(parts))


def without_marks(text: str) -> str:
    """Return a text that was read without the characters that mark formulas."""
    return text.replace(BEGIN, "").replace(END, "")


def _direction(spans: Sequence[Span]) -> Direction:
    """Return the direction of the lines of most spans."""
    sides = [span.box[2:] - span.box[:2] for span in spans if not span.is_formula]
    lying = sum(width * TALL >= height for width, height in sides)
    return "horizontal" if lying >= len(sides) * 0.5 else "vertical"


def _group(spans: Sequence[Span], direction: Direction) -> list[_Line]:
    """Group spans into lines: from the top, or vertical ones from the right."""
    if direction == "vertical":
        ordered = sorted(spans, key=lambda span: span.box[0], reverse=True)
    else:
        ordered = sorted(spans, key=lambda span: span.box[1])
    lines = [_Line([ordered[0]], direction)]
    across: Direction = ACROSS[direction]  # type: ignore[assignment]
    for span in ordered[1:]:
        overlap = projected_overlap(lines[-1].box, span.box, across, of_smaller=True)
        if overlap >= SAME_LINE:
            lines[-1].add(span)
        else:
            lines.append(_Line([span], direction))
    return lines


def _without_outliers(lines: list[_Line], axis: int) -> list[_Line]:
    """Leave out vertical lines that are much wider than the narrowest, if those are few."""
    if axis == 0:
        return lines
    widths = np.array([line.extent(0) for line in lines])
    limit = widths.min() * 1.1
    if widths.max() > widths.min() * 2 and (widths < limit).sum() < len(lines) * 0.4:
        return [line for line, width in zip(lines, widths, strict=True) if width <= limit]
    return lines


def _in_order(line: _Line, read: Callable[[np.ndarray], Span | None]) -> list[Span]:
    """Return the spans of a line in the order of reading, parted where formulas are in them."""
    axis = axis_of(line.direction)

    def key(span: Span) -> tuple[float, float]:
        return span.box[axis] // 2, span.box[1] if axis == 0 else -span.box[3]

    spans = sorted(line.spans, key=key)
    if not any(span.is_formula for span in spans):
        return spans
    parted, is_parted = _parted(spans, axis)
    if not is_parted:
        return spans
    parted.sort(key=lambda span: span.box[axis])
    anew = [span if span.is_formula else read(span.box) for span in parted]
    return [span for span in anew if span is not None]


def _parted(spans: Sequence[Span], axis: int) -> tuple[list[Span], bool]:
    """Cut each span at those behind it that lie within it; return also whether one was cut."""
    found, is_parted = [], False
    for index, span in enumerate(spans):
        rest = span.box.astype(np.float64)
        for other in spans[index + 1 :]:
            start, end = other.box[axis], other.box[axis + 2]
            if not (rest[axis] <= start and rest[axis + 2] >= end):
                continue
            before, after = start - rest[axis], rest[axis + 2] - end
            if before > NARROWEST:
                part = rest.copy()
                part[axis + 2] = start - CLEAR
                found.append(replace(span, box=part))
                is_parted = True
            if max(before, after) > NARROWEST:
                rest[axis] = end + CLEAR
        if rest[axis + 2] - rest[axis] > NARROWEST:
            found.append(replace(span, box=rest))
    return found, is_parted


def _line_text(line: _Line, frame: _Frame, widest: float) -> str:
    """Return the text of a line, with what separates it from the next one."""
    text = ""
    for span in line.spans:
        part = span.text
        if span.is_formula and frame.label != labels.FORMULA:
            part = f"{BEGIN}{part}{END}"
            part = part if len(line.spans) > 1 else f"\n{part}"
        text += part
        if span.is_formula or (part and _LETTER.fullmatch(text[-1])):
            text += " "
    text = text.removesuffix(" ")
    if not text:
        return ""
    axis = axis_of(line.direction)
    room = frame.end - line.spans[-1].box[axis + 2]
    last = text[-1]
    is_word, is_number = bool(_LETTER.fullmatch(last)), bool(_DIGIT.fullmatch(last))
    could_end = not (is_word or is_number or last in JOINING) or room > widest * SHORT
    limit = line.extent(1 - axis) * LINE_GAP
    indent = line.spans[0].box[1] - frame.start
    if could_end and (room > limit or (axis == 1 and indent > limit)):
        line.ends_early = True
    if text.endswith("-"):
        return text[:-1]
    if is_word or last == END:
        text += " "
    if not (is_word or is_number) or axis == 1:
        ends = room > widest * SHORT and last not in JOINING
    else:
        ends = room > frame.width * SHORTER
    if ends:
        line.ends_early = True
        return text + "\n"
    return text


def _spaced(texts: Sequence[str], lines: Sequence[_Line]) -> list[str]:
    """Put a space after each line before another one, unless one of both is as wide as Chinese."""
    spaced = list(texts)
    shown = [number for number, text in enumerate(texts) if text]
    for number, following in pairwise(shown):
        text = texts[number]
        is_split = lines[number].spans[-1].text.endswith("-") and not text.endswith("-")
        if is_split or text[-1].isspace() or texts[following][0].isspace():
            continue
        if not (_is_wide(text[-1]) or _is_wide(texts[following][0])):
            spaced[number] = text + " "
    return spaced


def _is_wide(character: str) -> bool:
    """Return whether a character belongs to a script whose lines are joined without a space."""
    return unicodedata.east_asian_width(character) in "WF"


def _joined(texts: Sequence[str], lines: Sequence[_Line], frame: _Frame, axis: int) -> str:
    """Join the texts of lines, with line ends between paragraphs."""
    content, last = "", ""
    after_short = False
    early = sum(line.ends_early for line in lines)
    for text, line in zip(texts, lines, strict=True):
        if not text:
            continue
        if after_short and not content.endswith("\n") and _is_indented(line, frame, axis, last):
            text = "\n" + text
        content += text
        last = text[-2] if len(text) > 2 and text.endswith(" ") else text[-1]
        is_open = text.endswith("\n") or last in JOINING or bool(_WORD.fullmatch(last))
        if (not is_open and early > len(texts) * MANY) or early > len(texts) * MOST:
            content += "\n"
        if frame.end - line.box[axis + 2] > frame.width * SHORT:
            after_short = True
    return content


_WORD = re.compile(r"[A-Za-z]|\d")


def _is_indented(line: _Line, frame: _Frame, axis: int, last: str) -> bool:
    """Return whether a line begins a paragraph, by its indent and the character before it."""
    indent = line.box[axis] - frame.start
    if indent > frame.width * INDENTED:
        return True
    return indent > line.extent(1 - axis) * LINE_GAP and not _WORD.fullmatch(last)


def crop_of(image: np.ndarray, box: Rectangle) -> np.ndarray:
    """Return the part `(h, w, 3)` of an image in a box, whose fractions are cut off."""
    left, top, right, bottom = (max(0, int(side)) for side in box)
    return image[top:bottom, left:right]
