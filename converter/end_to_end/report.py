"""The report of pages read with both runtimes: prove.json, prove.md and prove.html.

It has the layout of the parity report; `static/prove.schema.json` describes the JSON. Texts, names
and messages come from untrusted files, so they are escaped in Markdown and HTML.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from converter import __version__
from converter.conversion.artefact import write_json, write_text
from converter.end_to_end.compare import Limits
from converter.end_to_end.pages import STATUSES, PageResult
from converter.reports.formatting import (
    duration,
    scientific,
    shortened,
    sort_key,
    table,
    totals,
)
from converter.reports.html import Column, render

FORMAT = 1
FILES = ("prove.json", "prove.md", "prove.html")
TITLE = "Pages read with Paddle and with PyTorch"

_MARKS = {"passed": "✅", "failed": "❌", "unreadable": "⚠️"}
_FOLDER = Path(__file__).parent / "static"

COLUMNS = (
    Column("Page", "name"),
    Column("Status", "status", "number"),
    Column(
        "Lines",
        "lines",
        "number",
        "lines, regions, cells or tiles; where they differ, in Paddle and in PyTorch",
    ),
    Column(
        "Corners",
        "distance",
        "number",
        "largest distance of two corners, in pixels, of the lines that both sides have",
    ),
    Column("Scores", "scores", "number", "largest difference of two scores of a line"),
    Column("Texts", "texts", "number", "lines whose texts differ, or that one side alone has"),
    Column("Pixels", "pixels", "number", "width and height"),
    Column("Time", "seconds", "number", "of both readings"),
)


def write_report(
    folder: Path,
    results: Sequence[PageResult],
    *,
    limits: Limits,
    models: Mapping[str, Any],
    versions: Mapping[str, str],
) -> None:
    """Write the three files into `folder`, each atomically.

    Failures come first, then unreadable pages, then passes; within each in the order of the pages.

    Args:
        folder: an existing folder.
        results: the outcomes of all pages.
        limits: the allowed differences.
        models: description of the models by task, for the JSON.
        versions: versions of the software that took part.

    Raises:
        OutputError: a file cannot be written.
    """
    ordered = sorted(results, key=lambda result: STATUSES.index(result.status))
    created = datetime.now(timezone.utc).replace(microsecond=0)
    content = {
        "format": FORMAT,
        "title": TITLE,
        "created": created.isoformat(),
        "converter": __version__,
        "versions": dict(versions),
        "limits": asdict(limits),
        "models": dict(models),
        "summary": totals(ordered, STATUSES),
        "pages": [_described(result) for result in ordered],
    }
    write_json(folder / FILES[0], content)
    write_text(folder / FILES[1], markdown(ordered))
    write_text(folder / FILES[2], page(ordered, created, limits, versions))


def markdown(results: Sequence[PageResult]) -> str:
    """Render the report as a Markdown table, with the messages of failures."""
    counted = totals(results, STATUSES)
    heads = ["Status", "Page", "Lines", "Corners, px", "Scores", "Texts", "Time"]
    if counted["failed"] or counted["unreadable"]:
        heads.append("Message")
    rows = (
        [
            f"{_MARKS[result.status]} {result.status}",
            result.name,
            _lines(result),
            "–" if result.distance is None else f"{result.distance:.2f}",
            scientific(result.score_difference),
            "–" if result.lines is None else str(_texts(result)),
            f"{result.seconds:.1f} s",
            shortened("\n".join(filter(None, (result.message, result.edge))), FILES[0]),
        ]
        for result in results
    )
    return table(TITLE, "pages", counted, heads, rows)


def page(
    results: Sequence[PageResult], created: datetime, limits: Limits, versions: Mapping[str, str]
) -> str:
    """Render the report as an HTML page, with rows in the order of `results`."""
    passed = [result for result in results if result.status == "passed"]
    return render(
        _FOLDER / "prove.html",
        things="pages",
        title=TITLE,
        created=created,
        columns=COLUMNS,
        statuses=STATUSES,
        totals=totals(results, STATUSES),
        limits=limits,
        lines=sum(result.lines[0] for result in results if result.lines),
        distance=max((r.distance for r in passed if r.distance is not None), default=None),
        score_difference=max(
            (r.score_difference for r in passed if r.score_difference is not None), default=None
        ),
        seconds=duration(sum(result.seconds for result in results)),
        versions=list(versions.items()),
        rows=[_row(result, limits) for result in results],
    )


def _row(result: PageResult, limits: Limits) -> dict[str, Any]:
    """Return the template's values for one page; `sort` holds the sort keys of its columns."""
    texts = None if result.lines is None else _texts(result)
    return {
        "result": result,
        "lines": _lines(result),
        "texts": texts,
        "picture": base64.b64encode(result.picture).decode(),
        "time": duration(result.seconds),
        "over": {
            "distance": result.distance is not None and result.distance > limits.pixels,
            "scores": result.score_difference is not None
            and result.score_difference > limits.score,
        },
        "sort": {
            "status": str(STATUSES.index(result.status)),
            "lines": sort_key(result.lines and result.lines[0]),
            "distance": sort_key(result.distance),
            "scores": sort_key(result.score_difference),
            "texts": sort_key(texts),
            "pixels": sort_key(result.size and math.prod(result.size)),
            "seconds": sort_key(result.seconds),
        },
    }


def _described(result: PageResult) -> dict[str, Any]:
    """Return a page as JSON values, without its picture."""
    values = asdict(result)
    del values["picture"], values["thing"]
    if result.lines is not None:
        values["lines"] = dict(zip(("paddle", "torch"), result.lines, strict=True))
    return values


def _lines(result: PageResult) -> str:
    return "–" if result.lines is None else " / ".join(map(str, dict.fromkeys(result.lines)))


def _texts(result: PageResult) -> int:
    """Count the lines whose texts differ or that only one pipeline has."""
    pairs = ((line["paddle"], line["torch"]) for line in result.differing)
    return sum(not (a and b and a["text"] == b["text"]) for a, b in pairs)
