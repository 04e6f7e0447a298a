"""Results of conversions that never ran, for the tests of the report."""

from __future__ import annotations

import hashlib
import math

import numpy as np

from converter.conversion.result import ModelResult
from converter.parity.comparison import Comparison, compare
from converter.parity.report import ParityReport

SHAPES = ((1, 3, 640, 640), (1, 3, 736, 960))
VERSIONS = {"converter": "0.1.0", "python": "3.11.9", "numpy": "2.1.0", "torch": "2.13.0+cpu",
            "paddle": "3.3.1"}  # fmt: skip


def proof(rounding: float = 1e-7, fault: str = "") -> ParityReport:
    """Return what a proof finds where honest rounding is of this size."""
    logits = np.random.default_rng(0).normal(size=(2, 500)).astype(np.float32)
    found: list[Comparison] = []
    for shape in SHAPES:
        ours = logits + np.random.default_rng(1).normal(size=logits.shape) * rounding
        found += [
            compare("backbone (backbone.conv1)", logits, ours, input_shape=shape, limit=1e-3),
            compare("logits (head.fc)", logits, ours, input_shape=shape),
            Comparison("decisions (text)", shape, (2,), math.inf if fault else 0.0, 1.0, 1e-4, (),
                       fault),
        ]  # fmt: skip
    failed = any(comparison.fault for comparison in found)
    first = "backbone.conv1.bn: mean 0.1 in Paddle, 0.2 in PyTorch" if failed else ""
    return ParityReport("program", tuple(found), first, 1.25, VERSIONS)


def result(name: str, report: ParityReport | None = None, **changed) -> ModelResult:
    """Return what became of one model."""
    report = report or proof()
    values = {
        "name": name,
        "task": "rec" if "rec" in name else "det",
        "status": "passed" if report.passed else "failed",
        "reference": report.reference,
        "parity": report.to_dict(),
        "counts": {"used": 342, "second_names": 0, "filled": 1, "tied": 0,
                   "dropped": {"NRTR guide, run only in training": 55, "counter": 3}},
        "seconds": 4.5,
        "versions": VERSIONS,
        "sources": {"inference.pdiparams": sha256(name)},
        "weights": {"file": f"{name}.pth", "format": "pth", "sha256": sha256(name + "!")},
    }  # fmt: skip
    return ModelResult(**{**values, **changed})


def stopped(name: str, error: str, exit_code: int = 4) -> ModelResult:
    """Return a model that an error stopped before anything was compared."""
    return result(name, status="failed", reference=None, parity=None, counts=None, weights=None,
                  error=error, exit_code=exit_code)  # fmt: skip


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
