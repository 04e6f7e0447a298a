"""Constants among the tensors of an exported program: tables of positions, masks and the like.

PaddleOCR's networks keep them as buffers, so exports hold them among the weights; our networks
compute them. Tables of positions: Attention Is All You Need, https://arxiv.org/abs/1706.03762,
section 3.5.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

SINUSOIDS = "positions by sinusoids, a constant"
COMPUTED = "computed when the network was built, a constant"
# Paddle's names of tensors that no layer made: masks of SVTR, the inverted matrix of STN, anchors.
_OF_NO_LAYER = re.compile(r"(eager_tmp|generated_tensor|generated_var)_\d+(_deepcopy_\d+)?")


def constants(tensors: Mapping[str, np.ndarray]) -> dict[str, str]:
    """Return the names of the tensors that are constants and no weights, each with the reason.

    A weight mistaken for one does not go unnoticed: its layer in our network has no counterpart.
    """
    computed = [name for name in tensors if _OF_NO_LAYER.fullmatch(name)]
    return dict.fromkeys(computed, COMPUTED) | dict.fromkeys(positions(tensors), SINUSOIDS)


def positions(tensors: Mapping[str, np.ndarray]) -> list[str]:
    """Return the names of the tensors that are tables of sines and cosines, from position 0 on."""
    return [name for name, array in tensors.items() if _is_table(np.squeeze(array))]


def _is_table(array: np.ndarray) -> bool:
    if array.ndim != 2 or array.dtype != np.float32 or min(array.shape) < 2:
        return False
    for table in (array, array.T):  # places first, or channels first
        length, width = table.shape
        if np.array_equal(table[0], np.arange(width) % 2):  # sine and cosine of 0
            pair = np.arange(width) // 2
            angle = np.arange(length)[:, None] / 10000.0 ** (2 * pair / width)
            expected = np.where(np.arange(width) % 2, np.cos(angle), np.sin(angle))
            # In single precision the angle of a late place has few digits.
            return bool(np.abs(table - expected).max() < length * 2**-22)
    return False
