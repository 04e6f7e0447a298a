"""Decoding of CentripetalText: pixels point at the kernel of their text line.

Sheng et al., "CentripetalText: An Efficient Text Instance Representation for Scene Text Detection"
(2021). Numbers follow PaddleOCR 2.x: ppocr/postprocess/ct_postprocess.py (`CTPostProcess`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import cv2
import numpy as np

from pipelines.detection.postprocess.decoder import Outputs, Sizes, finish_polygons
from pipelines.detection.postprocess.pse import region_outline, regions
from pipelines.detection.postprocess.shapes import Shape
from schemas.processing import CTSettings

STRIDE = 4
"""Pixels of the network's input per pixel of its maps."""
KERNEL_LOGIT = 0.2
"""Pixels with a higher logit belong to the kernel of a line."""
MIN_KERNEL_AREA = 10
"""Kernels of fewer pixels of the map are left out."""
SHIFT_SCALE = 2.5
"""Pixels of the map per unit of the predicted centripetal shifts."""


@dataclass(frozen=True)
class CTDecoder(CTSettings):
    """Decodes the maps of CentripetalText to polygons."""

    box_type: ClassVar[str] = "poly"

    def shapes(self, height: int, width: int) -> Mapping[str, Shape]:
        """Return the shapes of the kernel logits with the shifts, and of the probabilities."""
        size = height // STRIDE, width // STRIDE
        return {"maps": (1, 3, *size), "score": (1, *size)}

    def __call__(self, outputs: Outputs, sizes: Sizes) -> list[np.ndarray]:
        """Decode the outputs for one image; see `Decoder`."""
        maps, score = outputs["maps"][0], outputs["score"][0]
        kernels = cv2.connectedComponents((maps[0] > KERNEL_LOGIT).view(np.uint8), connectivity=4)[
            1
        ]
        areas = np.bincount(kernels.ravel())
        kernels[areas[kernels] < MIN_KERNEL_AREA] = 0
        kept = np.zeros(len(areas), bool)
        for rows, columns in regions(kernels):
            label = kernels[rows[0], columns[0]]
            kept[label] = np.mean(score[rows, columns]) >= self.min_score
        labels = _assign_pixels(maps[1:], kernels)
        labels[~kept[labels]] = 0
        scale = np.array(sizes.image[::-1]) / np.array(sizes.input[::-1])
        polygons = [
            np.trunc(region_outline(np.stack([columns, rows], axis=1), STRIDE) * scale)
            for rows, columns in regions(labels)
            if len(rows) * STRIDE**2 >= self.min_area
        ]
        return finish_polygons(polygons, sizes.image)


def _assign_pixels(shifts: np.ndarray, kernels: np.ndarray) -> np.ndarray:
    """Label each pixel with the kernel that it lies in or is shifted to.

    PaddleOCR shifts only the first 300 rows and columns of the map, and leaves the lines beyond as
    thin as their kernels.

    Args:
        shifts: `(2, h, w) float32`, x and y.
        kernels: `(h, w) int32`, labels of kernels, 0 elsewhere.

    Returns:
        `(h, w) int32`, labels of lines.
    """
    height, width = kernels.shape
    positions = np.indices(kernels.shape, np.float32)[::-1]
    columns, rows = (positions + SHIFT_SCALE * shifts).astype(np.int32)
    labels = kernels[np.clip(rows, 0, height - 1), np.clip(columns, 0, width - 1)]
    inside = kernels > 0
    labels[inside] = kernels[inside]
    return labels
