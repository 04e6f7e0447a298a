"""Decoding of EAST: each text pixel predicts the corners of its line.

Zhou et al., "EAST: An Efficient and Accurate Scene Text Detector" (2017). Numbers follow
PaddleOCR 2.x: ppocr/postprocess/east_postprocess.py (`EASTPostProcess`), as it runs without
the compiled package lanms.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from pipelines.detection.postprocess.decoder import (
    Outputs,
    Sizes,
    finish_quads,
    mean_inside,
)
from pipelines.detection.postprocess.nms import locality_aware_nms
from pipelines.detection.postprocess.shapes import Shape
from schemas.processing import EASTSettings

STRIDE = 4
"""Pixels of the network's input per pixel of its maps."""
MIN_SIDE = 5
"""Boxes with a shorter side than this, in pixels of the image, are left out."""


@dataclass(frozen=True)
class EASTDecoder(EASTSettings):
    """Decodes the maps of EAST to boxes."""

    box_type: ClassVar[str] = "quad"

    def shapes(self, height: int, width: int) -> Mapping[str, Shape]:
        """Return the shapes of the corner offsets and of the probability map."""
        size = height // STRIDE, width // STRIDE
        return {"f_geo": (1, 8, *size), "f_score": (1, 1, *size)}

    def __call__(self, outputs: Outputs, sizes: Sizes) -> list[np.ndarray]:
        """Decode the outputs for one image; see `Decoder`."""
        score, geometry = outputs["f_score"][0, 0], outputs["f_geo"][0]
        boxes = locality_aware_nms(self._boxes(score, geometry), self.nms_thresh)
        # The means are over truncated corners, as in PaddleOCR.
        cells = boxes[:, :8].reshape(-1, 4, 2).astype(np.int32) // STRIDE
        kept = [mean_inside(score, corners) > self.cover_thresh for corners in cells]
        corners = boxes[kept, :8].reshape(-1, 4, 2) / sizes.ratio[::-1]
        return finish_quads(order_corners(corners.astype(np.int32)), sizes.image)

    def _boxes(self, score: np.ndarray, geometry: np.ndarray) -> np.ndarray:
        """Return the box of each text pixel with its probability, `(N, 9) float64`."""
        rows, columns = np.nonzero(score > self.score_thresh)
        # NumPy's default sort reorders pixels within their rows, and merging depends on the order.
        order = np.argsort(rows)
        rows, columns = rows[order], columns[order]
        positions = np.stack([columns, rows] * 4, axis=1) * STRIDE
        boxes = np.empty((len(rows), 9), np.float32)
        boxes[:, :8] = positions - geometry[:, rows, columns].T
        boxes[:, 8] = score[rows, columns]
        return boxes.astype(np.float64)


def order_corners(boxes: np.ndarray) -> np.ndarray:
    """Order corners `(N, 4, 2)` from the least x + y, along the text; leave out small boxes."""
    first = boxes.sum(2).argmin(1)
    around = (first[:, np.newaxis] + np.arange(4)) % 4
    boxes = boxes[np.arange(len(boxes))[:, np.newaxis], around]
    level = np.abs(boxes[:, 0] - boxes[:, 1])
    steep = level[:, 0] <= level[:, 1]
    boxes[steep] = boxes[steep][:, [0, 3, 2, 1]]
    sides = np.linalg.norm(boxes[:, :1] - boxes[:, [1, 3]], axis=2)
    return boxes[(sides >= MIN_SIDE).all(1)]
