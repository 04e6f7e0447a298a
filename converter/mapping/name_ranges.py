"""Summaries of tensor names: names that differ in numbers alone take one line."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable


def summarize_names(rows: Iterable[tuple[str, str]]) -> list[str]:
    """Format rows of a name and a text; rows that differ in numbers alone share one line.

    >>> summarize_names([("layers.0.bias", "unfilled"), ("layers.1.bias", "unfilled")])
    ['  layers.{0..1}.bias  unfilled, 2 tensors']
    """
    groups: dict[tuple[str, str], list[tuple[str, str]]] = defaultdict(list)
    for name, text in rows:
        groups[re.sub(r"\d+", "#", name), re.sub(r"\d+", "#", text)].append((name, text))
    lines = []
    for members in groups.values():
        name, text = map(_merged, zip(*members, strict=True))
        if len(members) > 1:
            text = f"{text}, {len(members)} tensors" if text else f"{len(members)} tensors"
        lines.append(f"  {name}  {text}".rstrip())
    return lines


def _merged(texts: tuple[str, ...]) -> str:
    """Write texts that differ in numbers alone as one, with all values of each number."""
    words = re.split(r"\d+", texts[0])
    columns = zip(*(re.findall(r"\d+", text) for text in texts), strict=True)
    spans = [_span({int(number) for number in column}) for column in columns]
    return "".join(word + span for word, span in zip(words, [*spans, ""], strict=True))


def _span(numbers: set[int]) -> str:
    low, high = min(numbers), max(numbers)
    if len(numbers) == 1:
        return str(low)
    consecutive = len(numbers) == high - low + 1
    return f"{{{low}..{high}}}" if consecutive else "{" + ",".join(map(str, sorted(numbers))) + "}"
