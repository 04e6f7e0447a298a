"""Weights and inputs that their names determine, the same on every machine; needs NumPy alone.

A record holds no weights: its reader makes them by this rule, as its writer did.
"""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Callable, Mapping

import numpy as np

RULE = 1  # the version of everything here; records name it


def seeded_weight(salt: int, name: str, shape: tuple[int, ...], exponent: int = 0) -> np.ndarray:
    """Return the weight of a name, float32, times two to the power of `exponent`.

    The rule keeps activations in range and statistics apart from their defaults, so that no error
    hides behind a saturated output, a zero mean or a unit variance.

    Args:
        salt: other salts give other weights.
        name: Paddle's name of the tensor.
        shape: in Paddle's layout.
        exponent: the record's, which keeps the layer's output in range.
    """
    random, rank = generator(salt, name), len(shape)
    if name.endswith("_mean"):
        array = 0.1 * random.standard_normal(shape)
    elif name.endswith(("_variance", "_var")):
        array = random.uniform(0.5, 1.5, shape)
    elif rank <= 1 and name.endswith(("weight", "scale", "gamma")):
        array = random.uniform(0.8, 1.2, shape)
    elif rank <= 1:
        array = 0.05 * random.standard_normal(shape)
    elif rank == 2 and ("weight_ih" in name or "weight_hh" in name):
        array = random.standard_normal(shape) * math.sqrt(3 / shape[0])
    elif rank == 2 and "emb" in name.lower():
        array = 0.25 * random.standard_normal(shape)
    elif rank == 2:
        array = random.standard_normal(shape)
        array *= math.sqrt(1 / shape[0])
        if shape[0] > 8:
            array -= array.mean(0)
    elif shape[0] == 1 and re.search("pos|token|emb|query", name.lower()):
        array = 0.5 * random.standard_normal(shape)
    else:
        array = random.standard_normal(shape)
        array *= math.sqrt(1.5 / np.prod(shape[1:]))
        if shape[1] > 1:
            array -= array.mean(tuple(range(1, rank)), keepdims=True)
    weight = np.asarray(array).astype(np.float32)
    weight *= np.float32(2.0) ** exponent
    return weight


def uniform(salt: int, name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Return an input with values between -1 and 1, of the given shape, float32."""
    return generator(salt, f"input:{name}").uniform(-1, 1, shape).astype(np.float32)


def waves(salt: int, name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Return a smooth image, (N, C, H, W) float32, mostly between -1 and 1."""
    random, (count, channels, height, width) = generator(salt, f"input:{name}"), shape
    fx, fy, phase = random.uniform(-4, 4, (3, count, channels, 8, 1, 1))
    y, x = np.mgrid[0:height, 0:width]
    sums = np.sin(2 * np.pi * (fx * x / width + fy * y / height + phase)).mean(2)
    return sums.astype(np.float32) * np.float32(2)


def clipped_waves(salt: int, name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Return `waves` without the values beyond -1 and 1, (N, C, H, W) float32."""
    return waves(salt, name, shape).clip(-1, 1)


def pixels(salt: int, name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Return an input with values between 0 and 255, of the given shape, float32."""
    return np.float32(127.5) + np.float32(127.5) * uniform(salt, name, shape)


# By the rule that a record names; other inputs a record stores.
IMAGES: Mapping[str, Callable[[int, str, tuple[int, ...]], np.ndarray]] = {
    "uniform(-1,1)": uniform,
    "waves": waves,
    "clip(waves, -1, 1)": clipped_waves,
    "127.5 + 127.5 * uniform(-1,1)": pixels,
}


def generator(salt: int, name: str) -> np.random.RandomState:
    """Return the generator of random numbers that belongs to a name."""
    return np.random.RandomState(zlib.crc32(f"{salt}:{name}".encode()) & 0xFFFFFFFF)
