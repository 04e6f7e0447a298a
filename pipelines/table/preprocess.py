"""Images of tables as the structure networks take them.

Rules, rounding and precision are those of PaddleOCR 2.x: ppocr/data/imaug/table_ops.py
(`ResizeTableImage`, `PaddingTableImage`) and ppstructure/table/predict_structure.py.
"""

from __future__ import annotations

import cv2
import numpy as np

from pipelines.normalization import Normalizer
from schemas.processing import TableSettings


def resize_ratio(image: np.ndarray, max_len: int) -> float:
    """Return the factor that brings the longer side of an image to `max_len` pixels."""
    return max_len / (max(image.shape[:2]) * 1.0)


def table_input(image: np.ndarray, settings: TableSettings) -> np.ndarray:
    """Resize, normalise and pad an image; the padding is at the right and below.

    Args:
        image: `(H, W, 3) uint8` BGR.
        settings: the size, the normalisation, and whether padding precedes it.

    Returns:
        `(1, 3, max_len, max_len) float32`.
    """
    side = settings.max_len
    ratio = resize_ratio(image, side)
    # Other than in PaddleOCR, a strip of extreme ratio keeps one pixel.
    height, width = (max(1, int(length * ratio)) for length in image.shape[:2])
    table = cv2.resize(image, (width, height))
    padding = ((0, side - height), (0, side - width))
    normalize = Normalizer(settings.color, settings.mean, settings.std)
    if settings.pad_first:
        return normalize(np.pad(table, (*padding, (0, 0))))[np.newaxis]
    return np.pad(normalize(table), ((0, 0), *padding))[np.newaxis]
