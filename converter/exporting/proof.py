"""The comparison of an exported file with the network that it was made of."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from architectures.layers.global_pointer import NEVER
from converter.errors import ExportError
from converter.exporting.artefact import Artefact
from converter.exporting.choices import Chooser, ForcedChoices
from converter.exporting.example_inputs import examples_of
from converter.parity.jitter import JITTER
from converter.parity.noise import measure

LIMIT = 1e-4
"""Allowed max|difference| / max|result of the network|."""
MOST_NOISE = 0.1
"""The largest noise, as a share of max|result|, with which a comparison proves something."""

Runner = Callable[[np.ndarray], Mapping[str, np.ndarray]]
"""Runs an exported network on a batch of its first input, and returns its results by name."""


@dataclass(frozen=True)
class ExportProof:
    """How far an export is from the network.

    Attributes:
        difference: the largest max|difference| / max|result of the network|.
        shapes: the shapes of the images that were compared, or of the tokens.
        noise: what was subtracted from it at most, `Comparison.noise`.
        choice: where the network had to go on with the positions that the export chose: how far
            their scores are from the greatest ones, `ForcedChoices.gap`.
        noun: what has these shapes, in messages.
    """

    difference: float
    shapes: tuple[tuple[int, ...], ...]
    noise: float = 0.0
    choice: float = 0.0
    noun: str = "images"

    def describe(self) -> str:
        """Return the proof as a part of a sentence."""
        shapes = ", ".join("x".join(map(str, shape)) for shape in self.shapes)
        text = f"worst difference {self.difference:.2e} of the maximum with {self.noun} of {shapes}"
        if self.noise:
            text += (
                f", beyond the {self.noise:.2e} that the network's own results change by when "
                f"values of the image change by {JITTER:g}"
            )
        if self.choice:
            text += (
                ", from the network that goes on with the positions which the export chose: their "
                f"scores are within {self.choice:.2e} of those that it would choose"
            )
        return text


@dataclass(frozen=True)
class Comparison:
    """How far a result of an export is from the network's.

    Attributes:
        difference: max|difference| / max|result of the network|, less the noise.
        noise: the part of the difference that rounding explains, since the network's own result
            changes as much with an image that differs by `JITTER`; 0 where the difference is within
            the limit without it.
        fault: why the two do not agree; empty if they do.
    """

    difference: float
    noise: float = 0.0
    fault: str = ""


def prove(
    artefact: Artefact,
    run: Runner,
    batches: Sequence[np.ndarray],
    only: Collection[str] | None = None,
    reference: Runner | None = None,
) -> ExportProof:
    """Compare an export with the network on its example inputs.

    Args:
        artefact: the network.
        run: runs the export.
        batches: images, (N, C, H, W) float32, or tokens, (N, T) int64.
        only: the results that the export has; None for all of the network's.
        reference: runs the network, where its results are not those that it returns.

    Raises:
        ExportError: a result is missing or differs by more than `LIMIT`, or the network's own
            result is constant, so that it proves nothing.
    """
    reference = reference or artefact.results
    worst = noise = 0.0
    noun = examples_of(artefact).noun
    for batch in batches:
        expected, actual = reference(batch), run(batch)
        for name in expected if only is None else only:
            result = expected[name]
            where = f"{noun} of {'x'.join(map(str, batch.shape))}: its result {name}"
            if name not in actual:
                raise ExportError(
                    f"{artefact.path} with {where} is missing in the export; nothing was written"
                )
            found = compare(artefact, reference, batch, name, result, np.asarray(actual[name]))
            if found.fault:
                raise ExportError(
                    f"{artefact.path} with {where} {found.fault}; nothing was written"
                )
            worst, noise = max(worst, found.difference), max(noise, found.noise)
    return ExportProof(worst, tuple(batch.shape for batch in batches), noise, noun=noun)


def prove_graph(
    artefact: Artefact, run: Runner, batches: Sequence[np.ndarray], chosen: Chooser | None = None
) -> ExportProof:
    """Compare a graph of a network with the network on images.

    A network that ranks positions goes on with those that the graph has chosen, since rounding
    decides between nearly equal scores. Their scores have to be the greatest within `LIMIT`.

    Args:
        artefact: the network.
        run: runs the graph.
        batches: images, (N, C, H, W) float32.
        chosen: tells which positions the graph chooses; None where that is unknown, and the network
            makes its own choice.

    Raises:
        ExportError: see `prove`; or the graph chooses positions of lower scores.
    """
    if chosen is None or not artefact.network.ranks:
        return prove(artefact, run, batches)
    gaps = [0.0]

    def reference(batch: np.ndarray) -> dict[str, np.ndarray]:
        with ForcedChoices(chosen(batch)) as forced:
            results = artefact.results(batch)
        gaps.append(forced.gap)
        if forced.gap > LIMIT:
            raise ExportError(
                f"{artefact.path} with images of {'x'.join(map(str, batch.shape))}: the export "
                f"chooses positions whose scores are {forced.gap:.2e} of the maximum from the "
                f"greatest, limit {LIMIT:g}; nothing was written"
            )
        return results

    return replace(prove(artefact, run, batches, reference=reference), choice=max(gaps))


def compare(
    artefact: Artefact,
    reference: Runner,
    batch: np.ndarray,
    name: str,
    expected: np.ndarray,
    actual: np.ndarray,
) -> Comparison:
    """Compare a result of an export with the network's.

    Where floats differ by more than `LIMIT`, the amplification of rounding errors is measured and
    subtracted: a network that samples an image at places that it computes, or chooses among scores
    that are nearly equal, turns the rounding of one program into another result.

    Args:
        artefact: the network.
        reference: runs the network.
        batch: the images, (N, C, H, W) float32.
        name: the name of the result.
        expected: the network's result for them.
        actual: that of the export.
    """
    gap, fault = difference(expected, actual)
    if not fault or not np.isfinite(gap) or expected.dtype.kind != "f":
        return Comparison(gap, fault=fault)

    def run(images: np.ndarray) -> dict[str, np.ndarray]:
        result = reference(images)[name]
        return {name: result if result.shape == expected.shape else expected}

    (noise,) = measure(artefact.network, run, batch, {name: expected}).values()
    largest = float(np.abs(expected).max())
    left = max(gap - noise.values / largest, 0.0)
    # Noise has no direction, so a mistake still shows in the mean or the standard deviation.
    moved = max(abs(actual.mean() - expected.mean()), abs(actual.std() - expected.std()))
    if max(left, (moved - noise.moments) / largest) > LIMIT:
        return Comparison(gap, fault=fault)
    if noise.values > MOST_NOISE * largest:
        share = noise.values / largest
        why = f"{fault}; rounding alone changes it by {share:.2e}, so that this proves nothing"
        return Comparison(gap, fault=why)
    return Comparison(left, gap - left)


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
