"""The parity report of many models: JSON for programs, Markdown for a CI summary, an HTML page.

`report.schema.json` beside this file describes the JSON. Names, messages and paths come from
strangers' files: the Markdown and the page show them as text, whatever they hold.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from converter import __version__
from converter.conversion.artefact import check_report_path, make_folder, write_json, write_text
from converter.errors import SourceError
from converter.parity.comparison import DECADES

FORMAT = 1
STATUSES = ("failed", "unverified", "passed")  # in the order in which they are shown
FILES = ("parity.json", "parity.md", "parity.html")

_OPTIONAL = (dict, type(None))
_TYPES: Mapping[str, Any] = {
    "name": str, "task": str, "status": str, "reference": (str, type(None)), "parity": _OPTIONAL,
    "counts": _OPTIONAL, "seconds": (int, float), "versions": dict, "sources": dict,
    "weights": _OPTIONAL, "error": str, "exit_code": int, "fresh": bool,
}  # fmt: skip
_MESSAGE_LINES, _MESSAGE_LENGTH = 12, 1200  # of a message in the Markdown; GitHub's limit is 1 MiB


@dataclass(frozen=True)
class ModelResult:
    """What became of one model.

    Args:
        name: the released name, or a record's name.
        task: det, rec, cls, ...
        status: passed; failed, where it differs or was stopped by an error; or unverified.
        reference: program, network, recorded or None.
        parity: `ParityReport.to_dict()`.
        counts: `Plan.counts()`.
        seconds: the time of the whole conversion.
        versions: of all that took part.
        sources: the SHA-256 of each file that was read.
        weights: file, format and sha256 of the artefact.
        error: the message that stopped it.
        exit_code: what the command line returns for that.
        fresh: False where it was up to date and not converted again.
    """

    name: str
    task: str
    status: str
    reference: str | None
    parity: Mapping[str, Any] | None
    counts: Mapping[str, Any] | None
    seconds: float
    versions: Mapping[str, str]
    sources: Mapping[str, str]
    weights: Mapping[str, str] | None
    error: str = ""
    exit_code: int = 0
    fresh: bool = True

    @property
    def comparisons(self) -> Sequence[Mapping[str, Any]]:
        """What was compared; empty without a proof."""
        return (self.parity or {}).get("comparisons", ())

    @property
    def difference(self) -> float | None:
        """The worst difference; infinite where there is no number for it, None without a proof."""
        if self.parity is None:
            return None
        worst = self.parity.get("worst_difference")
        return math.inf if worst is None else worst

    @property
    def limit(self) -> float | None:
        """The limit at the worst probe, or None."""
        probe = (self.parity or {}).get("worst_probe")
        found = [c for c in self.comparisons if c["probe"] == probe]
        return max(found, key=lambda c: bool(c.get("fault")))["limit"] if found else None

    @property
    def message(self) -> str:
        """Why the model failed, or ""."""
        if self.error or self.status != "failed":
            return self.error
        faults = [c["fault"] for c in self.comparisons if c.get("fault")]
        first = (self.parity or {}).get("first_difference")
        cause = (self.parity or {}).get("likely_cause")
        lines = faults[:1] + ([f"the first layer that differs is {first}"] if first else [])
        lines += [f"likely cause: {cause}"] if cause else []
        return "\n".join(lines) or "the comparison failed"


def write_report(folder: Path, results: Sequence[ModelResult], *, title: str) -> None:
    """Write parity.json, parity.md and parity.html into `folder`, each whole or not at all.

    Failures come first, then what is unverified, then what passed; by name within each.

    Raises:
        OutputError: the folder cannot be made, or a file cannot be written.
    """
    from converter.reports.html import page

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
    """Make the folder of a report, so that an impossible one ends before any work is done."""
    make_folder(folder, f"the folder {folder} of the report")
    for name in files:
        check_report_path(folder / name)


def read_report(file: Path) -> list[ModelResult]:
    """Return the results in a parity.json.

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


def totals(results: Sequence[Any], statuses: Sequence[str] = STATUSES) -> dict[str, int]:
    """Return how many results there are of each status."""
    counted = Counter(result.status for result in results)
    return {status: counted[status] for status in statuses}


def markdown(results: Sequence[ModelResult], title: str) -> str:
    """Return the report as a table, in the order given, with the messages of what failed."""
    counted = totals(results)
    heads = ["Status", "Model", "Task", "Reference", "Worst difference", "Limit", "At", "Used",
             "Dropped", "Filled", "Time"]  # fmt: skip
    if counted["failed"]:
        heads.append("Message")
    return table(title, "models", counted, heads, map(_row, results))


def table(
    title: str,
    things: str,
    counted: Mapping[str, int],
    heads: Sequence[str],
    rows: Iterable[Sequence[str]],
) -> str:
    """Return a Markdown page: title, how many `things` there are of each status, and a table.

    Cells beyond the heads are left out.
    """
    cells = [[cell(value) for value in row[: len(heads)]] for row in rows]
    said = ", ".join(f"{number} {status}" for status, number in counted.items() if number)
    lines = [
        f"# {cell(title)}",
        "",
        f"**{said or f'No {things}'}**"
        + (f" of {len(cells)} {things}" if counted["failed"] else ""),
        "",
        *(f"| {' | '.join(row)} |" for row in [heads, ["---"] * len(heads), *cells]),
    ]
    return "\n".join(lines) + "\n"


def scientific(value: float | None) -> str:
    """Return a small number for a person: 2.70e-6, 1e-4, ∞, or – for None."""
    if value is None:
        return "–"
    if not math.isfinite(value):
        return "∞"
    mantissa, exponent = f"{value:.2e}".split("e")
    return f"{mantissa.removesuffix('.00')}e{int(exponent)}" if value else "0"


def dropped(counts: Mapping[str, Any]) -> int:
    """Return how many tensors were dropped, for whatever reason."""
    return sum(counts.get("dropped", {}).values())


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
        shortened(result.message),
    ]


def shortened(message: str, file: str = FILES[0]) -> str:
    """Return the beginning of a message, and where all of it is."""
    lines = message.splitlines()
    kept = "\n".join(lines[:_MESSAGE_LINES])[:_MESSAGE_LENGTH]
    return kept if kept == "\n".join(lines) else f"{kept}\n… (all of it in {file})"


def cell(text: str) -> str:
    """Return text as Markdown that shows it as it is and stays in one cell."""
    lines = [re.sub(r"([\\`*_{}\[\]<>#|~&$!])", r"\\\1", line) for line in text.splitlines()]
    return "<br>".join(lines).strip()


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
    return ModelResult(**model)
