"""Both sides' layers in the order in which they run, and the first that differs.

Every reference gives its layers in this form; what is looked for in them is written once, here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from architectures import Model
from converter.parity.comparison import Comparison, compare
from converter.parity.noise import Noise

if TYPE_CHECKING:
    from torch import Tensor

Run = Callable[[Model, "Tensor"], Any]  # a network and its image to the results


@dataclass(frozen=True)
class Statistics:
    """Mean, standard deviation and largest magnitude of an array."""

    mean: float
    std: float
    largest: float

    @classmethod
    def of(cls, array: np.ndarray) -> Statistics:
        """Return those of an array, of any shape but an empty one."""
        return cls(float(array.mean()), float(array.std()), float(np.abs(array).max()))

    def __str__(self) -> str:
        return f"mean {self.mean:.6g}, std {self.std:.6g}, max {self.largest:.6g}"


class ExpectedTensor(Protocol):
    """What a reference knows of the output of one layer."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape."""
        ...

    @property
    def statistics(self) -> Statistics:
        """Its statistics."""
        ...

    def compare(
        self, name: str, actual: np.ndarray, input_shape: tuple[int, ...], limit: float
    ) -> Comparison:
        """Compare our output with it."""
        ...


@dataclass(frozen=True)
class FullTensor:
    """All of an output."""

    array: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape."""
        return self.array.shape

    @property
    def statistics(self) -> Statistics:
        """Its statistics."""
        return Statistics.of(self.array)

    def compare(
        self, name: str, actual: np.ndarray, input_shape: tuple[int, ...], limit: float
    ) -> Comparison:
        """Compare our output with it."""
        return compare(
            name, self.array, actual, input_shape=input_shape, limit=limit, constant_passes=True
        )


@dataclass(frozen=True)
class SampledTensor:
    """What a record holds of an output: its statistics and eight values, evenly spread.

    `noise` is how far rounding alone takes it. Where that is beyond the limit, it is spared. `lost`
    says that Paddle had nothing but NaN there or before: the image was beyond what a layer is made
    for. NaN must then be NaN here too, and what an activation makes of it may be a constant.
    """

    shape: tuple[int, ...]
    row: np.ndarray
    noise: Noise | None = None
    lost: bool = False

    @property
    def statistics(self) -> Statistics:
        """Its statistics."""
        return Statistics(*map(float, self.row[:3]))

    def compare(
        self, name: str, actual: np.ndarray, input_shape: tuple[int, ...], limit: float
    ) -> Comparison:
        """Compare statistics and values of our output with it."""
        largest = float(self.row[2])
        if actual.shape != self.shape:
            fault = f"Paddle gives {self.shape}, PyTorch {actual.shape}"
            return failed(name, input_shape, self.shape, largest, limit, fault)
        if self.lost and np.isnan(self.row).all():
            if np.isnan(actual).all():
                return Comparison(name, input_shape, self.shape, 0.0, largest, limit, (), "")
            fault = "Paddle gives NaN alone, PyTorch does not"
            return failed(name, input_shape, self.shape, largest, limit, fault)
        places = np.linspace(0, actual.size - 1, 8).astype(int)
        ours = np.array(
            [actual.mean(), actual.std(), np.abs(actual).max(), *actual.ravel()[places]]
        )
        if self.noise is not None and self.noise.matters(limit * largest):
            ours = self.noise.subtracted_from(self.row, ours)
        found = compare(
            name,
            self.row,
            ours,
            input_shape=input_shape,
            limit=limit,
            constant_passes=self.lost,
            largest=largest,
        )
        return replace(found, shape=self.shape, histogram=())  # statistics are no elements


def failed(
    probe: str,
    input_shape: tuple[int, ...],
    shape: Sequence[int],
    largest: float,
    limit: float,
    fault: str,
) -> Comparison:
    """Return a comparison that could not be made."""
    return Comparison(probe, input_shape, tuple(shape), math.inf, largest, limit, (), fault)


@dataclass(frozen=True)
class Pair:
    """One layer on both sides.

    Attributes:
        name: our module.
        title: both sides' names, for a person.
        expected: what the reference knows of its output.
        actual: our output; None where we have no such layer.
        slack: how many times the limit it may differ; rounding is larger inside than at the logits.
        tensors: our tensors that make it; empty where the whole module does.
        settings: what the reference states of it, such as `epsilon`.
    """

    name: str
    title: str
    expected: ExpectedTensor
    actual: np.ndarray | None
    slack: float = 1.0
    tensors: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)

    def compare(self, input_shape: tuple[int, ...], limit: float) -> Comparison:
        """Compare both sides at `limit`, the slack not counted."""
        if self.actual is None:
            largest, fault = self.expected.statistics.largest, "our network has no such layer"
            return failed(self.title, input_shape, self.expected.shape, largest, limit, fault)
        return self.expected.compare(self.title, self.actual, input_shape, limit)


@dataclass(frozen=True)
class SideBySide:
    """The layers of both sides, on one input.

    Attributes:
        network: ours. Not always the one that was asked about: where branches are not yet merged,
            or normalisations not yet folded, a copy that has the layers of the reference.
        batch: the input, (N, C, H, W) float32.
        pairs: the layers, in order.
        outputs: what `network` gives: `output`, or each result as `output.NAME`.
        run: how `network` was run.
        noises: how far rounding alone takes what was observed, by name, where that is known.
    """

    network: Model
    batch: np.ndarray
    pairs: tuple[Pair, ...]
    outputs: Mapping[str, np.ndarray]
    run: Run
    noises: Mapping[str, Noise] = field(default_factory=dict)

    def comparisons(self, limit: float, *, slack: bool = True) -> list[Comparison]:
        """Compare every layer, in order."""
        shape = self.batch.shape
        return [pair.compare(shape, limit * pair.slack if slack else limit) for pair in self.pairs]

    def first(self, limit: float, *, slack: bool = True) -> tuple[Pair, Comparison] | None:
        """Return the first layer that differs, or None.

        Of one that holds others, it is the first of those, where one of them differs.
        """
        compared = zip(self.pairs, self.comparisons(limit, slack=slack), strict=True)
        faulty = [(pair, found) for pair, found in compared if found.fault]
        while faulty and (
            inner := [x for x in faulty if x[0].name.startswith(f"{faulty[0][0].name}.")]
        ):
            faulty = inner
        return faulty[0] if faulty else None


def describe_difference(pair: Pair, comparison: Comparison) -> str:
    """Say in one line which layer differs, and by how much."""
    if pair.actual is None or pair.actual.shape != pair.expected.shape:
        return f"{pair.title}: {comparison.fault}"
    theirs, ours = pair.expected.statistics, Statistics.of(pair.actual)
    return f"{pair.title}: {comparison.fault} ({theirs} in Paddle, {ours} in PyTorch)"
