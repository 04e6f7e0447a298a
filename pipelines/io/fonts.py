"""Rendering of text in any script, by Pillow and the fonts of the system."""

from __future__ import annotations

import contextlib
import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import cast

import numpy as np
from PIL import Image, ImageDraw, ImageFont

# File name and face index of common fonts, those with most characters first; Pillow searches
# the system's folders for them. The third face of Noto's collection is simplified Chinese.
FONTS = (
    ("NotoSansCJK-Regular.ttc", 2),
    ("SourceHanSansSC-Regular.otf", 0),
    ("wqy-zenhei.ttc", 0),
    ("wqy-microhei.ttc", 0),
    ("DroidSansFallbackFull.ttf", 0),
    ("msyh.ttc", 0),
    ("malgun.ttf", 0),
    ("PingFang.ttc", 0),
    ("Hiragino Sans GB.ttc", 0),
    ("AppleSDGothicNeo.ttc", 0),
    ("Arial Unicode.ttf", 0),
    ("DejaVuSans.ttf", 0),
    ("arial.ttf", 0),
    ("LiberationSans-Regular.ttf", 0),
    ("NotoSans-Regular.ttf", 0),
    ("NotoSansArabic-Regular.ttf", 0),
    ("NotoSansDevanagari-Regular.ttf", 0),
    ("NotoSansTamil-Regular.ttf", 0),
    ("NotoSansTelugu-Regular.ttf", 0),
    ("NotoSansKannada-Regular.ttf", 0),
    ("NotoSansThai-Regular.ttf", 0),
)
ADVICE = (
    "install a font that has them (Debian: fonts-noto-cjk, fonts-noto-core) or give --font FILE"
)
FILL = 0.85  # font size as a fraction of the height of a line
UNKNOWN = "\U0010ffff"  # not a character: every font shows its glyph for missing characters

Face = ImageFont.FreeTypeFont


class FontError(ValueError):
    """A file is not a font."""


class Typesetter:
    """Renders lines of text, each character in the first font that has it.

    Attributes:
        missing: the characters so far that no font has; they appear as the first font's glyph for
            missing characters.

    Args:
        font: a font file that precedes those of the system.

    Raises:
        FontError: the file is not a font.
    """

    def __init__(self, font: Path | None = None) -> None:
        self.missing: set[str] = set()
        self._faces = ([_open(font)] if font else []) + _system_fonts()
        self._choice: dict[str, int] = {}

    def set(self, text: str, width: int, height: int) -> np.ndarray:
        """Render a line of text as large as it fits.

        Args:
            text: the text, on one line.
            width: the available width in pixels.
            height: the available height in pixels.

        Returns:
            `(height, width) uint8`, coverage by ink, 0 to 255.
        """
        size = max(1.0, height * FILL)
        length = self._length(text, size)
        if length > width:
            size = max(1.0, size * width / length)
        mask = Image.new("L", (width, height))
        draw = ImageDraw.Draw(mask)
        # The middle of capitals and of Chinese characters is about a third of the font size above
        # the baseline.
        x, y = 0.0, height / 2 + size * 0.35
        for face, run in self._runs(text, size):
            draw.text((x, y), run, fill=255, font=face, anchor="ls")
            x += face.getlength(run)
        return np.asarray(mask)

    def _length(self, text: str, size: float) -> float:
        return sum(face.getlength(run) for face, run in self._runs(text, size))

    def _runs(self, text: str, size: float) -> Iterator[tuple[Face, str]]:
        """Split a text where the font changes; marks and spaces keep the font before them."""
        chosen: list[int] = []
        for character in text:
            joins = unicodedata.category(character)[0] in "MZC"
            chosen.append(chosen[-1] if joins and chosen else self._face_of(character))
        for index, run in groupby(range(len(text)), key=chosen.__getitem__):
            yield _at_size(self._faces[index], size), "".join(text[position] for position in run)

    def _face_of(self, character: str) -> int:
        """Return the index of the first font that has a character; 0 if none has."""
        if character not in self._choice:
            matches = (index for index, face in enumerate(self._faces) if _has(face, character))
            index = next(matches, None)
            if index is None:
                self.missing.add(character)
            self._choice[character] = index or 0
        return self._choice[character]


_PROBE = 16  # font size at which glyphs are compared


def _system_fonts() -> list[Face]:
    """Open the fonts of the system that exist, and the small one of Pillow as the last."""
    faces = []
    for name, face in FONTS:
        with contextlib.suppress(OSError):
            faces.append(ImageFont.truetype(name, _PROBE, index=face))
    return [*faces, cast(Face, ImageFont.load_default(_PROBE))]


def _open(file: Path) -> Face:
    try:
        return ImageFont.truetype(str(file), _PROBE)
    except OSError as error:
        raise FontError(f"{file} cannot be used as a font: {error}") from error


@lru_cache(maxsize=256)
def _at_size(face: Face, size: float) -> Face:
    return face.font_variant(size=size)


def _has(face: Face, character: str) -> bool:
    """Return whether a font has a glyph for a character, other than the one for missing ones."""
    return character.isspace() or _shape(face, character) != _shape(face, UNKNOWN)


@lru_cache(maxsize=4096)
def _shape(face: Face, character: str) -> bytes:
    mask = face.getmask(character, mode="L")
    return bytes(mask) + repr((mask.size, face.getlength(character))).encode()
