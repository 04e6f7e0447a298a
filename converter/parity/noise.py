"""How far rounding alone takes the layers of a network.

Where a network looks at places that it computes itself, rounding grows from layer to layer: the
results of seeded weights may then have nothing in common on two machines. A record states by how
much its outputs change when the image moves by `JITTER`. Where that is more than what a comparison
allows, the same is measured on our network, layer by layer, and a difference of that size is no
fault. Up to the layer where rounding begins to grow nothing changes: there it is far below.

A module that loses digits itself, since it subtracts large numbers from each other, states what is
left of them as `rounding`, of the largest value; what it gives is then moved by as much.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import nn

JITTER = 1e-6
STATED = "change_under_1e-6_jitter"
_RUNS = 3


@dataclass(frozen=True)
class Noise:
    """How far noise takes the values of one output, and how far its mean and standard deviation.

    Noise has no direction, so the latter move much less: they tell when the values no longer can.
    """

    values: float
    moments: float

    def matters(self, limit: float) -> bool:
        """Return whether it takes values so near to `limit` that other machines may pass it."""
        return self.values > limit / 2

    def subtracted_from(self, expected: np.ndarray, actual: np.ndarray) -> np.ndarray:
        """Return `actual`, each number as much nearer to `expected` as noise may have taken it.

        The first two numbers are mean and standard deviation, the others values.
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
    """Return `actual`, what `run` gives of `network` for `batch`, without what is noise.

    Where noise comes near to `limit`, each value is as much nearer to `expected` as it allows.
    """
    found = dict(actual)
    for name, grown in measure(network, run, batch, actual).items():
        theirs, ours = expected.get(name), actual[name]
        if theirs is None or theirs.shape != ours.shape or not theirs.size:
            continue
        if grown.matters(limit * float(np.abs(theirs).max())):
            gap = ours - theirs.astype(np.float64)
            left = np.sign(gap) * np.maximum(np.abs(gap) - grown.values, 0.0)
            found[name] = (theirs + left).astype(ours.dtype)
    return found


def is_noisy(network: nn.Module, facts: Mapping[str, Any], limit: float) -> bool:
    """Return whether `network` loses digits, or its record states a change by more than `limit`."""
    stated = any(change > limit for change in facts.get(STATED, {}).values())
    return stated or any(hasattr(module, "rounding") for module in network.modules())


def measure(
    network: nn.Module,
    run: Callable[[np.ndarray], Mapping[str, np.ndarray]],
    batch: np.ndarray,
    actual: Mapping[str, np.ndarray],
) -> dict[str, Noise]:
    """Return the noise of each output of `run`, which gives `actual` of `network` for `batch`."""
    generator = np.random.default_rng(0)
    changes: dict[str, list[tuple[float, float, float]]] = {name: [] for name in actual}
    for _ in range(_RUNS):
        moved = batch + generator.uniform(-JITTER, JITTER, batch.shape)
        with _shaken(network, generator):
            found = run(moved.astype(batch.dtype))
        for name, array in found.items():
            changes[name].append(_change(actual[name], array))
    return {name: _noise(*np.max(found, 0)) for name, found in changes.items()}


@contextmanager
def _shaken(network: nn.Module, generator: np.random.Generator) -> Iterator[None]:
    """Let the modules that state a `rounding` give what they do, moved by up to that."""

    def hook(module: nn.Module, _inputs: object, output: torch.Tensor) -> None:
        # In place, so that who notes the operations of the network sees none but its own.
        values = output.numpy()
        room = cast("float", module.rounding) * float(np.abs(values).max())
        values += generator.uniform(-room, room, values.shape)

    hooks = [
        module.register_forward_hook(hook)
        for module in network.modules()
        if hasattr(module, "rounding")
    ]
    try:
        yield
    finally:
        for handle in hooks:
            handle.remove()


def _change(before: np.ndarray, after: np.ndarray) -> tuple[float, float, float]:
    """Return the largest change, its root mean square, and the change of mean or deviation."""
    gap = after.astype(np.float64) - before
    moments = max(abs(after.mean() - before.mean()), abs(after.std() - before.std()))
    return float(np.abs(gap).max()), float((gap**2).mean() ** 0.5), float(moments)


def _noise(largest: float, rms: float, moments: float) -> Noise:
    # Neither moment can change by more than `rms`. Of a map of many independent values they change
    # by a tenth of that or less, of few by more, which is why what was seen counts, twice over.
    return Noise(largest, min(rms, max(rms / 4, 2 * moments)))
