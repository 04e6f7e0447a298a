"""The size of an image as a detector sees it.

Rules and their rounding are those of PaddleOCR 2.x: `DetResizeForTest` in
ppocr/data/imaug/operators.py and `ScaleAlignedShort` in ct_process.py beside it; and, for
`max_side_limit`, of PaddleX 3.x, inference/models/text_detection/processors.py.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from pipelines import batching
from schemas.processing import DetectionSettings

MIN_SIDE = 32
"""Images whose height and width add up to less than twice this are padded to this side length."""
LONG_STRIDE = 128
"""With `resize_long`, both sides are multiples of this."""


def pad(image: np.ndarray, settings: DetectionSettings) -> np.ndarray:
    """Pad a tiny image with black, below and on the right; not with the rule `short_size`.

    Args:
        image: `(H, W, 3) uint8`.
        settings: the resize rule.

    Returns:
        `(h, w, 3) uint8`, with `h, w >= 32` if it was padded.
    """
    height, width = image.shape[:2]
    if settings.short_size or height + width >= 2 * MIN_SIDE:
        return image
    below, right = max(MIN_SIDE - height, 0), max(MIN_SIDE - width, 0)
    return cv2.copyMakeBorder(image, 0, below, 0, right, cv2.BORDER_CONSTANT)


def resize(image: np.ndarray, settings: DetectionSettings) -> np.ndarray:
    """Resize an `(H, W, 3) uint8` image to the size that `network_size` returns."""
    height, width = image.shape[:2]
    return batching.resize(image, *network_size(height, width, settings))


def network_size(height: int, width: int, settings: DetectionSettings) -> tuple[int, int]:
    """Return the size of the network's input for an image.

    Args:
        height: height of the image in pixels.
        width: width of the image in pixels.
        settings: the resize rule.

    Returns:
        Height and width in pixels.
    """
    if settings.image_shape:
        new_height, new_width = settings.image_shape
        if settings.keep_ratio:
            stride = settings.multiple_of
            new_width = math.ceil(width * new_height / height / stride) * stride
        return new_height, new_width
    if settings.resize_long:
        scale = settings.resize_long / max(height, width)
        height, width = int(height * scale), int(width * scale)
        return _round_up(height, LONG_STRIDE), _round_up(width, LONG_STRIDE)
    if settings.short_size:
        return _size_by_short_side(height, width, settings.short_size, settings)
    scale = _scale(height, width, settings)
    height, width = int(height * scale), int(width * scale)
    longer = max(height, width)
    if longer > settings.max_side_limit:
        scale = settings.max_side_limit / longer
        height, width = int(height * scale), int(width * scale)
    stride = settings.multiple_of
    return _round_to_nearest(height, stride), _round_to_nearest(width, stride)


def _size_by_short_side(
    height: int, width: int, short_size: int, settings: DetectionSettings
) -> tuple[int, int]:
    shorter, longer = sorted((height, width))
    scale = min(short_size / shorter, settings.max_side_limit / longer)
    height, width = int(height * scale + 0.5), int(width * scale + 0.5)
    return _round_up(height, settings.multiple_of), _round_up(width, settings.multiple_of)


def _scale(height: int, width: int, settings: DetectionSettings) -> float:
    """Return the scale by `limit_type` and `limit_side_len`."""
    limit = settings.limit_side_len
    if settings.limit_type == "max":
        return limit / max(height, width, limit)
    if settings.limit_type == "min":
        return max(limit / min(height, width), 1.0)
    return limit / max(height, width)


def _round_to_nearest(length: int, stride: int) -> int:
    # Python rounds halves to even, so with 32 80 becomes 64 and 112 becomes 128; PaddleOCR too.
    return max(round(length / stride) * stride, stride)


def _round_up(length: int, stride: int) -> int:
    # PaddleOCR fails where a side, of a very thin image, becomes 0.
    return max(math.ceil(length / stride), 1) * stride
