"""Formatting numbers, messages and Markdown tables for the reports."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from converter.conversion.result import STATUSES

_MESSAGE_LINES, _MESSAGE_LENGTH = 12, 1200  # of a message in the Markdown; GitHub's limit is 1 MiB


def totals(results: Sequence[Any], statuses: Sequence[str] = STATUSES) -> dict[str, int]:
    """Count the results of each status."""
    counted = Counter(result.status for result in results)
    return {status: counted[status] for status in statuses}


def dropped(counts: Mapping[str, Any]) -> int:
    """Count the dropped tensors over all reasons."""
    return sum(counts.get("dropped", {}).values())


def scientific(value: float | None) -> str:
    """Format a small number: 2.70e-6, 1e-4, ∞, or – for None."""
    if value is None:
        return "–"
    if not math.isfinite(value):
        return "∞"
    mantissa, exponent = f"{value:.2e}".split("e")
    return f"{mantissa.removesuffix('.00')}e{int(exponent)}" if value else "0"


def duration(seconds: float) -> str:
    """Format a duration: 2.5 s, 2 min 05 s, 1 h 02 min."""
    if seconds < 100:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"


def shape(sizes: Sequence[int]) -> str:
    """Return the sizes of an array as `1×3×48×320`."""
    return "×".join(map(str, sizes)) or "scalar"


def sort_key(value: float | None) -> str:
    """Format a number for the page's script; None becomes "", which is sorted last."""
    return "" if value is None else repr(value).replace("inf", "Infinity")


def table(
    title: str,
    things: str,
    counted: Mapping[str, int],
    heads: Sequence[str],
    rows: Iterable[Sequence[str]],
) -> str:
    """Render a Markdown page: title, number of `things` of each status, and a table.

    Args:
        title: title of the page.
        things: what the rows are, in the plural.
        counted: number of rows of each status.
        heads: headings; cells beyond them are left out.
        rows: cells of each row.
    """
    cells = [[cell(value) for value in row[: len(heads)]] for row in rows]
    summary = ", ".join(f"{number} {status}" for status, number in counted.items() if number)
    lines = [
        f"# {cell(title)}",
        "",
        f"**{summary or f'No {things}'}**"
        + (f" of {len(cells)} {things}" if counted["failed"] else ""),
        "",
        *(f"| {' | '.join(row)} |" for row in [heads, ["---"] * len(heads), *cells]),
    ]
    return "\n".join(lines) + "\n"


def cell(text: str) -> str:
    """Escape text for one cell of a Markdown table."""
    lines = [re.sub(r"([\\`*_{}\[\]<>#|~&$!])", r"\\\1", line) for line in text.splitlines()]
    return "<br>".join(lines).strip()


def shortened(message: str, file: str) -> str:
    """Shorten a message, naming the file that holds all of it."""
    lines = message.splitlines()
    kept = "\n".join(lines[:_MESSAGE_LINES])[:_MESSAGE_LENGTH]
    return kept if kept == "\n".join(lines) else f"{kept}\n… (all of it in {file})"
