"""What goes into a conversion and what comes out of it: a request and an outcome."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from converter.catalog.cards import ModelCard

if TYPE_CHECKING:
    from converter.mapping.plan import Plan
    from converter.parity.report import ParityReport


@dataclass(frozen=True)
class Request:
    """One conversion as a user asks for it; the fields are the options of the command line.

    `fingerprint` (see `fingerprint.py`) goes into the artefact, for those who convert many models.
    """

    name: str
    paddle_dir: Path
    program_dir: Path | None = None
    out: Path | None = None
    config: Path | None = None
    dictionary: Path | None = None
    labels: Path | None = None
    submodel: str | None = None
    strip_dictionary: bool = False
    right_to_left: bool | None = None
    format: str | None = None
    fuse: bool = False
    reference: str = "auto"
    paddleocr: Path | None = None
    tolerance: float = 1e-4
    plan_only: bool = False
    fingerprint: str | None = None


@dataclass(frozen=True)
class Outcome:
    """The result of a conversion; `report` is None with `--reference none`.

    `warnings` are lines about values that are unusual in a trained network, about the dictionary,
    and about what was changed in the checkpoint.
    """

    card: ModelCard
    plan: Plan
    written: Path | None = None
    size: int = 0
    report: ParityReport | None = None
    warnings: tuple[str, ...] = ()


def proof_scope(reference: str, library: str = "Paddle") -> str:
    """Return in one sentence what a proof by this kind of reference covers, and what not.

    Args:
        reference: `program`, `network`, `recorded` or `none`.
        library: what ran the program or network.
    """
    if reference == "none":
        return "Nothing was compared with Paddle."
    if reference == "recorded":
        return (
            "Architecture and mapping were proved by the record of a network with seeded weights; "
            "these weights were not run in Paddle."
        )
    return f"These weights were run in {library} and in PyTorch."
