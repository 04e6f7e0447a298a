"""The size at which a detector sees an image.

Rules and their rounding are those of PaddleOCR 2.x: `DetResizeForTest` in
ppocr/data/imaug/operators.py and `ScaleAlignedShort` in ct_process.py beside it; and, for
`max_side_limit`, of PaddleX 3.x, inference/models/text_detection/processors.py.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from pipelines.settings import DetSettings

LEAST = 32
"""Images are padded to so many pixels a side where height and width together are below twice it."""
LONG_STRIDE = 128
"""With `resize_long` the sides are multiples of this."""


def pad(image: np.ndarray, settings: DetSettings) -> np.ndarray:
    """Pad a tiny `(H, W, 3) uint8` image with black; `short_size` stretches it as it is."""
    height, width = image.shape[:2]
    if settings.short_size or height + width >= 2 * LEAST:
        return image
    below, right = max(LEAST - height, 0), max(LEAST - width, 0)
    return cv2.copyMakeBorder(image, 0, below, 0, right, cv2.BORDER_CONSTANT)


def resize(image: np.ndarray, settings: DetSettings) -> np.ndarray:
    """Bring an `(H, W, 3) uint8` image to the network's size."""
    height, width = image.shape[:2]
    size = network_size(height, width, settings)
    return image if size == (height, width) else cv2.resize(image, size[::-1])


def network_size(height: int, width: int, settings: DetSettings) -> tuple[int, int]:
    """Height and width at which the network sees an image of this size."""
    if settings.image_shape:
        new_height, new_width = settings.image_shape
        if settings.keep_ratio:
            stride = settings.multiple_of
            new_width = math.ceil(width * new_height / height / stride) * stride
        return new_height, new_width
    if settings.resize_long:
        scale = settings.resize_long / max(height, width)
        return _up(int(height * scale), LONG_STRIDE), _up(int(width * scale), LONG_STRIDE)
    if settings.short_size:
        return _short_side(height, width, settings.short_size, settings)
    scale = _scale(height, width, settings)
    height, width = int(height * scale), int(width * scale)
    longer = max(height, width)
    if longer > settings.max_side_limit:
        scale = settings.max_side_limit / longer
        height, width = int(height * scale), int(width * scale)
    return _strides(height, settings.multiple_of), _strides(width, settings.multiple_of)


def _short_side(height: int, width: int, short: int, settings: DetSettings) -> tuple[int, int]:
    shorter, longer = sorted((height, width))
    scale = min(short / shorter, settings.max_side_limit / longer)
    height, width = int(height * scale + 0.5), int(width * scale + 0.5)
    return _up(height, settings.multiple_of), _up(width, settings.multiple_of)


def _scale(height: int, width: int, settings: DetSettings) -> float:
    limit = settings.limit_side_len
    if settings.limit_type == "max":
        return limit / max(height, width, limit)
    if settings.limit_type == "min":
        return max(limit / min(height, width), 1.0)
    return limit / max(height, width)


def _strides(length: int, stride: int) -> int:
    # Python rounds halves to even, so with 32 80 becomes 64 and 112 becomes 128; PaddleOCR too.
    return max(round(length / stride) * stride, stride)


def _up(length: int, stride: int) -> int:
    # A side of no pixel, of an image like a thread, stops PaddleOCR.
    return max(math.ceil(length / stride), 1) * stride
