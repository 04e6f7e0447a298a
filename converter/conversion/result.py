"""The outcome of one model of a batch, or of one record: a row of the parity report."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

STATUSES = ("failed", "unverified", "passed")  # in the order in which they are shown


@dataclass(frozen=True)
class ModelResult:
    """The outcome of one model.

    Attributes:
        name: the released name, or a record's name.
        task: det, rec, cls, ...
        status: passed; failed, if it differs or an error stopped it; or unverified.
        reference: program, network, recorded or None.
        parity: `ParityReport.to_dict()`.
        counts: `Plan.counts()`.
        seconds: duration of the whole conversion.
        versions: versions of the software that took part.
        sources: SHA-256 of each file that was read.
        weights: file, format and sha256 of the artefact.
        error: message of the error that stopped it, or "".
        exit_code: exit code of the command line for it.
        fresh: False if it was up to date and not converted again.
        warnings: lines of the conversion about unusual values, the dictionary and the like; empty
            for a model that was up to date.
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
    warnings: tuple[str, ...] = ()

    @property
    def comparisons(self) -> Sequence[Mapping[str, Any]]:
        """The comparisons of the proof; empty without one."""
        return (self.parity or {}).get("comparisons", ())

    @property
    def difference(self) -> float | None:
        """The worst difference; infinite if it is not a number, None without a proof."""
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
