"""How far a result may differ that is a known function of logits: as far as the logits may.

Logits may differ by `d`, the limit times their maximum. The sigmoid of a logit `x` then lies
between those of `x - d` and `x + d`. In a softmax one logit may rise while all others fall, so that
the log-odds of each probability move by at most `2 d`. Each element has a limit of its own: where
a sigmoid is flat it is next to nothing, where it is steep a quarter of `d`.

A declaration counts only where the reference's own result is that function of its own logits. A
declaration that does not fit, of a softmax over another axis for instance, allows nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from architectures.activations import Activation

ROUNDING = 1e-6  # by which two float32 implementations of one function may differ, values up to 1
_SAME = 1e-5  # by which the reference's result may differ from the function of its logits


def implied_limit(
    activation: Activation,
    logits: Mapping[str, np.ndarray],
    expected: np.ndarray,
    limit: float,
) -> np.ndarray | None:
    """Return by how much each element of a result may differ.

    Args:
        activation: how the result follows from logits; its layers are keys of `logits`.
        logits: outputs of layers in the reference, (N, C, ...) float32, which are compared too.
        expected: the reference's result, of the shape of the logits, or (N, ...) without their
            channel axis where the activation selects one.
        limit: what the logits may differ by, as a fraction of their maximum.

    Returns:
        The largest allowed absolute difference, of the shape of `expected`. None where the logits
        were not observed, or the result is not that function of them.
    """
    if any(layer not in logits for layer in activation.layers):
        return None
    arrays = [logits[layer] for layer in activation.layers]
    if any(a.size == 0 or not np.isfinite(a).all() for a in arrays):
        return None
    moved = [_values_and_limits(activation, array, limit) for array in arrays]
    if any(values.size != expected.size for values, _ in moved):
        return None
    values, allowed = (
        np.mean([part.reshape(expected.shape) for part in parts], 0)
        for parts in zip(*moved, strict=True)
    )
    scale = abs(activation.scale)
    result = activation.scale * values + activation.shift
    if not np.abs(result - expected).max() <= _SAME * scale:
        return None
    bound: np.ndarray = scale * (allowed + ROUNDING)
    return bound


def _values_and_limits(
    activation: Activation, logits: np.ndarray, limit: float
) -> Sequence[np.ndarray]:
    """Return the activations of logits, and how far each moves where the logits move."""
    x = logits.astype(np.float64)
    room = limit * float(np.abs(x).max())
    if activation.function == "softmax":
        x = _log_odds(x, activation.axis)
        room = 2 * room
    if activation.channel is not None:
        x = x[:, activation.channel]
    values = _sigmoid(x)
    return values, np.maximum(_sigmoid(x + room) - values, values - _sigmoid(x - room))


def _log_odds(x: np.ndarray, axis: int) -> np.ndarray:
    """Return log(p / (1 - p)) of the softmax `p` of `x` along an axis."""
    exponentials = np.exp(x - x.max(axis, keepdims=True))
    p = exponentials / exponentials.sum(axis, keepdims=True)
    tiny = np.finfo(np.float64)
    return np.log(np.maximum(p, tiny.tiny)) - np.log(np.maximum(1 - p, tiny.eps))


def _sigmoid(x: np.ndarray) -> np.ndarray:
    """Return 1 / (1 + exp(-x)) without overflow."""
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, 1.0, small) / (1 + small)
