"""The text layer of a PDF page, as the process of `pdf_worker.py` extracts it with pypdfium2.

Runs in that process: needs the standard library and pypdfium2 alone.
"""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pypdfium2

MAX_CHARACTERS = 100_000
"""Pages of more characters have no text layer that is used."""
WIDE_GAP = 1.5
"""A gap between characters that is wider than this parts a line, in heights of the line."""
PAGE_SIZED = 0.8
"""A picture that covers more than this share of a page is a scan of it."""
MOST_UNKNOWN = 0.05
"""A text layer with a larger share of characters that stand for nothing is not sound."""
_TURNED = 0.1  # in radians


def lines_of(page: pypdfium2.PdfPage) -> list[tuple[str, list[float]]]:
    """Return the lines of a page, in the order of the file.

    Returns:
        The text of each line, and its left, top, right and bottom as shares of the page.
    """
    from pypdfium2 import raw

    width, height = page.get_size()
    text = page.get_textpage()
    count = min(raw.FPDFText_CountChars(text), MAX_CHARACTERS + 1)
    lines: list[tuple[str, list[float]]] = []
    letters = ""
    box: list[float] | None = None
    for index in range(count if count <= MAX_CHARACTERS else 0):
        letter = chr(raw.FPDFText_GetUnicode(text, index))
        place = None if letter in "\r\n\ufffe" else _place(raw, text, index)
        apart = place is not None and box is not None and _is_apart(box, place)
        if (letter in "\r\n" or apart) and letters.strip() and box is not None:
            lines.append((letters.strip(), box))
        if letter in "\r\n" or apart:
            letters, box = "", None
        if letter in "\r\n":
            continue
        letters += "-" if letter == "\ufffe" else letter  # a hyphen at the end of a line
        if place is not None and not letter.isspace():
            box = place if box is None else _around(box, place)
    if letters.strip() and box is not None:
        lines.append((letters.strip(), box))
    left, bottom, *_ = page.get_cropbox()
    corner = [left, bottom, left, bottom]
    return [
        (
            line,
            _shares([side - start for side, start in zip(box, corner, strict=True)], width, height),
        )
        for line, box in lines
    ]


def _place(raw: Any, text: Any, index: int) -> list[float] | None:
    """Return left, bottom, right and top of a character in points; None without an extent."""
    sides = [ctypes.c_double() for _ in range(4)]
    left, right, bottom, top = sides
    if not raw.FPDFText_GetCharBox(text, index, left, right, bottom, top):
        return None
    if right.value <= left.value or top.value <= bottom.value:
        return None
    return [left.value, bottom.value, right.value, top.value]


def _is_apart(box: list[float], place: list[float]) -> bool:
    height = max(box[3] - box[1], place[3] - place[1])
    return place[0] - box[2] > WIDE_GAP * height or box[0] - place[2] > WIDE_GAP * height


def _around(box: list[float], place: list[float]) -> list[float]:
    low, high = map(min, box[:2], place[:2]), map(max, box[2:], place[2:])
    return [*low, *high]


def _shares(box: list[float], width: float, height: float) -> list[float]:
    left, bottom, right, top = box
    return [left / width, 1 - top / height, right / width, 1 - bottom / height]


def is_sound(page: pypdfium2.PdfPage, lines: list[tuple[str, list[float]]]) -> bool:
    """Return whether the text layer of a page is all that is to be read on it.

    It is not where there is none, where many characters stand for nothing, where most lines are
    turned, or where a picture covers the page: that is a scan, whose text another OCR has read.
    """
    from pypdfium2 import raw

    characters = "".join(line for line, _ in lines)
    unknown = sum(_is_unknown(letter) for letter in characters)
    if not characters or unknown > MOST_UNKNOWN * len(characters):
        return False
    if any(min(box) < -1 or max(box) > 2 for _, box in lines):
        return False
    if page.get_rotation():
        return False
    text = page.get_textpage()
    count = min(raw.FPDFText_CountChars(text), MAX_CHARACTERS)
    sampled = range(0, count, max(1, count // 100))
    turned = sum(abs(raw.FPDFText_GetCharAngle(text, index)) > _TURNED for index in sampled)
    return turned < len(sampled) / 2 and not _is_scan(page)


def _is_unknown(letter: str) -> bool:
    code = ord(letter)
    return code < 32 or letter == "\ufffd" or 0xE000 <= code < 0xF900


def _is_scan(page: pypdfium2.PdfPage) -> bool:
    """Return whether a picture covers a page."""
    from pypdfium2 import raw

    width, height = page.get_size()
    for image in page.get_objects(filter=[raw.FPDF_PAGEOBJ_IMAGE], max_depth=3):
        left, bottom, right, top = image.get_bounds()
        shown = (min(right, width) - max(left, 0)) * (min(top, height) - max(bottom, 0))
        if shown > PAGE_SIZED * width * height:
            return True
    return False
