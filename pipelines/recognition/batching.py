"""Batches of line images, as the classifier and the recogniser take them.

Numbers follow PaddleOCR 2.x: tools/infer/predict_rec.py and predict_cls.py (`resize_norm_img`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import cv2
import numpy as np

from pipelines.settings import ClsSettings, RecSettings

Settings = ClsSettings | RecSettings

BATCH_SIZE = 6


def by_width(lines: Sequence[np.ndarray], size: int = BATCH_SIZE) -> Iterator[np.ndarray]:
    """Indices of the lines in batches of up to `size`, narrow first, to spend little on padding.

    The sort is NumPy's default one, not a stable one: it puts lines of equal ratio into the batches
    that PaddleOCR puts them into, and the widest line of a batch sets the padding of the others.

    Raises:
        ValueError: a line has no pixels.
    """
    order = np.argsort(np.array([aspect_ratio(line) for line in lines]))
    for start in range(0, len(order), size):
        yield order[start : start + size]


def aspect_ratio(line: np.ndarray) -> float:
    """Width over height of an `(H, W, 3)` image; ValueError if it has no pixels."""
    if not line.size:
        raise ValueError(f"a line of the shape {line.shape} has no pixels")
    return line.shape[1] / line.shape[0]


def stack(lines: Sequence[np.ndarray], width: int, settings: Settings) -> np.ndarray:
    """Normalise `(h, w, 3) uint8` BGR lines to a batch `(N, 3, settings.height, width) float32`.

    Lines keep their ratio, save those that would be wider than the batch; zeros fill up the right.
    """
    height = settings.height
    mean, std = (np.array(values, np.float32)[:, None, None]
                 for values in (settings.mean, settings.std))  # fmt: skip
    batch = np.zeros((len(lines), 3, height, width), np.float32)
    for place, line in zip(batch, lines, strict=True):
        fitted = min(math.ceil(height * aspect_ratio(line)), width)
        resized = in_order(cv2.resize(line, (fitted, height)), settings).astype(np.float32)
        place[:, :, :fitted] = (resized.transpose(2, 0, 1) / 255 - mean) / std
    return batch


def in_order(image: np.ndarray, settings: Settings) -> np.ndarray:
    """An `(h, w, 3)` BGR image with its channels in the order that a network takes."""
    return image if settings.color == "BGR" else image[..., ::-1]
