"""Images as the classifiers of orientation take them.

Numbers follow PaddleOCR 2.x for the direction classifier (tools/infer/predict_cls.py) and PaddleX 3
for PP-LCNet's text-line and document orientation (inference/models/image_classification).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from pipelines.batching import aspect_ratio, resize, stack_padded
from pipelines.normalization import Normalizer, divide, scale_and_shift
from schemas.processing import ClassificationSettings

LONGEST_RATIO = 20
"""Images that are longer than their shorter side times this are cropped to their middle."""


def preprocess(images: Sequence[np.ndarray], settings: ClassificationSettings) -> np.ndarray:
    """Resize and normalise a batch of images.

    Args:
        images: each `(h, w, 3) uint8` BGR, of any size.
        settings: the size, the resize rule and the normalisation.

    Returns:
        `(N, 3, settings.height, settings.width) float32`.
    """
    height, width = settings.height, settings.width
    colors = settings.color, settings.mean, settings.std
    if settings.resize_short is None and settings.keep_ratio:
        widths = [min(math.ceil(height * aspect_ratio(image)), width) for image in images]
        resized = [resize(image, height, w) for image, w in zip(images, widths, strict=True)]
        return stack_padded(resized, width, Normalizer(*colors, divide))
    if settings.resize_short is None:
        resized = [resize(image, height, width) for image in images]
    else:
        shortened = (_resize_short_side(image, settings.resize_short) for image in images)
        resized = [_crop_center(image, height, width) for image in shortened]
    return stack_padded(resized, width, Normalizer(*colors, scale_and_shift))


def _resize_short_side(image: np.ndarray, length: int) -> np.ndarray:
    """Resize an image, or the middle of a very long one, so that its shorter side is `length`."""
    height, width = image.shape[:2]
    longest = LONGEST_RATIO * min(height, width)
    image = _crop_center(image, min(height, longest), min(width, longest))
    scale = length / min(height, width)
    height, width = image.shape[:2]
    return resize(image, round(height * scale), round(width * scale))


def _crop_center(image: np.ndarray, height: int, width: int) -> np.ndarray:
    top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
    return image[top : top + height, left : left + width]
