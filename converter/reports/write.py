"""Writing and reading the parity report: JSON for programs, Markdown for a CI summary, HTML.

`static/report.schema.json` describes the JSON. Names, messages and paths come from untrusted files,
so they are escaped in Markdown and HTML.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from converter import __version__
from converter.conversion.artefact import check_report_path, make_folder, write_json, write_text
from converter.conversion.result import STATUSES, ModelResult
from converter.errors import SourceError
from converter.parity.comparison import DECADES
from converter.reports.formatting import dropped, scientific, shortened, table, totals

FORMAT = 1
FILES = ("parity.json", "parity.md", "parity.html")

_OPTIONAL = (dict, type(None))
_TYPES: Mapping[str, Any] = {
    "name": str, "task": str, "status": str, "reference": (str, type(None)), "parity": _OPTIONAL,
    "counts": _OPTIONAL, "seconds": (int, float), "versions": dict, "sources": dict,
    "weights": _OPTIONAL, "error": str, "exit_code": int, "fresh": bool,
}  # fmt: skip


def write_report(folder: Path, results: Sequence[ModelResult], *, title: str) -> None:
    """Write parity.json, parity.md and parity.html into `folder`, each atomically.

    Failures come first, then unverified models, then passes; by name within each.

    Raises:
        OutputError: the folder cannot be made, or a file cannot be written.
    """
    from converter.reports.html import page  # Jinja is not needed by those who only read reports

    prepare(folder)
    ordered = sorted(results, key=lambda r: (STATUSES.index(r.status), r.name))
    created = datetime.now(timezone.utc).replace(microsecond=0)
    content = {
        "format": FORMAT,
        "title": title,
        "created": created.isoformat(),
        "converter": __version__,
        "summary": totals(ordered),
        "decades": list(DECADES),
        "models": [asdict(result) for result in ordered],
    }
    write_json(folder / FILES[0], content)
    write_text(folder / FILES[1], markdown(ordered, title))
    write_text(folder / FILES[2], page(ordered, title, created))


def prepare(folder: Path, files: Sequence[str] = FILES) -> None:
    """Make the folder of a report, so that an unwritable one is noticed before any work is done."""
    make_folder(folder, f"the folder {folder} of the report")
    for name in files:
        check_report_path(folder / name)


def read_report(file: Path) -> list[ModelResult]:
    """Read the results from a parity.json.

    Raises:
        SourceError: the file is missing, or no report of this format.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise SourceError(f"the report {file} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{file} is not a parity report, it is no JSON: {error}") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise SourceError(f"{file} is not a parity report of format {FORMAT}; write it anew")
    models = content.get("models")
    if not isinstance(models, list):
        raise SourceError(f"{file} is a parity report without a list of models; write it anew")
    return [_result(model, f"{file}, model {number}") for number, model in enumerate(models, 1)]


def markdown(results: Sequence[ModelResult], title: str) -> str:
    """Render the report as a Markdown table, with the messages of failures."""
    counted = totals(results)
    heads = [
        "Status",
        "Model",
        "Task",
        "Reference",
        "Worst difference",
        "Limit",
        "At",
        "Used",
        "Dropped",
        "Filled",
        "Time",
    ]
    if counted["failed"]:
        heads.append("Message")
    return table(title, "models", counted, heads, map(_row, results))


def _row(result: ModelResult) -> list[str]:
    counts = result.counts
    numbers = [counts.get("used", 0), dropped(counts), counts.get("filled", 0)] if counts else []
    return [
        {"passed": "✅", "failed": "❌", "unverified": "⚠️"}[result.status] + " " + result.status,
        result.name,
        result.task,
        result.reference or "–",
        scientific(result.difference),
        scientific(result.limit),
        (result.parity or {}).get("worst_probe") or "–",
        *(map(str, numbers) if counts else "–––"),
        f"{result.seconds:.1f} s" if result.fresh else "up to date",
        shortened(result.message, FILES[0]),
    ]


def _result(model: Any, where: str) -> ModelResult:
    if not isinstance(model, dict):
        raise SourceError(f"{where}: expected a mapping, found {type(model).__name__}")
    needed = {field.name for field in fields(ModelResult)}
    if model.keys() != needed:
        unlike = ", ".join(sorted(map(str, model.keys() ^ needed)))
        raise SourceError(f"{where}: missing or unknown: {unlike}; write the report anew")
    for key, types in _TYPES.items():
        if not isinstance(model[key], types) or (types is int and model[key] is True):
            raise SourceError(f"{where}: {key} is of type {type(model[key]).__name__}")
    if model["status"] not in STATUSES:
        raise SourceError(f"{where}: the status should be one of {', '.join(STATUSES)}")
    return ModelResult(**{**model, "warnings": tuple(map(str, model["warnings"]))})
