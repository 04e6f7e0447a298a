"""The parity report of a proof, and the error for one that failed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from converter.errors import ParityError
from converter.parity.comparison import LIMIT, Comparison, finite

_NOTHING = Comparison("nothing", (), (), math.inf, 0.0, LIMIT, (), "the reference compared nothing")


@dataclass(frozen=True)
class ParityReport:
    """The outcome of a proof.

    Attributes:
        reference: kind of the reference: program, network, recorded or converted.
        comparisons: everything that was compared, for each input.
        first_difference: the first layer that differs; empty if none does or none was looked for.
        seconds: duration of the check.
        versions: versions of the software that took part, by name.
        likely_cause: why that layer differs, as far as experiments show.
    """

    reference: str
    comparisons: tuple[Comparison, ...]
    first_difference: str = ""
    seconds: float = 0.0
    versions: Mapping[str, str] = field(default_factory=dict)
    likely_cause: str = ""

    @property
    def passed(self) -> bool:
        """Whether anything was compared and nothing failed."""
        return bool(self.comparisons) and not any(c.fault for c in self.comparisons)

    @property
    def worst(self) -> Comparison:
        """The first comparison that failed, else the one nearest to its limit."""
        failed = [comparison for comparison in self.comparisons if comparison.fault]
        if failed:
            return failed[0]
        return max(self.comparisons, key=lambda c: c.difference / c.limit, default=_NOTHING)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as the artefact's JSON holds it."""
        return {
            "status": "passed" if self.passed else "failed",
            "reference": self.reference,
            "worst_difference": finite(self.worst.difference),
            "worst_probe": self.worst.probe,
            "first_difference": self.first_difference or None,
            "likely_cause": self.likely_cause or None,
            "seconds": round(self.seconds, 3),
            "versions": dict(self.versions),
            "comparisons": [finite(asdict(comparison)) for comparison in self.comparisons],
        }


def require(report: ParityReport) -> None:
    """Raise ParityError, whose message names the first layer that differs, unless it passed."""
    if report.passed:
        return
    if not report.comparisons:
        raise ParityError(report.worst.fault, report)
    worst = report.worst
    library = "ONNX Runtime" if "onnxruntime" in report.versions else "Paddle"
    lines = [
        f"{library} and PyTorch disagree at {worst.probe} for an input of {worst.input_shape}: "
        f"{worst.fault}",
        report.first_difference and f"the first layer that differs is {report.first_difference}",
        report.likely_cause and f"likely cause: {report.likely_cause}",
        "Nothing was written. `python -m converter diagnose`, with the same options, shows more.",
    ]
    raise ParityError("\n".join(line for line in lines if line), report)
