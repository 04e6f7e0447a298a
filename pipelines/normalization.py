"""The values of a page's pixels as a network takes them.

Numbers follow PaddleOCR 2.x: ppocr/data/imaug/operators.py (`NormalizeImage`).
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np


class Normalizer:
    """Normalises images of whole numbers, by a table for each channel.

    Args:
        color: the order of the network's channels, "BGR" or "RGB".
        mean, std: of the values from 0 to 1, in that order.
    """

    def __init__(self, color: str, mean: Sequence[float], std: Sequence[float]) -> None:
        values = np.arange(256, dtype=np.float32) * np.float32(1 / 255)
        means, deviations = np.array(mean, np.float32), np.array(std, np.float32)
        self._tables = [(values - means[channel]) / deviations[channel] for channel in range(3)]
        self._color = color

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Normalise an `(h, w, 3) uint8` BGR image to `(1, 3, h, w) float32`."""
        batch = np.empty((1, 3, *image.shape[:2]), np.float32)
        planes = cv2.split(image)
        if self._color == "RGB":
            planes = planes[::-1]
        for plane, table, place in zip(planes, self._tables, batch[0], strict=True):
            cv2.LUT(plane, table, place)
        return batch
