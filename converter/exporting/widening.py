"""A recogniser with more classes, compared with the old one before it is written."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

import architectures
from architectures.widening import widen_ctc
from converter.errors import ExportError, UsageError
from converter.exporting.artefact import Artefact
from converter.exporting.proof import ExportProof, prove


def widen(
    artefact: Artefact, places: Sequence[int | None]
) -> tuple[architectures.Model, ExportProof]:
    """Return a recogniser with more classes, and the comparison of the old ones.

    Args:
        artefact: the recogniser.
        places: for each class, the blank first, its old number, or None where it is new.

    Raises:
        UsageError: the network has no CTC head.
        ExportError: the old classes are not scored as before.
    """
    try:
        widened = widen_ctc(artefact.network, places)
    except ValueError as error:
        raise UsageError(f"{artefact.path}: {error}") from error
    numbers = [(new, old) for new, old in enumerate(places) if old is not None]
    kept = [new for new, _ in sorted(numbers, key=lambda pair: pair[1])]

    def run(batch: np.ndarray) -> dict[str, np.ndarray]:
        """Return what the new network makes of images, the new classes left out."""
        with torch.inference_mode():
            scores = widened(torch.from_numpy(batch)).numpy()
        old = scores[..., kept]
        if (scores.argmax(-1) != np.asarray(kept)[old.argmax(-1)]).any():
            raise ExportError(
                f"a new class of {artefact.path} would be read before it is trained; nothing was "
                "written"
            )
        return {"output": old / old.sum(-1, keepdims=True)}

    return widened, prove(artefact, run, artefact.inputs())
