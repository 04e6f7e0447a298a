"""Messages on a terminal that quote names from files of strangers."""

from __future__ import annotations

import unicodedata

_ESCAPED = ("Cc", "Zl", "Zp")  # categories: control characters, separators of lines and paragraphs
_DIRECTIONS = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


def escape_controls(text: str) -> str:
    r"""Escape what could act on a terminal: control characters and changes of writing direction.

    Line feeds stay, since messages have several lines.

    >>> escape_controls("layer\x1b[2J\r of two\nlines")
    'layer\\x1b[2J\\r of two\nlines'
    """
    return "".join(repr(c)[1:-1] if _acts(c) else c for c in text)


def _acts(character: str) -> bool:
    if character in _DIRECTIONS:
        return True
    return character != "\n" and unicodedata.category(character) in _ESCAPED
