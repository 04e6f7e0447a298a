"""The outcome of a record as a row of the parity report."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from converter.conversion.result import ModelResult
from converter.conversion.versions import versions
from converter.diagnosis.records import Verified
from converter.errors import ConverterError, ParityError


def result_of(verified: Verified) -> ModelResult:
    """Return the row of a record that was compared, or could not be."""
    folder, result, record = verified.folder, verified.result, verified.record
    parity, error, exit_code = None, "", 0
    paddle = record.facts.paddle if record else None
    if isinstance(result, ConverterError):
        error, exit_code = str(result), result.exit_code
    else:
        parity, exit_code = result.to_dict(), 0 if result.passed else ParityError.exit_code
    return ModelResult(
        name=folder.name,
        task=(record.facts.model_type or "") if record else folder.name.partition("__")[0],
        status="failed" if exit_code else "passed",
        reference="recorded",
        parity=parity,
        counts=_total([plan.counts() for plan in verified.plans]),
        seconds=round(verified.seconds, 3),
        versions=versions({"paddle": paddle} if paddle else None),
        sources={
            file.name: hashlib.sha256(file.read_bytes()).hexdigest()
            for file in (folder / "reference.json", folder / "outputs.npz")
            if file.is_file()
        },
        weights=None,
        error=error,
        exit_code=exit_code,
    )


def _total(counts: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Add up the counts of all networks of a record; None without networks."""
    if not counts:
        return None
    dropped: Counter[str] = Counter()
    for each in counts:
        dropped.update(each["dropped"])
    numbers = {key: sum(each[key] for each in counts) for key in counts[0] if key != "dropped"}
    return {**numbers, "dropped": dict(dropped)}
