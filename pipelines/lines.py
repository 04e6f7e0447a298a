"""Batches of line images, as the classifier and the recogniser take them.

Numbers follow PaddleOCR 2.x: tools/infer/predict_rec.py and predict_cls.py (`resize_norm_img`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import cv2
import numpy as np

HEIGHT = 48
BATCH_SIZE = 6


def by_width(lines: Sequence[np.ndarray], size: int = BATCH_SIZE) -> Iterator[np.ndarray]:
    """Indices of the lines in batches of up to `size`, narrow first, to spend little on padding.

    The sort is NumPy's default one, not a stable one: it puts lines of equal ratio into the batches
    that PaddleOCR puts them into, and the widest line of a batch sets the padding of the others.
    """
    order = np.argsort(np.array([aspect_ratio(line) for line in lines]))
    for start in range(0, len(order), size):
        yield order[start : start + size]


def aspect_ratio(line: np.ndarray) -> float:
    """Width over height of an `(H, W, 3)` image."""
    return line.shape[1] / line.shape[0]


def stack(lines: Sequence[np.ndarray], width: int, height: int = HEIGHT) -> np.ndarray:
    """Normalise `(h, w, 3) uint8` lines to a batch `(N, 3, height, width) float32` within -1 to 1.

    Lines keep their ratio, save those that would be wider than the batch; zeros fill up the right.
    """
    batch = np.zeros((len(lines), 3, height, width), np.float32)
    for place, line in zip(batch, lines, strict=True):
        fitted = min(math.ceil(height * aspect_ratio(line)), width)
        resized = cv2.resize(line, (fitted, height)).astype(np.float32)
        place[:, :, :fitted] = (resized.transpose(2, 0, 1) / 255 - 0.5) / 0.5
    return batch
