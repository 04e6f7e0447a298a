"""Finding out why a layer differs, by experiments with its own inputs and parameters.

Each experiment changes one thing in the subgraph of our network that begins at equal layers and
ends in the one that differs. A cause counts as proved if the change gives the reference's output.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain

import numpy as np
import torch
from torch import Tensor

from converter.diagnosis import op_experiments, weight_experiments
from converter.diagnosis.subgraph import Change, Subgraph, find_subgraph
from converter.parity.comparison import Comparison
from converter.parity.layerwise import FullTensor, Pair, SideBySide, Statistics, describe_difference

# Raised by PyTorch where a change does not apply because of axes, shapes or types.
_REFUSED = (RuntimeError, ValueError, TypeError, IndexError)
_PLENTY = 8  # values per channel from which on a fitted scale and shift are evidence


@dataclass(frozen=True)
class Row:
    """One line of the printed table: a layer in the reference and in our network.

    Attributes:
        name: name of our module.
        title: names of the layer on both sides.
        shape: shape of the reference's output.
        theirs: statistics of the reference's output.
        ours: statistics of our output; None if our network has no such layer.
        difference: max|difference| / max|reference|.
        limit: allowed difference.
        fault: why the comparison failed, or "".
    """

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
    """All layers, the first that differs, and why.

    Attributes:
        rows: the layers in order of execution.
        first: index of the first layer that differs; None if none does.
        difference: description of its difference, or "".
        cause: the likely cause, or "".
    """

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
    """Compare all layers and explain the first that differs.

    Args:
        sides: the layers of the reference and of our network.
        limit: limit of the logits; other layers have their slack on top.
        wrong: whether the network is known to be wrong. If no layer exceeds its slack then, the
            first that exceeds the limit of the logits is named.
        source: the tensors that `sides.network` should have, by name, if known.
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
    """Describe the first layer of a wrong network that differs, and the cause; "" if none does."""
    diagnosis = diagnose(sides, limit, wrong=True)
    return diagnosis.difference, diagnosis.cause


@dataclass(frozen=True)
class Cause:
    """Why a layer differs; `proved` if an experiment gave the reference's output."""

    text: str
    proved: bool = False


def explain(
    sides: SideBySide,
    pair: Pair,
    comparison: Comparison,
    source: Mapping[str, Tensor] | None = None,
) -> Cause:
    """Find the likely cause, with its evidence, or describe what was tried without success.

    Args:
        sides: the layers of the reference and of our network.
        pair: the first layer that differs.
        comparison: its comparison.
        source: the tensors that `sides.network` should have, by name, if known.
    """
    if pair.actual is None:
        return Cause("")
    piece = find_subgraph(sides, pair)
    if piece is None:
        return Cause("unknown: the subgraph of this layer cannot be run by itself")
    shape, limit, before = sides.batch.shape, comparison.limit, comparison.difference
    enough = min(limit, before / 10)
    tried, best = 0, (math.inf, "")
    network = dict(sides.network.named_parameters()) | dict(sides.network.named_buffers())
    unusable = weight_experiments.unusable(piece)
    experiments = chain(
        weight_experiments.from_source(piece, source or {}),
        () if unusable else weight_experiments.changes(piece, network),
        () if unusable else op_experiments.changes(piece, pair.settings),
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
        weight_experiments.notable(piece),
        f"from the last equal layers to this one there are: {path}",
    ]
    return Cause("; ".join(part for part in parts if part))


def _outputs(piece: Subgraph, changes: Iterator[Change]) -> Iterator[tuple[str, np.ndarray]]:
    """Yield for each change a text, with a placeholder for the evidence, and the output."""
    with torch.inference_mode():
        for change in changes:
            try:
                output = piece.run(change)
            except _REFUSED:
                continue
            yield _text(change.cause, change.remedy), output


def _per_channel(pair: Pair) -> Iterator[tuple[str, np.ndarray]]:
    """Yield our output with a shift, then also a scale, of each channel fitted to Paddle's."""
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
