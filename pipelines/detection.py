"""Where the text of a page is: image -> probability map -> boxes.

Numbers follow PaddleOCR 2.x: tools/infer/predict_det.py and ppocr/data/imaug/operators.py
(`NormalizeImage`).
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from pipelines.db import DBDecoder
from pipelines.networks import Network
from pipelines.resizing import resize
from pipelines.settings import DetSettings


class Detector:
    """A DB network with its pre- and post-processing, as its weights' `.json` says.

    `changes` take the place of what it says, such as `box_thresh=0.5`.

    Raises:
        SettingsError: a value without a meaning, a change of what is no setting.
    """

    def __init__(self, network: Network, **changes: Any) -> None:
        self.network = network
        self.settings = DetSettings.of(network, **changes)
        self.decoder = DBDecoder(
            **{name: getattr(self.settings, name) for name in DBDecoder.__dataclass_fields__}
        )
        self._tables = _tables(self.settings)

    def network_input(self, image: np.ndarray) -> np.ndarray:
        """Resize and normalise an `(H, W, 3) uint8` BGR image to `(1, 3, h, w) float32`."""
        resized = resize(image, self.settings)
        batch = np.empty((1, 3, *resized.shape[:2]), np.float32)
        planes = cv2.split(resized)
        if self.settings.color == "RGB":
            planes = planes[::-1]
        for plane, table, place in zip(planes, self._tables, batch[0], strict=True):
            cv2.LUT(plane, table, place)
        return batch

    def heat_map(self, image: np.ndarray) -> np.ndarray:
        """Probability of text at the network's resolution, `(h, w) float32`.

        Args:
            image: `(H, W, 3) uint8` BGR.

        Raises:
            ValueError: the network's output is not one map of its input's size.
        """
        batch = self.network_input(image)
        maps = self.network(batch)
        expected = (1, 1, *batch.shape[2:])
        if maps.shape != expected:
            raise ValueError(
                f"the detector returned an array of shape {maps.shape}, expected {expected}; "
                "is this a DB detection network?"
            )
        return maps[0, 0]

    def __call__(self, image: np.ndarray) -> list[np.ndarray]:
        """Find the text lines of an `(H, W, 3) uint8` image, in no order.

        Returns:
            For each a box, `(4, 2) float32`, or a polygon, `(N, 2) float32`.

        Raises:
            ValueError: the network's output is not one map of its input's size, or not finite.
        """
        return self.decoder(self.heat_map(image), *image.shape[:2])


def _tables(settings: DetSettings) -> list[np.ndarray]:
    """For each channel, what each of the 256 values is when normalised, `(256,) float32`."""
    values = np.arange(256, dtype=np.float32) * np.float32(1 / 255)
    mean, std = np.array(settings.mean, np.float32), np.array(settings.std, np.float32)
    return [(values - mean[channel]) / std[channel] for channel in range(3)]
