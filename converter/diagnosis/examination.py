"""The result of `diagnose`: the check as a conversion makes it, and every layer."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from converter.diagnosis.explain import Diagnosis
from converter.parity.comparison import finite
from converter.parity.report import ParityReport


@dataclass(frozen=True)
class Examination:
    """The result of examining a model.

    Attributes:
        name: name of the model.
        report: the check, as a conversion makes it.
        diagnosis: comparison of every layer.
    """

    name: str
    report: ParityReport
    diagnosis: Diagnosis

    @property
    def agrees(self) -> bool:
        """Whether the check passed and no layer differs."""
        return self.report.passed and self.diagnosis.first is None

    def to_dict(self) -> dict[str, Any]:
        """Return the result as JSON values."""
        diagnosis = self.diagnosis
        return {
            "model": self.name,
            "agrees": self.agrees,
            "first": None if diagnosis.first is None else diagnosis.rows[diagnosis.first].name,
            "first_difference": diagnosis.difference or None,
            "likely_cause": diagnosis.cause or None,
            "layers": [finite(asdict(row)) for row in diagnosis.rows],
            "check": self.report.to_dict(),
        }
