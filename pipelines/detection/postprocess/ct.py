"""From the maps of CentripetalText to polygons: pixels point at the core of their line.

Sheng et al., "CentripetalText: An Efficient Text Instance Representation for Scene Text Detection"
(2021). Numbers follow PaddleOCR 2.x: ppocr/postprocess/ct_postprocess.py (`CTPostProcess`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import cv2
import numpy as np

from pipelines.detection.postprocess.decoder import Outputs, Shape, Sizes, finish_polygons
from pipelines.detection.postprocess.pse import region_outline, regions
from pipelines.validation import COUNT, PROBABILITY, Check, check

STRIDE = 4
"""Pixels of the network's input for one of its maps."""
CORE = 0.2
"""Logit above which a pixel belongs to the core of a line."""
MIN_CORE = 10
"""A core of fewer pixels of the map is noise."""
REACH = 2.5
"""Pixels of the map for one of the distances that the network tells."""


@dataclass(frozen=True)
class CTDecoder:
    """Turns the maps of CentripetalText into polygons.

    Attributes:
        min_score: mean probability that a core needs.
        min_area: lines of fewer pixels of the network's input are left out.

    Raises:
        SettingsError: a value without a meaning.
    """

    checks: ClassVar[Mapping[str, Check]] = {"min_score": PROBABILITY, "min_area": COUNT}
    box_type: ClassVar[str] = "poly"

    min_score: float = 0.88
    min_area: int = 16

    def __post_init__(self) -> None:
        check(self, self.checks)

    def shapes(self, height: int, width: int) -> Mapping[str, Shape]:
        """Return the shapes of cores with distances to them, and of the probability of cores."""
        size = height // STRIDE, width // STRIDE
        return {"maps": (1, 3, *size), "score": (1, *size)}

    def __call__(self, results: Outputs, sizes: Sizes) -> list[np.ndarray]:
        """Find the text lines of one image, as `Decoder` says."""
        maps, score = results["maps"][0], results["score"][0]
        cores = cv2.connectedComponents((maps[0] > CORE).view(np.uint8), connectivity=4)[1]
        areas = np.bincount(cores.ravel())
        cores[areas[cores] < MIN_CORE] = 0
        sure = np.zeros(len(areas), bool)
        for rows, columns in regions(cores):
            label = cores[rows[0], columns[0]]
            sure[label] = np.mean(score[rows, columns]) >= self.min_score
        labels = _pointing(maps[1:], cores)
        labels[~sure[labels]] = 0
        scale = np.array(sizes.image[::-1]) / np.array(sizes.input[::-1])
        polygons = [
            np.trunc(region_outline(np.stack([columns, rows], axis=1), STRIDE) * scale)
            for rows, columns in regions(labels)
            if len(rows) * STRIDE**2 >= self.min_area
        ]
        return finish_polygons(polygons, sizes.image)


def _pointing(distances: np.ndarray, cores: np.ndarray) -> np.ndarray:
    """Give each pixel the label of the core that it lies in or, with `(2, h, w)`, points at.

    PaddleOCR looks at the first 300 rows and columns of the map only, and leaves the lines beyond
    as thin as their cores.
    """
    height, width = cores.shape
    places = np.indices(cores.shape, np.float32)[::-1]
    columns, rows = (places + REACH * distances).astype(np.int32)
    labels = cores[np.clip(rows, 0, height - 1), np.clip(columns, 0, width - 1)]
    inside = cores > 0
    labels[inside] = cores[inside]
    return labels
