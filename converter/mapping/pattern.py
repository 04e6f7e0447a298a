"""Patterns over whole tensor names: the only way in which a mapping refers to tensors.

A name is a sequence of segments joined by dots. In a pattern `*` matches one segment, `{x}`
captures one, a final `**` matches the rest (one segment or more), and anything else matches itself.
There is no regular expression, no substring and no order: a pattern matches a whole name or not.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

REST = "**"
_CAPTURE = re.compile(r"\{([a-z_]+)\}")


@dataclass(frozen=True)
class Pattern:
    """One pattern, e.g. `head.layers.{n}.norm.*`.

    `words` lists, for some captures, the segments that match and our word for each.

    Raises:
        ValueError: an empty segment, a `**` that is not last, or a `*` or `{x}` that is only part
            of a segment.
    """

    text: str
    words: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = ()

    def __post_init__(self) -> None:
        for position, segment in enumerate(self.segments):
            if not segment:
                raise ValueError(f"pattern {self.text!r}: a segment is empty")
            if segment == REST and position != len(self.segments) - 1:
                raise ValueError(f"pattern {self.text!r}: `**` stands at the end")
            if segment in ("*", REST) or _CAPTURE.fullmatch(segment):
                continue
            if set(segment) & set("*{}"):
                raise ValueError(f"pattern {self.text!r}: `*` and `{{x}}` are whole segments")

    @cached_property
    def segments(self) -> tuple[str, ...]:
        """The pattern, split at its dots."""
        return tuple(self.text.split("."))

    @cached_property
    def start(self) -> str:
        """The text before the first capture or wildcard."""
        return re.split(r"[*{]", self.text, maxsplit=1)[0]

    def match(self, name: str) -> dict[str, str] | None:
        """Return the captured segments by name (`**` under that key), or None without a match."""
        if not name.startswith(self.start):  # nearly always, so it comes first
            return None
        parts = name.split(".")
        rest = self.segments[-1] == REST
        fixed = self.segments[:-1] if rest else self.segments
        if len(parts) <= len(fixed) if rest else len(parts) != len(fixed):
            return None
        captures: dict[str, str] = {}
        for segment, part in zip(fixed, parts, strict=False):
            if segment.startswith("{"):
                if captures.setdefault(segment[1:-1], part) != part:
                    return None
            elif segment not in ("*", part):
                return None
        for name, table in self.words:
            if captures[name] not in dict(table):
                return None
            captures[name] = dict(table)[captures[name]]
        if rest:
            captures[REST] = ".".join(parts[len(fixed) :])
        return captures


def expand(template: str, captures: Mapping[str, str]) -> str:
    """Write `template` with the captures of a match; here `{x}` may be part of a segment.

    >>> expand("{p}_l{l}", {"p": "weight_ih", "l": "0"})
    'weight_ih_l0'
    """
    text = _CAPTURE.sub(lambda match: captures[match[1]], template)
    if text.endswith("." + REST) or text == REST:
        text = text[: -len(REST)] + captures[REST]
    return text


def captures_of(template: str) -> set[str]:
    """Return the names that `expand` needs for `template`."""
    names = set(_CAPTURE.findall(template))
    return names | {REST} if template.endswith(REST) else names


def expand_over(template: str, over: Mapping[str, list[str]]) -> list[str]:
    """Write `template` once for every value of the one variable in `over`, in that order.

    >>> expand_over("attn.{qkv}_proj.{p}", {"qkv": ["q", "k"]})
    ['attn.q_proj.{p}', 'attn.k_proj.{p}']
    """
    texts = [template]
    for variable, values in over.items():
        texts = [text.replace("{" + variable + "}", value) for text in texts for value in values]
    return texts
