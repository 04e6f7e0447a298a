"""Results of decoders, compared step by step as far as rounding lets two runs agree.

A decoder hands its state and its last token on to the next step, and with them their rounding. Over
hundreds of steps it can grow until a token is another one; from there on two runs have nothing in
common, not even two of Paddle's on one machine. So where such results differ, it is measured on our
network what a change of the image by `JITTER` does to each step. A step that this moves by more
than the limit is not compared; of the others, the measured change is subtracted. The first step is
always compared.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from converter.parity.comparison import common_steps
from converter.parity.jitter import JITTER

_RUNS = 3


LEAST = 1e-20
"""Probabilities below this one are taken for it: Paddle's softmax gives none below exp(-64)."""
FAR = 10.0
"""Times the limit by which the first step differs where it is no rounding."""


def step_logits(probabilities: np.ndarray) -> np.ndarray:
    """Return the logits of a softmax over the last axis, of each step less their mean.

    Inside a loop logits cannot be observed, and probabilities hide a change of a class that is not
    probable. Their logarithms are the logits but for a number that all classes of a step share.
    """
    logits = np.log(np.maximum(probabilities.astype(np.float64), LEAST))
    centred: np.ndarray = logits - logits.mean(-1, keepdims=True)
    return centred


def started_alike(expected: np.ndarray, actual: np.ndarray, limit: float) -> bool:
    """Return whether the first step of some results, (N, T, ...) each, may differ by rounding.

    Args:
        expected: the reference's.
        actual: ours.
        limit: allowed difference as a fraction of max|expected|.
    """
    first, ours = expected[:, :1], actual[:, :1]
    if first.shape != ours.shape or not np.isfinite(first).all():
        return False
    gap = np.abs(ours - first.astype(np.float64)).max(initial=0.0)
    return bool(gap <= FAR * limit * np.abs(expected).max(initial=0.0))


def step_noise(
    run: Callable[[np.ndarray], Mapping[str, np.ndarray]],
    batch: np.ndarray,
    actual: Mapping[str, np.ndarray],
) -> dict[str, np.ndarray]:
    """Measure how far rounding moves each step of some results.

    Args:
        run: runs our network on images, (N, C, H, W) float32, and returns its results.
        batch: the input.
        actual: what `run` returned for it, (N, T, ...) each.

    Returns:
        The largest absolute change of any value of each step, (T,), by the names in `actual`.
        Steps that some run did not reach have infinity.
    """
    generator = np.random.default_rng(0)
    grown = {name: np.zeros(array.shape[1]) for name, array in actual.items()}
    for _ in range(_RUNS):
        moved = batch + generator.uniform(-JITTER, JITTER, batch.shape)
        disturbed = run(moved.astype(batch.dtype))
        for name, array in actual.items():
            change = _change_by_step(array, disturbed.get(name))
            grown[name] = np.maximum(grown[name], change)
    return grown


def settled(
    expected: np.ndarray, actual: np.ndarray, grown: np.ndarray, limit: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return the steps that can be compared, of the reference and of ours without the noise.

    Args:
        expected: the reference's, (N, T, ...); it may have a step more.
        actual: ours.
        grown: by how much rounding moves each step, (T,).
        limit: allowed difference as a fraction of max|expected|.
    """
    expected = common_steps(expected, actual)
    if expected.shape != actual.shape or not np.isfinite(expected).all():
        return expected, actual  # which is a fault
    kept = grown <= limit * np.abs(expected).max()
    kept[0] = True
    theirs, ours = expected[:, kept], actual[:, kept]
    room = np.where(np.isfinite(grown), grown, 0.0)[kept].reshape(-1, *[1] * (ours.ndim - 2))
    gap = ours - theirs.astype(np.float64)
    left = np.sign(gap) * np.maximum(np.abs(gap) - room, 0.0)
    return theirs, (theirs + left).astype(ours.dtype)


def _change_by_step(before: np.ndarray, after: np.ndarray | None) -> np.ndarray:
    change = np.full(before.shape[1], np.inf)
    if after is not None and after.ndim == before.ndim:
        both = min(before.shape[1], after.shape[1])
        gap = np.abs(after[:, :both].astype(np.float64) - before[:, :both])
        change[:both] = gap.max(axis=(0, *range(2, gap.ndim)))
    return change
