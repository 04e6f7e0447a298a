"""The outcome of one model of a batch, or of one record: a row of the parity report."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

STATUSES = ("failed", "unverified", "passed")  # in the order in which they are shown


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
