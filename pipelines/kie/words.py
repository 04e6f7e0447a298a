"""Reading the texts of pages from JSON, where another program has found them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

MOST_BYTES = 2**28


class WordsError(ValueError):
    """A file does not hold the texts of pages."""


@dataclass(frozen=True, eq=False)
class GivenLine:
    """A text of a page.

    Attributes:
        box: `(N, 2) float32`, x and y in pixels of the page.
        text: the text.
    """

    box: np.ndarray
    text: str


def read_words(file: Path) -> list[list[GivenLine]]:
    """Read the texts of each page.

    Args:
        file: a JSON list of texts of one page, a list of such lists, or what `ocr --format json`
            writes. A text is `text` or, as PaddleOCR writes it, `transcription`; its place `box` or
            `points`, corners as `[x, y]`, or left, top, right and bottom.

    Raises:
        WordsError: the file cannot be read, or is something else; names the entry.
    """
    try:
        if file.stat().st_size > MOST_BYTES:
            raise WordsError(f"{file} has more than {MOST_BYTES} bytes")
        content = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise WordsError(f"cannot read {file}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise WordsError(f"{file} is not JSON: {error}") from error
    if isinstance(content, Mapping):
        pages = content.get("pages")
        if not isinstance(pages, list) or not all(isinstance(page, Mapping) for page in pages):
            raise WordsError(f"{file} has no pages, as `ocr --format json` writes them")
        content = [page.get("lines", []) for page in pages]
    if not isinstance(content, list):
        raise WordsError(f"{file} is no list of texts")
    if not content or isinstance(content[0], Mapping):
        content = [content]
    return [
        [_line(entry, f"{file}, page {page}, text {n}") for n, entry in enumerate(entries, 1)]
        for page, entries in enumerate(content, 1)
        if _is_list(entries, file)
    ]


def _is_list(entries: object, file: Path) -> bool:
    if not isinstance(entries, list):
        raise WordsError(f"{file}: a page is no list of texts")
    return True


def _line(entry: Any, where: str) -> GivenLine:
    """Return one text."""
    if not isinstance(entry, Mapping):
        raise WordsError(f"{where} is no mapping of text and box")
    text = entry.get("text", entry.get("transcription"))
    if not isinstance(text, str):
        raise WordsError(f"{where} has no text")
    try:
        corners = np.array(entry.get("box", entry.get("points", entry.get("bbox"))), np.float32)
    except (ValueError, TypeError) as error:
        raise WordsError(f"{where} has a box that is not made of numbers") from error
    if corners.shape == (4,):
        left, top, right, bottom = corners
        corners = np.array([[left, top], [right, top], [right, bottom], [left, bottom]])
    if corners.ndim != 2 or corners.shape[1] != 2 or len(corners) < 2:
        raise WordsError(f"{where}: its box has the shape {corners.shape}, expected corners (N, 2)")
    if not np.isfinite(corners).all():
        raise WordsError(f"{where}: its box holds numbers that are not finite")
    return GivenLine(corners.astype(np.float32), text)
