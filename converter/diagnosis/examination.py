"""The result of `diagnose`: the check as a conversion makes it, and every layer."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from converter.diagnosis.explain import Diagnosis
from converter.parity.comparison import finite
from converter.parity.report import ParityReport


@dataclass(frozen=True)
class Examination:
    """What was found: the check as a conversion makes it, and every layer."""

    name: str
    report: ParityReport
    diagnosis: Diagnosis

    @property
    def agrees(self) -> bool:
        """Whether the check passed and no layer differs."""
        return self.report.passed and self.diagnosis.first is None

    def to_dict(self) -> dict[str, Any]:
        """Return all of it, for JSON."""
        found = self.diagnosis
        return {
            "model": self.name,
            "agrees": self.agrees,
            "first": None if found.first is None else found.rows[found.first].name,
            "first_difference": found.told or None,
            "likely_cause": found.cause or None,
            "layers": [finite(asdict(row)) for row in found.rows],
            "check": self.report.to_dict(),
        }
