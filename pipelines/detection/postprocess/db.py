"""Decoding of DB and DB++: a probability map to boxes or polygons.

Liao et al., "Real-time Scene Text Detection with Differentiable Binarization" (2019). Numbers
follow PaddleOCR 2.x: ppocr/postprocess/db_postprocess.py (`DBPostProcess`) and
tools/infer/predict_det.py.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np
import pyclipper
from shapely.geometry import Polygon

from pipelines.detection.postprocess.decoder import (
    Outputs,
    Sizes,
    finish_polygons,
    finish_quads,
    mean_inside,
)
from pipelines.detection.postprocess.shapes import Shape
from schemas.processing import DBSettings

logger = logging.getLogger(__name__)

MIN_SIDE = 3
"""Regions with a shorter side than this, in pixels of the map, are left out."""
TOLERANCE = 0.002
"""Outlines are simplified up to this deviation, as a fraction of their length."""

_DILATION = np.ones((2, 2), np.uint8)


@dataclass(frozen=True)
class DBDecoder(DBSettings):
    """Decodes the probability map of a DB network.

    The network is trained on shrunk text regions, so the regions of its map are expanded.
    """

    def shapes(self, height: int, width: int) -> Mapping[str, Shape]:
        """Return the shape of the probability map."""
        return {"maps": (1, 1, height, width)}

    def __call__(self, outputs: Outputs, sizes: Sizes) -> list[np.ndarray]:
        """Decode the outputs for one image; see `Decoder`."""
        return self.outlines(outputs["maps"][0, 0], *sizes.image)

    def outlines(self, probabilities: np.ndarray, height: int, width: int) -> list[np.ndarray]:
        """Decode a probability map.

        Args:
            probabilities: `(h, w) float32`, probability of text, 0 to 1.
            height: height of the image in pixels.
            width: width of the image in pixels.

        Returns:
            Boxes `(4, 2) float32` or polygons `(N, 2) float32`, in pixels of the image.
        """
        text = (probabilities > self.thresh).view(np.uint8)
        mask = cv2.dilate(text, _DILATION) if self.use_dilation else text
        contours = cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)[0]
        if len(contours) > self.max_candidates:
            logger.warning(
                "the page has %d regions of text, of which the first %d are examined; raise "
                "max_candidates to find the lines of the others",
                len(contours),
                self.max_candidates,
            )
        decode = self._polygon if self.box_type == "poly" else self._quad
        outlines = [decode(probabilities, contour) for contour in contours[: self.max_candidates]]
        kept = [outline for outline in outlines if outline is not None]
        # PaddleOCR divides in float32 but, under NumPy 2, multiplies in float64; halves show it.
        map_size = np.array(probabilities.shape[::-1], np.float32)
        size = np.array([width, height], np.float64)
        if self.box_type == "poly":
            polygons = [_scaled(polygon, map_size, size) for polygon in kept]
            return finish_polygons(polygons, (height, width))
        boxes = _scaled(np.array(kept, np.float32).reshape(-1, 4, 2), map_size, size)
        return finish_quads(boxes, (height, width))

    def _quad(self, probabilities: np.ndarray, contour: np.ndarray) -> np.ndarray | None:
        """Return the expanded rectangle of a region, `(4, 2) float32`; None if it is noise."""
        core, side = rectangle(contour)
        if side < MIN_SIDE:
            return None
        scored = core if self.score_mode == "fast" else contour[:, 0]
        if mean_inside(probabilities, scored) < self.box_thresh:
            return None
        expanded = self._unclip(core)
        if expanded is None:
            return None
        box, side = rectangle(expanded)
        return box if side >= MIN_SIDE + 2 else None

    def _polygon(self, probabilities: np.ndarray, contour: np.ndarray) -> np.ndarray | None:
        """Return the expanded outline of a region, `(N, 2) int32`; None if it is noise."""
        tolerance = TOLERANCE * cv2.arcLength(contour, True)
        core = cv2.approxPolyDP(contour, tolerance, True)[:, 0]
        if len(core) < 4 or mean_inside(probabilities, core) < self.box_thresh:
            return None
        expanded = self._unclip(core)
        if expanded is None or min(cv2.minAreaRect(expanded)[1]) < MIN_SIDE + 2:
            return None
        return expanded

    def _unclip(self, outline: np.ndarray) -> np.ndarray | None:
        """Expand an outline `(N, 2)` to `(M, 2) int32`; None if it splits or vanishes.

        Corners become round; fractions of the coordinates are truncated first.
        """
        polygon = Polygon(outline)
        offset = pyclipper.PyclipperOffset()
        offset.AddPath(outline, pyclipper.JT_ROUND, pyclipper.ET_CLOSEDPOLYGON)
        expanded = offset.Execute(polygon.area * self.unclip_ratio / polygon.length)
        return np.array(expanded[0], np.int32) if len(expanded) == 1 else None


def rectangle(points: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the smallest rectangle around points.

    Args:
        points: `(N, 2)` or `(N, 1, 2)`, float32 or int32.

    Returns:
        Its corners `(4, 2) float32`, clockwise from the top left, and the length of its shorter
        side.
    """
    smallest = cv2.minAreaRect(points)
    corners = cv2.boxPoints(smallest)
    corners = corners[np.argsort(corners[:, 0], kind="stable")]
    top_left, bottom_left = _upper_first(corners[1], corners[0])
    top_right, bottom_right = _upper_first(corners[3], corners[2])
    return np.array([top_left, top_right, bottom_right, bottom_left]), min(smallest[1])


def _upper_first(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return (b, a) if a[1] > b[1] else (a, b)


def _scaled(points: np.ndarray, map_size: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Scale points `(..., 2)` of the map to whole pixels of the image."""
    return np.clip(np.round(points / map_size * size), 0, size)
