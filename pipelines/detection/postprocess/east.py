"""From the maps of EAST to boxes: each pixel of text knows the corners of its line.

Zhou et al., "EAST: An Efficient and Accurate Scene Text Detector" (2017). Numbers follow
PaddleOCR 2.x: ppocr/postprocess/east_postprocess.py (`EASTPostProcess`), without the compiled
package lanms that it takes where that is installed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from pipelines.detection.postprocess.decoder import (
    Outputs,
    Shape,
    Sizes,
    finish_quads,
    mean_inside,
)
from pipelines.detection.postprocess.nms import locality_aware_nms
from pipelines.validation import PROBABILITY, Check, check

STRIDE = 4
"""Pixels of the network's input for one of its maps."""
MIN_SIDE = 5
"""A box with a shorter side, in pixels of the image, is left out."""


@dataclass(frozen=True)
class EASTDecoder:
    """Turns the maps of EAST into boxes.

    Attributes:
        score_thresh: probability above which a pixel is text.
        cover_thresh: mean probability that a box needs.
        nms_thresh: boxes that overlap by more than this, as intersection over union, are one.

    Raises:
        SettingsError: a value without a meaning.
    """

    checks: ClassVar[Mapping[str, Check]] = {
        "score_thresh": PROBABILITY,
        "cover_thresh": PROBABILITY,
        "nms_thresh": PROBABILITY,
    }
    box_type: ClassVar[str] = "quad"

    score_thresh: float = 0.8
    cover_thresh: float = 0.1
    nms_thresh: float = 0.2

    def __post_init__(self) -> None:
        check(self, self.checks)

    def shapes(self, height: int, width: int) -> Mapping[str, Shape]:
        """Return the shapes of the corners' distances and of the probability."""
        size = height // STRIDE, width // STRIDE
        return {"f_geo": (1, 8, *size), "f_score": (1, 1, *size)}

    def __call__(self, results: Outputs, sizes: Sizes) -> list[np.ndarray]:
        """Find the text lines of one image, as `Decoder` says."""
        score, geometry = results["f_score"][0, 0], results["f_geo"][0]
        boxes = locality_aware_nms(self._boxes(score, geometry), self.nms_thresh)
        # Means of truncated corners, as PaddleOCR has them.
        cells = boxes[:, :8].reshape(-1, 4, 2).astype(np.int32) // STRIDE
        sure = [mean_inside(score, corners) > self.cover_thresh for corners in cells]
        corners = boxes[sure, :8].reshape(-1, 4, 2) / sizes.ratio[::-1]
        return finish_quads(order_corners(corners.astype(np.int32)), sizes.image)

    def _boxes(self, score: np.ndarray, geometry: np.ndarray) -> np.ndarray:
        """For each pixel of text its box and its probability, `(N, 9) float64`."""
        rows, columns = np.nonzero(score > self.score_thresh)
        # NumPy's default sort moves pixels within their rows, and merging goes by their order.
        order = np.argsort(rows)
        rows, columns = rows[order], columns[order]
        places = np.stack([columns, rows] * 4, axis=1) * STRIDE
        boxes = np.empty((len(rows), 9), np.float32)
        boxes[:, :8] = places - geometry[:, rows, columns].T
        boxes[:, 8] = score[rows, columns]
        return boxes.astype(np.float64)


def order_corners(boxes: np.ndarray) -> np.ndarray:
    """Let boxes `(N, 4, 2)` begin with the least x + y and go along it; leave out short ones."""
    first = boxes.sum(2).argmin(1)
    around = (first[:, np.newaxis] + np.arange(4)) % 4
    boxes = boxes[np.arange(len(boxes))[:, np.newaxis], around]
    level = np.abs(boxes[:, 0] - boxes[:, 1])
    steep = level[:, 0] <= level[:, 1]
    boxes[steep] = boxes[steep][:, [0, 3, 2, 1]]
    sides = np.linalg.norm(boxes[:, :1] - boxes[:, [1, 3]], axis=2)
    return boxes[(sides >= MIN_SIDE).all(1)]
