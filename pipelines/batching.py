"""Batches of line images of different widths.

Numbers follow PaddleOCR 2.x: tools/infer/predict_rec.py and predict_cls.py (`resize_norm_img`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import cv2
import numpy as np

from pipelines.normalization import Normalizer

BATCH_SIZE = 6


def by_width(images: Sequence[np.ndarray], size: int = BATCH_SIZE) -> Iterator[np.ndarray]:
    """Yield the indices of images in batches, those with the least width / height first.

    Images of similar width share a batch, so little of it is padding. The sort is NumPy's default
    one, which is not stable: it puts images of equal ratio into the same batches as PaddleOCR, and
    the widest image of a batch sets the padding of the others.

    Args:
        images: each `(h, w, 3) uint8`.
        size: the number of images per batch; the last batch may have fewer.

    Raises:
        ValueError: an image has no pixels.
    """
    order = np.argsort(np.array([aspect_ratio(image) for image in images]))
    for start in range(0, len(order), size):
        yield order[start : start + size]


def aspect_ratio(image: np.ndarray) -> float:
    """Return width / height of an `(H, W, 3)` image; raise ValueError if it has no pixels."""
    if not image.size:
        raise ValueError(f"an image of shape {image.shape} has no pixels")
    height, width = image.shape[:2]
    return float(width / height)


def resize(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize an image bilinearly.

    Args:
        image: `(H, W, C)` or `(H, W) uint8`.
        height: the new height in pixels.
        width: the new width in pixels.

    Returns:
        `(height, width, C) uint8`; the image itself if it has this size.
    """
    return image if image.shape[:2] == (height, width) else cv2.resize(image, (width, height))


def stack_padded(
    resized: Sequence[np.ndarray], width: int, normalize: Normalizer, padding: float = 0.0
) -> np.ndarray:
    """Normalise images of one height and pad them on the right to one width.

    Args:
        resized: each `(height, w, 3) uint8` BGR or `(height, w) uint8`, with `w` at most `width`.
        width: the width of the batch in pixels.
        normalize: normalises each image.
        padding: the value on the right of an image, after normalisation.

    Returns:
        `(N, C, height, width) float32`.
    """
    normalized = [normalize(image) for image in resized]
    channels, height, _ = normalized[0].shape
    batch = np.full((len(normalized), channels, height, width), padding, np.float32)
    for target, image in zip(batch, normalized, strict=True):
        target[:, :, : image.shape[2]] = image
    return batch
