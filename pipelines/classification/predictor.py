"""By how much an image is turned: lines and pages -> degrees.

Numbers follow PaddleOCR 2.x for the direction classifier (tools/infer/predict_cls.py) and PaddleX 3
for PP-LCNet's text-line and document orientation (inference/models/image_classification). Pixels
are moved as a whole here, where PaddleX's `rotate_image` shifts the image by one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from pipelines.recognition.batching import BATCH_SIZE, by_width, in_order, stack
from pipelines.runtime import Network
from pipelines.settings import ClsSettings

# Of an image that is longer than that many times its shorter side, only the middle is looked at.
LONGEST = 20


class Classifier:
    """An orientation network with its pre- and post-processing, as its weights' `.json` says.

    `changes` take the place of what it says, such as `cls_thresh=0.8`. `batch` is how many images
    the network takes at once.
    """

    def __init__(self, network: Network, batch_size: int = BATCH_SIZE, **changes: Any) -> None:
        self.network = network
        self.settings = ClsSettings.of(network, **changes)
        self.batch_size = batch_size

    def __call__(self, images: Sequence[np.ndarray]) -> list[int]:
        """Return by how many degrees to turn each `(h, w, 3) uint8` image, counter-clockwise.

        That is 0 for an upright image, and where the network is not sure enough.

        Raises:
            ValueError: an image has no pixels, or the network's output is not `(N, classes)`.
        """
        angles = [0] * len(images)
        expected = len(self.settings.angles)
        for batch in by_width(images, self.batch_size):
            scores = self.network(network_input([images[i] for i in batch], self.settings))
            if scores.shape != (len(batch), expected):
                raise ValueError(
                    f"the classifier returned an array of shape {scores.shape}, expected "
                    f"{(len(batch), expected)}; is this a network for orientation?"
                )
            for index, score in zip(batch, scores, strict=True):
                if score.max() > self.settings.cls_thresh:
                    angles[index] = self.settings.angles[score.argmax()]
        return angles


def network_input(images: Sequence[np.ndarray], settings: ClsSettings) -> np.ndarray:
    """Resize and normalise `(h, w, 3) uint8` BGR images to `(N, 3, height, width) float32`."""
    size = (settings.width, settings.height)
    if settings.resize_short is not None:
        images = [_middle(_resized_short(image, settings.resize_short), *size) for image in images]
    elif settings.keep_ratio:
        return stack(images, settings.width, settings)
    else:
        images = [_resized(image, *size) for image in images]
    return np.stack([_normalised(image, settings) for image in images])


def _resized_short(image: np.ndarray, length: int) -> np.ndarray:
    """Resize an image, or the middle of a very long one, until its shorter side has a length."""
    height, width = image.shape[:2]
    longest = LONGEST * min(height, width)
    image = _middle(image, min(width, longest), min(height, longest))
    scale = length / min(height, width)
    height, width = image.shape[:2]
    return _resized(image, round(width * scale), round(height * scale))


def _resized(image: np.ndarray, width: int, height: int) -> np.ndarray:
    return image if image.shape[:2] == (height, width) else cv2.resize(image, (width, height))


def _middle(image: np.ndarray, width: int, height: int) -> np.ndarray:
    top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
    return image[top : top + height, left : left + width]


def _normalised(image: np.ndarray, settings: ClsSettings) -> np.ndarray:
    # As PaddleX computes it: one product and one sum for each channel, their factors in float64.
    mean, std = np.array(settings.mean), np.array(settings.std)
    scale, shift = (1 / 255 / std).astype(np.float32), (-mean / std).astype(np.float32)
    normalised: np.ndarray = in_order(image, settings).astype(np.float32) * scale + shift
    return normalised.transpose(2, 0, 1)


def rotate(image: np.ndarray, angle: int) -> np.ndarray:
    """An image turned counter-clockwise by 0, 90, 180 or 270 degrees."""
    return np.ascontiguousarray(np.rot90(image, angle // 90))


def rotate_back(points: np.ndarray, angle: int, shape: Sequence[int]) -> np.ndarray:
    """Where points `(N, 2)` of an image turned by `turned` lie in the image of this shape."""
    last_row, last_column = shape[0] - 1, shape[1] - 1
    x, y = points[:, 0], points[:, 1]
    places = {
        0: (x, y),
        90: (last_column - y, x),
        180: (last_column - x, last_row - y),
        270: (y, last_row - x),
    }
    return np.stack(places[angle], axis=1)
