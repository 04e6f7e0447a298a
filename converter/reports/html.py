"""Rendering the parity report as one self-contained HTML page.

Jinja escapes every value. As a second defence the page's content security policy forbids requests,
and all scripts and styles but the two in the page, which it identifies by their hashes.
"""

from __future__ import annotations

import base64
import hashlib
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from converter import __version__
from converter.conversion.result import STATUSES, ModelResult
from converter.parity.comparison import DECADES, LIMIT
from converter.reports.formatting import dropped, duration, scientific, shape, sort_key, totals

FOLDER = Path(__file__).parent / "static"
BINS = len(DECADES) + 1
BAR, HEIGHT = 8, 20  # width of a bin and height of the highest bar of a histogram, in pixels


class Column(NamedTuple):
    """A column of the table.

    Attributes:
        head: its heading.
        key: its key in a row.
        kind: `text` or `number`, by which it is sorted.
        title: explanation of the heading.
    """

    head: str
    key: str
    kind: str = "text"
    title: str = ""


COLUMNS = (
    Column("Model", "name"),
    Column("Status", "status", "number"),
    Column("Task", "task"),
    Column("Worst", "difference", "number", "largest difference, of the reference's maximum"),
    Column("Limit", "limit", "number"),
    Column(
        "Differences",
        "histogram",
        "number",
        "elements of the logits by their difference, "
        "below 1e-9 to above 1e-1, one bar a decade, logarithmic; the line is the limit",
    ),
    Column("Worst probe", "probe"),
    Column("First layer over limit", "first"),
    Column("Reference", "reference", "text", "what it was compared with"),
    Column("Inputs", "inputs", "number", "shapes of the inputs; sorted by size"),
    Column("Used", "used", "number", "tensors used"),
    Column("Dropped", "dropped", "number", "tensors dropped for a written reason"),
    Column("Filled", "filled", "number", "tensors filled with a constant"),
    Column("Time", "seconds", "number", "the whole conversion"),
    Column("Versions", "versions"),
    Column("Hash", "hash", "text", "SHA-256 of the weights, or of the first source"),
)


def page(results: Sequence[ModelResult], title: str, created: datetime) -> str:
    """Render the page, with rows in the order of `results`."""
    passed = [r.difference for r in results if r.status == "passed" and r.difference is not None]
    return render(
        FOLDER / "report.html",
        things="models",
        title=title,
        created=created,
        columns=COLUMNS,
        statuses=STATUSES,
        totals=totals(results),
        worst=max(passed, default=None),
        seconds=duration(sum(result.seconds for result in results if result.fresh)),
        versions=_common([result.versions for result in results]),
        rows=[_row(result, STATUSES.index(result.status)) for result in results],
    )


def render(template: Path, **content: Any) -> str:
    """Render `template`, which extends `report_frame.html`, with all values escaped."""
    environment = Environment(
        loader=FileSystemLoader([template.parent, FOLDER], encoding="utf-8"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"scientific": scientific, "shape": shape}
    style, script = ((FOLDER / f"report.{kind}").read_text("utf-8") for kind in ("css", "js"))
    return environment.get_template(template.name).render(
        converter=__version__,
        style=style,
        script=script,
        style_hash=_hash(style),
        script_hash=_hash(script),
        infinity=math.inf,
        **content,
    )


def _row(result: ModelResult, rank: int) -> dict[str, Any]:
    """Return the template's values for one model; `sort` holds the sort keys of its columns."""
    parity, counts = result.parity or {}, result.counts
    inputs = list(dict.fromkeys(tuple(c["input_shape"]) for c in result.comparisons))
    histogram = _histogram(*_of_logits(result))
    first = parity.get("first_difference")
    used, gone, filled = (
        (counts.get("used"), dropped(counts), counts.get("filled")) if counts else (None,) * 3
    )
    return {
        "result": result,
        "probe": parity.get("worst_probe"),
        "first": first and first.partition(": ")[0],
        "first_difference": first,
        "inputs": inputs,
        "histogram": histogram,
        "counts": {"used": used, "dropped": gone, "filled": filled},
        "reasons": (counts or {}).get("dropped", {}),
        "time": duration(result.seconds),
        "versions": ", ".join(
            f"{name} {result.versions[name]}"
            for name in ("paddle", "torch")
            if name in result.versions
        ),
        "hash": (result.weights or {}).get("sha256") or next(iter(result.sources.values()), None),
        "probes": [(c, _histogram(c.get("histogram", ()), c["limit"])) for c in result.comparisons],
        "sort": {
            "status": str(rank),
            "difference": sort_key(result.difference),
            "limit": sort_key(result.limit),
            "histogram": sort_key(histogram["rank"] if histogram else None),
            "inputs": sort_key(max(map(math.prod, inputs), default=None)),
            "used": sort_key(used),
            "dropped": sort_key(gone),
            "filled": sort_key(filled),
            "seconds": sort_key(result.seconds),
        },
    }


def _of_logits(result: ModelResult) -> tuple[Sequence[int], float]:
    """Add up the histograms of the logits, else of the outputs; return the sum and the limit."""
    counted = [c for c in result.comparisons if c.get("histogram")]
    logits = [c for c in counted if c["probe"].startswith("logits")]
    chosen = logits or [c for c in counted if c["probe"].startswith(("out", "Student"))] or counted
    sums = [sum(column) for column in zip_longest(*(c["histogram"] for c in chosen), fillvalue=0)]
    return sums, min((c["limit"] for c in chosen), default=LIMIT)


def _histogram(counts: Sequence[int], limit: float) -> dict[str, Any] | None:
    """Draw a histogram as two SVG paths, within the limit and over it; None without counts.

    Heights are logarithmic, so that one element over the limit among millions is visible.
    """
    if len(counts) != BINS or not any(counts):
        return None
    last = max(place for place, count in enumerate(counts) if count)
    paths = {"within": "", "over": ""}
    for place, count in enumerate(counts):
        if count:
            side = "over" if place and DECADES[place - 1] >= limit * (1 - 1e-9) else "within"
            height = 2 + (HEIGHT - 2) * math.log1p(count) / math.log1p(max(counts))
            left = place * BAR
            paths[side] += f"M{left} {HEIGHT}v-{height:.1f}h{BAR - 1}v{height:.1f}z"
    most = _decade(counts.index(max(counts)))
    return {
        **paths,
        "line": round(min(max((math.log10(limit) + BINS) * BAR, 0), BINS * BAR) - 0.5, 1),
        "label": f"{sum(counts):,} elements, most {most}, the largest {_decade(last)}",
        "rank": last + counts[last] / sum(counts),
    }


def _decade(place: int) -> str:
    if place == 0:
        return "below 1e-9"
    return f"1e{place - BINS} to 1e{place - BINS + 1}" if place < BINS - 1 else "above 1e-1"


def _common(versions: Sequence[Mapping[str, str]]) -> list[tuple[str, str]]:
    """Return for each software the versions that took part, the most common first."""
    names = sorted({name for each in versions for name in each})
    return [
        (
            name,
            ", ".join(v for v, _ in Counter(e[name] for e in versions if name in e).most_common()),
        )
        for name in names
    ]


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
