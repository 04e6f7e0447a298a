"""Layer outputs of the reference and of our network side by side, in the order of execution.

Every reference returns its layers as a `SideBySide`, whose `first` finds the first that differs.
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

Run = Callable[[Model, "Tensor"], Any]  # runs a network on images, (N, C, H, W) float32


@dataclass(frozen=True)
class Statistics:
    """Mean, standard deviation and largest magnitude of an array."""

    mean: float
    std: float
    largest: float

    @classmethod
    def of(cls, array: np.ndarray) -> Statistics:
        """Compute the statistics of a non-empty array of any shape."""
        return cls(float(array.mean()), float(array.std()), float(np.abs(array).max()))

    def __str__(self) -> str:
        return f"mean {self.mean:.6g}, std {self.std:.6g}, max {self.largest:.6g}"


class ExpectedTensor(Protocol):
    """The output of one layer in the reference, in full or as samples of it."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the output."""
        ...

    @property
    def statistics(self) -> Statistics:
        """Statistics of the output."""
        ...

    def compare(
        self, name: str, actual: np.ndarray, input_shape: tuple[int, ...], limit: float
    ) -> Comparison:
        """Compare our output, `actual`, with it.

        Args:
            name: name of the layer in the report.
            actual: our output.
            input_shape: shape of the network's input, for the report.
            limit: allowed difference, as a fraction of the reference's maximum.
        """
        ...


@dataclass(frozen=True)
class FullTensor:
    """An expected output with all of its elements."""

    array: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the output."""
        return self.array.shape

    @property
    def statistics(self) -> Statistics:
        """Statistics of the output."""
        return Statistics.of(self.array)

    def compare(
        self, name: str, actual: np.ndarray, input_shape: tuple[int, ...], limit: float
    ) -> Comparison:
        """Compare every element of our output with it."""
        return compare(
            name, self.array, actual, input_shape=input_shape, limit=limit, constant_passes=True
        )


@dataclass(frozen=True)
class SampledTensor:
    """An expected output of which a record holds statistics and eight evenly spaced values.

    Attributes:
        shape: shape of the whole output.
        row: (11,) float32: mean, standard deviation, largest magnitude, and the eight values.
        noise: measured effect of rounding on the output, None if unknown. Where it comes near the
            limit, it is subtracted from the difference.
        lost: whether this output, or one before it, is nothing but NaN in Paddle, since the image
            is beyond what a layer can take. Ours must then be NaN as well, and an output computed
            from it may be constant.
    """

    shape: tuple[int, ...]
    row: np.ndarray
    noise: Noise | None = None
    lost: bool = False

    @property
    def statistics(self) -> Statistics:
        """Statistics of the output."""
        return Statistics(*map(float, self.row[:3]))

    def compare(
        self, name: str, actual: np.ndarray, input_shape: tuple[int, ...], limit: float
    ) -> Comparison:
        """Compare the statistics and the sampled values of our output with it."""
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
    """Return the comparison of arrays that could not be compared; `fault` says why."""
    return Comparison(probe, input_shape, tuple(shape), math.inf, largest, limit, (), fault)


@dataclass(frozen=True, eq=False)
class Pair:
    """One layer in the reference and in our network.

    Attributes:
        name: name of our module.
        title: names of the layer on both sides, for messages.
        expected: output in the reference.
        actual: output of ours; None if our network has no such layer.
        slack: factor of the limit; rounding errors are larger inside the network than at the
            logits.
        tensors: names of our parameters that compute it; empty if the whole module does.
        settings: settings of the layer that the reference states, such as `epsilon`.
    """

    name: str
    title: str
    expected: ExpectedTensor
    actual: np.ndarray | None
    slack: float = 1.0
    tensors: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)

    def compare(self, input_shape: tuple[int, ...], limit: float) -> Comparison:
        """Compare both outputs at `limit`, which the slack does not change."""
        if self.actual is None:
            largest, fault = self.expected.statistics.largest, "our network has no such layer"
            return failed(self.title, input_shape, self.expected.shape, largest, limit, fault)
        return self.expected.compare(self.title, self.actual, input_shape, limit)


@dataclass(frozen=True)
class SideBySide:
    """The layers of the reference and of our network on one input.

    Attributes:
        network: our network. If the reference has merged branches or folded normalisations, a copy
            in which the same is done.
        batch: the input, (N, C, H, W) float32.
        pairs: the layers, in order of execution.
        outputs: results of `network`: `output` for a single one, else `output.NAME`.
        run: function that ran `network`.
        noises: measured effect of rounding on each observed output, by name; empty if unknown.
    """

    network: Model
    batch: np.ndarray
    pairs: tuple[Pair, ...]
    outputs: Mapping[str, np.ndarray]
    run: Run
    noises: Mapping[str, Noise] = field(default_factory=dict)

    def comparisons(self, limit: float, *, slack: bool = True) -> list[Comparison]:
        """Compare every layer, in order; without `slack`, all of them at `limit` itself."""
        shape = self.batch.shape
        return [pair.compare(shape, limit * pair.slack if slack else limit) for pair in self.pairs]

    def first(self, limit: float, *, slack: bool = True) -> tuple[Pair, Comparison] | None:
        """Return the first layer that differs, or None.

        If that layer contains others that differ, the first of those is returned.
        """
        compared = zip(self.pairs, self.comparisons(limit, slack=slack), strict=True)
        faulty = [(pair, comparison) for pair, comparison in compared if comparison.fault]
        while faulty and (
            inner := [x for x in faulty if x[0].name.startswith(f"{faulty[0][0].name}.")]
        ):
            faulty = inner
        return faulty[0] if faulty else None


def describe_difference(pair: Pair, comparison: Comparison) -> str:
    """Describe in one line which layer differs, and by how much."""
    if pair.actual is None or pair.actual.shape != pair.expected.shape:
        return f"{pair.title}: {comparison.fault}"
    theirs, ours = pair.expected.statistics, Statistics.of(pair.actual)
    return f"{pair.title}: {comparison.fault} ({theirs} in Paddle, {ours} in PyTorch)"
