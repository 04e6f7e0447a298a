"""Whether a line is upside down: line images -> the same, upright.

Numbers follow PaddleOCR 2.x: tools/infer/predict_cls.py.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from pipelines.lines import BATCH_SIZE, by_width, stack
from pipelines.networks import Network

WIDTH = 192
UPSIDE_DOWN = 1
"""The class index of a line turned by 180 degrees; 0 is upright."""


class Classifier:
    """A two-class direction network with its pre- and post-processing.

    A line is turned when the network gives "upside down" more than `threshold`. `batch` is how many
    lines it takes at once.
    """

    def __init__(
        self, network: Network, threshold: float = 0.9, *, batch: int = BATCH_SIZE
    ) -> None:
        self.network = network
        self.threshold = threshold
        self.batch = batch

    def __call__(self, lines: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Turn those of the `(h, w, 3) uint8` lines that are upside down; the others come as given.

        Raises:
            ValueError: the network's output is not `(N, 2)`.
        """
        upright = list(lines)
        for batch in by_width(lines, self.batch):
            scores = self.network(stack([lines[index] for index in batch], WIDTH))
            if scores.shape != (len(batch), 2):
                raise ValueError(
                    f"the classifier returned an array of shape {scores.shape}, expected "
                    f"{(len(batch), 2)}; is this a text direction network?"
                )
            for index, score in zip(batch, scores, strict=True):
                if score.argmax() == UPSIDE_DOWN and score[UPSIDE_DOWN] > self.threshold:
                    upright[index] = cv2.rotate(lines[index], cv2.ROTATE_180)
        return upright
