"""Measuring how much rounding errors change the outputs of a network's layers.

A network that samples its features at positions it computes itself amplifies rounding errors from
layer to layer: with seeded weights, two machines may then compute unrelated results. A record
states how much its outputs change when the image changes by `JITTER`. If that exceeds what a
comparison allows, the same change is measured on our network, layer by layer, and subtracted from
the differences. In the layers before the amplification the noise is far below the limit, so nothing
is subtracted there.

A module that subtracts large numbers from each other, and so loses digits, states the relative
error of its output as `rounding`; its output is disturbed by that much in the measurement.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import nn

from architectures.interfaces import LosesPrecision
from converter.parity.jitter import JITTER

_RUNS = 3


@dataclass(frozen=True)
class Noise:
    """Effect of rounding errors on one output.

    Noise has no direction, so mean and standard deviation change much less than single values: they
    still show a mistake where the values no longer can.

    Attributes:
        values: largest absolute change of a value.
        moments: largest absolute change of the mean or the standard deviation.
    """

    values: float
    moments: float

    def matters(self, limit: float) -> bool:
        """Return whether the noise is so near to `limit`, absolute, that machines may disagree."""
        return self.values > limit / 2

    def subtracted_from(self, expected: np.ndarray, actual: np.ndarray) -> np.ndarray:
        """Return `actual` with the noise subtracted from its difference to `expected`.

        Args:
            expected: (2 + K,): mean, standard deviation, and K values of the reference.
            actual: the same of ours.
        """
        room = np.full(expected.shape, self.values)
        room[:2] = self.moments
        gap = actual - expected.astype(np.float64)
        return expected + np.sign(gap) * np.maximum(np.abs(gap) - room, 0.0)


def subtract_noise(
    network: nn.Module,
    run: Callable[[np.ndarray], Mapping[str, np.ndarray]],
    batch: np.ndarray,
    actual: Mapping[str, np.ndarray],
    expected: Mapping[str, np.ndarray],
    limit: float,
) -> dict[str, np.ndarray]:
    """Return `actual` with the measured noise subtracted from its difference to `expected`.

    Args:
        network: our network.
        run: runs `network` on images, (N, C, H, W) float32, and returns its observed outputs.
        batch: the input, (N, C, H, W) float32.
        actual: what `run` returned for `batch`.
        expected: the reference's outputs, by the same names.
        limit: allowed difference, as a fraction of max|expected|; outputs whose noise stays far
            below it are returned unchanged.
    """
    result = dict(actual)
    for name, grown in measure(network, run, batch, actual).items():
        theirs, ours = expected.get(name), actual[name]
        if theirs is None or theirs.shape != ours.shape or not theirs.size:
            continue
        if grown.matters(limit * float(np.abs(theirs).max())):
            gap = ours - theirs.astype(np.float64)
            left = np.sign(gap) * np.maximum(np.abs(gap) - grown.values, 0.0)
            result[name] = (theirs + left).astype(ours.dtype)
    return result


def is_noisy(network: nn.Module, recorded: Mapping[str, float], limit: float) -> bool:
    """Return whether rounding may exceed `limit`, by a record or by a module's `rounding`.

    Args:
        network: our network.
        recorded: the noise that its record states, by output.
        limit: of the relative change.
    """
    stated = any(change > limit for change in recorded.values())
    return stated or any(isinstance(module, LosesPrecision) for module in network.modules())


def measure(
    network: nn.Module,
    run: Callable[[np.ndarray], Mapping[str, np.ndarray]],
    batch: np.ndarray,
    actual: Mapping[str, np.ndarray],
) -> dict[str, Noise]:
    """Measure the noise of each output by disturbing the image and the modules that lose digits.

    Args:
        network: our network.
        run: runs `network` on images, (N, C, H, W) float32, and returns its observed outputs.
        batch: the input, (N, C, H, W) float32.
        actual: what `run` returned for `batch`.
    """
    generator = np.random.default_rng(0)
    changes: dict[str, list[tuple[float, float, float]]] = {name: [] for name in actual}
    moments = {name: (array.mean(), array.std()) for name, array in actual.items()}
    for _ in range(_RUNS):
        moved = batch
        if batch.dtype.kind == "f":  # tokens are not moved
            moved = (batch + generator.uniform(-JITTER, JITTER, batch.shape)).astype(batch.dtype)
        with _shaken(network, generator):
            disturbed = run(moved)
        for name, array in disturbed.items():
            changes[name].append(_change(actual[name], array, moments[name]))
    return {name: _noise(*np.max(measured, 0)) for name, measured in changes.items()}


@contextmanager
def _shaken(network: nn.Module, generator: np.random.Generator) -> Iterator[None]:
    """Disturb the outputs of modules that state a `rounding` by up to that."""

    def hook(module: nn.Module, _inputs: object, output: torch.Tensor) -> None:
        # In place, so that a recorder of the network's operations sees no others.
        values = output.numpy()
        room = cast("LosesPrecision", module).rounding * float(np.abs(values).max())
        values += generator.uniform(-room, room, values.shape)

    hooks = [
        module.register_forward_hook(hook)
        for module in network.modules()
        if isinstance(module, LosesPrecision)
    ]
    try:
        yield
    finally:
        for handle in hooks:
            handle.remove()


def _change(
    before: np.ndarray, after: np.ndarray, moments: tuple[float, float]
) -> tuple[float, float, float]:
    """Return the largest change, its root mean square, and the change of mean or deviation.

    Args:
        before: the undisturbed output.
        after: the disturbed one.
        moments: mean and standard deviation of `before`.
    """
    gap = np.subtract(after, before, dtype=np.float64).ravel()
    moved = max(abs(after.mean() - moments[0]), abs(after.std() - moments[1]))
    largest = float(np.maximum(gap.max(), -gap.min()))
    return largest, float((gap @ gap / gap.size) ** 0.5), float(moved)


def _noise(largest: float, rms: float, moments: float) -> Noise:
    # Neither moment can change by more than `rms`. For many independent values they change by a
    # tenth of that or less, for few by more: so twice the measured change counts.
    return Noise(largest, min(rms, max(rms / 4, 2 * moments)))
