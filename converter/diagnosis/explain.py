"""Why a layer differs: each cause that is known is tried on the layer's own inputs and tensors.

Nothing is guessed. An experiment changes one thing in the piece of our network that begins where
both sides agree and ends in the layer; the cause is what makes its output that of the reference.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain

import numpy as np
import torch
from torch import Tensor

from converter.diagnosis import op_experiments as operations
from converter.diagnosis import weight_experiments as tensors
from converter.diagnosis.subgraph import Change, Section, section
from converter.parity.comparison import Comparison
from converter.parity.layerwise import FullTensor, Pair, SideBySide, Statistics, describe_difference

# What PyTorch raises where a change does not apply: axes, shapes, types that do not fit.
_REFUSED = (RuntimeError, ValueError, TypeError, IndexError)
_PLENTY = 8  # places per channel from which on a scale and a shift are no mere fit


@dataclass(frozen=True)
class Row:
    """One layer of both sides, as it is printed; `ours` is None where we have no such layer."""

    name: str
    title: str
    shape: tuple[int, ...]
    theirs: Statistics
    ours: Statistics | None
    difference: float
    limit: float
    fault: str


@dataclass(frozen=True)
class Diagnosis:
    """Every layer in order, the place of the first that differs (or None), and why it does."""

    rows: tuple[Row, ...]
    first: int | None = None
    difference: str = ""
    cause: str = ""


def diagnose(
    sides: SideBySide,
    limit: float,
    *,
    wrong: bool = False,
    source: Mapping[str, Tensor] | None = None,
) -> Diagnosis:
    """Compare the layers of both sides and explain the first that differs.

    Args:
        sides: the layers.
        limit: what logits may differ by; the other layers have their slack.
        wrong: whether the network is known to be wrong; then, if no layer is beyond its slack, the
            first beyond the limit of the logits is named.
        source: what the tensors of `sides.network` should be, where that is known.
    """
    strict = sides.first(limit, slack=False) if wrong else None
    differing = sides.first(limit)
    cause = Cause("")
    if strict and (differing is None or strict[0] is not differing[0]):
        cause = explain(sides, *strict, source)
        if cause.proved or differing is None:
            differing = strict
    if differing and differing is not strict:
        cause = explain(sides, *differing, source)
    compared = sides.comparisons(limit, slack=differing is not strict or strict is None)
    rows = tuple(
        Row(
            pair.name,
            pair.title,
            pair.expected.shape,
            pair.expected.statistics,
            None if pair.actual is None else Statistics.of(pair.actual),
            found.difference,
            found.limit,
            found.fault,
        )
        for pair, found in zip(sides.pairs, compared, strict=True)
    )
    if differing is None:
        return Diagnosis(rows)
    pair, comparison = differing
    return Diagnosis(
        rows, sides.pairs.index(pair), describe_difference(pair, comparison), cause.text
    )


def first_difference(sides: SideBySide, limit: float) -> tuple[str, str]:
    """Say which layer of a wrong network is the first that differs, and why; empty if none is."""
    diagnosis = diagnose(sides, limit, wrong=True)
    return diagnosis.difference, diagnosis.cause


@dataclass(frozen=True)
class Cause:
    """Why a layer differs; `proved` where an experiment gave what the reference gives."""

    text: str
    proved: bool = False


def explain(
    sides: SideBySide, pair: Pair, found: Comparison, source: Mapping[str, Tensor] | None = None
) -> Cause:
    """Return the likely cause with its evidence, or what was tried in vain.

    Args:
        sides: the layers of both sides.
        pair: the first that differs.
        found: by how much it differs, and what it may.
        source: what the tensors of `sides.network` should be, where that is known.
    """
    if pair.actual is None:
        return Cause("")
    piece = section(sides, pair)
    if piece is None:
        return Cause("unknown: what leads to this layer cannot be run by itself")
    shape, limit, before = sides.batch.shape, found.limit, found.difference
    enough = min(limit, before / 10)
    tried, best = 0, (math.inf, "")
    network = dict(sides.network.named_parameters()) | dict(sides.network.named_buffers())
    unusable = tensors.unusable(piece)
    experiments = chain(
        tensors.from_source(piece, source or {}),
        () if unusable else tensors.changes(piece, network),
        () if unusable else operations.changes(piece, pair.settings),
    )
    for text, output in chain(_outputs(piece, experiments), _per_channel(pair)):
        tried += 1
        after = pair.expected.compare(pair.name, output, shape, limit).difference
        if after < best[0] / 2:  # of causes that explain the same, the first is the plainest
            best = after, text
        if after <= enough / 10:
            break
    after, text = best
    if after <= enough:
        change = f"the difference falls from {before:.1e} to {after:.1e}"
        evidence = change if math.isfinite(before) else f"the difference is {after:.1e}"
        return Cause(text.format(evidence), proved=True)
    if unusable:
        return Cause(unusable, proved=True)
    path = ", ".join(dict.fromkeys(call.name for call in piece.calls))
    parts = [
        f"unknown: none of {tried} experiments explains it",
        after < before / 2 and f"nearest came {after:.1e}: {text.format('').strip()}",
        tensors.notable(piece),
        f"from the last equal layers to this one there are: {path}",
    ]
    return Cause("; ".join(part for part in parts if part))


def _outputs(piece: Section, changes: Iterator[Change]) -> Iterator[tuple[str, np.ndarray]]:
    """Yield what each change gives, and a text with a place for its evidence."""
    with torch.inference_mode():
        for change in changes:
            try:
                output = piece.run(change)
            except _REFUSED:
                continue
            yield _text(change.cause, change.remedy), output


def _per_channel(pair: Pair) -> Iterator[tuple[str, np.ndarray]]:
    """Yield our output with a shift, then also a scale, for each channel, fitted to Paddle's."""
    if not isinstance(pair.expected, FullTensor) or pair.actual is None:
        return
    theirs, ours = pair.expected.array, pair.actual
    if theirs.shape != ours.shape or ours.ndim < 2 or not np.isfinite(ours).all():
        return
    axis = 1 if ours.ndim == 4 else ours.ndim - 1
    others = tuple(i for i in range(ours.ndim) if i != axis)
    places = ours.size // ours.shape[axis]
    centre = theirs.mean(others, keepdims=True), ours.mean(others, keepdims=True)
    if places > 1:
        shift = centre[0] - centre[1]
        remedy = f"a shift of each channel, {shift.min():.3g} to {shift.max():.3g},"
        yield _text("a bias is missing, or another", remedy), ours + shift
    if places >= _PLENTY:
        spread = ours - centre[1]
        power = (spread**2).sum(others, keepdims=True)
        scale = (spread * (theirs - centre[0])).sum(others, keepdims=True) / np.maximum(
            power, 1e-30
        )
        remedy = f"a shift and a scale of each channel, {scale.min():.3g} to {scale.max():.3g},"
        cause = "scale, bias or statistics of a normalisation are others"
        yield _text(cause, remedy), spread * scale + centre[0]


def _text(cause: str, remedy: str) -> str:
    escaped = f"{cause}: with {remedy}".replace("{", "{{").replace("}", "}}")
    return escaped + " {}"
