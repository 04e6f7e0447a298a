"""The comparison of an exported file with the network that it was made of."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from architectures.layers.global_pointer import NEVER
from converter.errors import ExportError
from converter.exporting.artefact import Artefact

LIMIT = 1e-4
"""Allowed max|difference| / max|result of the network|."""

Runner = Callable[[np.ndarray], Mapping[str, np.ndarray]]
"""Runs an exported network on images (N, C, H, W) float32, and returns its results by name."""


@dataclass(frozen=True)
class ExportProof:
    """How far an export is from the network.

    Attributes:
        difference: the largest max|difference| / max|result of the network|.
        shapes: the shapes of the images that were compared.
    """

    difference: float
    shapes: tuple[tuple[int, ...], ...]

    def describe(self) -> str:
        """Return the proof as a part of a sentence."""
        shapes = ", ".join("x".join(map(str, shape)) for shape in self.shapes)
        return f"worst difference {self.difference:.2e} of the maximum with images of {shapes}"


def prove(
    artefact: Artefact,
    run: Runner,
    batches: Sequence[np.ndarray],
    only: Collection[str] | None = None,
    reference: Runner | None = None,
) -> ExportProof:
    """Compare an export with the network on images.

    Args:
        artefact: the network.
        run: runs the export.
        batches: images, (N, C, H, W) float32.
        only: the results that the export has; None for all of the network's.
        reference: runs the network, where its results are not those that it returns.

    Raises:
        ExportError: a result is missing or differs by more than `LIMIT`, or the network's own
            result is constant, so that it proves nothing.
    """
    worst = 0.0
    for batch in batches:
        expected, actual = (reference or artefact.results)(batch), run(batch)
        for name in expected if only is None else only:
            result = expected[name]
            where = f"images of {'x'.join(map(str, batch.shape))}: its result {name}"
            if name not in actual:
                raise ExportError(
                    f"{artefact.path} with {where} is missing in the export; nothing was written"
                )
            gap, fault = difference(result, np.asarray(actual[name]))
            if fault:
                raise ExportError(f"{artefact.path} with {where} {fault}; nothing was written")
            worst = max(worst, gap)
    return ExportProof(worst, tuple(batch.shape for batch in batches))


def difference(expected: np.ndarray, actual: np.ndarray) -> tuple[float, str]:
    """Return the relative difference, and why the two do not agree, or an empty text."""
    if expected.shape != actual.shape:
        return np.inf, f"has the shape {expected.shape}, the export's {actual.shape}"
    if expected.dtype.kind == "f" and (fill := expected == NEVER).any():
        if not np.array_equal(fill, actual == NEVER):
            return np.inf, f"has {NEVER:g} for pairs that are never read, the export for others"
        expected, actual = expected[~fill], actual[~fill]
    if not np.isfinite(actual).all():
        return np.inf, "is finite, the export's is not"
    if expected.dtype.kind in "iub":
        unlike = int((expected != actual).sum())
        return float(unlike), f"differs in {unlike} of {expected.size} integers" if unlike else ""
    if expected.size > 1 and expected.min() == expected.max():
        return np.inf, "is constant, so that a comparison proves nothing"
    gap = np.abs(expected.astype(np.float64) - actual).max() / np.abs(expected).max()
    if gap > LIMIT:
        return gap, f"differs by {gap:.2e} of its maximum, limit {LIMIT:g}"
    return float(gap), ""
