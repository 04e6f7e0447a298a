"""From a map of probabilities to the outlines of text lines.

Liao et al., "Real-time Scene Text Detection with Differentiable Binarization" (2019). Numbers
follow PaddleOCR 2.x: ppocr/postprocess/db_postprocess.py (`DBPostProcess`) and what
tools/infer/predict_det.py does with its boxes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import cv2
import numpy as np
import pyclipper
from shapely.geometry import Polygon

from pipelines.detection.postprocess.decoder import (
    Outputs,
    Shape,
    Sizes,
    finish_polygons,
    finish_quads,
    mean_inside,
)
from pipelines.validation import BOX_TYPE, COUNT, FLAG, PROBABILITY, QUANTITY, Check, check, one_of

MIN_SIDE = 3
"""A region less than so many pixels of the map high or wide is noise."""
TOLERANCE = 0.002
"""How far an outline may be simplified, as a share of its length."""

_DILATION = np.ones((2, 2), np.uint8)


@dataclass(frozen=True)
class DBDecoder:
    """Turns the probability map of a DB network into boxes.

    Regions grow because the network is trained on shrunken text.

    Attributes:
        thresh: probability above which a pixel is text.
        box_thresh: mean probability that a region needs, within its box if `score_mode` is "fast",
            within its outline if "slow". Polygons are always measured by their outline.
        unclip_ratio: regions grow by this times area / perimeter, as training shrank them.
        max_candidates: how many regions are looked at.
        use_dilation: whether regions are widened by a pixel first.
        box_type: "quad" for four corners, "poly" for curved lines.

    Raises:
        SettingsError: a value without a meaning.
    """

    checks: ClassVar[Mapping[str, Check]] = {
        "thresh": PROBABILITY,
        "box_thresh": PROBABILITY,
        "unclip_ratio": QUANTITY,
        "max_candidates": COUNT,
        "use_dilation": FLAG,
        "score_mode": one_of("fast", "slow"),
        "box_type": BOX_TYPE,
    }

    thresh: float = 0.3
    box_thresh: float = 0.6
    unclip_ratio: float = 1.5
    max_candidates: int = 1000
    use_dilation: bool = False
    score_mode: str = "fast"
    box_type: str = "quad"

    def __post_init__(self) -> None:
        check(self, self.checks)

    def shapes(self, height: int, width: int) -> Mapping[str, Shape]:
        """Return the shape of its map."""
        return {"maps": (1, 1, height, width)}

    def __call__(self, results: Outputs, sizes: Sizes) -> list[np.ndarray]:
        """Find the text lines of one image, as `Decoder` says."""
        return self.outlines(results["maps"][0, 0], *sizes.image)

    def outlines(self, heat: np.ndarray, height: int, width: int) -> list[np.ndarray]:
        """Find the boxes or polygons of one map and scale them to the image.

        Args:
            heat: `(h, w) float32`, probability of text.
            height, width: the image's size in pixels.
        """
        text = (heat > self.thresh).view(np.uint8)
        mask = cv2.dilate(text, _DILATION) if self.use_dilation else text
        contours = cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)[0]
        outline = self._polygon if self.box_type == "poly" else self._quad
        outlines = [outline(heat, contour) for contour in contours[: self.max_candidates]]
        found = [box for box in outlines if box is not None]
        # PaddleOCR divides in float32 but, under NumPy 2, multiplies in float64; halves show it.
        map_size = np.array(heat.shape[::-1], np.float32)
        size = np.array([width, height], np.float64)
        if self.box_type == "poly":
            polygons = [_scaled(polygon, map_size, size) for polygon in found]
            return finish_polygons(polygons, (height, width))
        boxes = _scaled(np.array(found, np.float32).reshape(-1, 4, 2), map_size, size)
        return finish_quads(boxes, (height, width))

    def _quad(self, heat: np.ndarray, contour: np.ndarray) -> np.ndarray | None:
        """The grown rectangle around a region, `(4, 2) float32` on the map; None if it is noise."""
        core, side = rectangle(contour)
        if side < MIN_SIDE:
            return None
        measured = core if self.score_mode == "fast" else contour[:, 0]
        if mean_inside(heat, measured) < self.box_thresh:
            return None
        grown = self._unclip(core)
        if grown is None:
            return None
        box, side = rectangle(grown)
        return box if side >= MIN_SIDE + 2 else None

    def _polygon(self, heat: np.ndarray, contour: np.ndarray) -> np.ndarray | None:
        """The grown outline of a region, `(N, 2) int32` on the map; None if it is noise."""
        tolerance = TOLERANCE * cv2.arcLength(contour, True)
        core = cv2.approxPolyDP(contour, tolerance, True)[:, 0]
        if len(core) < 4 or mean_inside(heat, core) < self.box_thresh:
            return None
        grown = self._unclip(core)
        if grown is None or min(cv2.minAreaRect(grown)[1]) < MIN_SIDE + 2:
            return None
        return grown

    def _unclip(self, outline: np.ndarray) -> np.ndarray | None:
        """Move an outline `(N, 2)` outwards, `(M, 2) int32`; None if it comes apart or to nothing.

        Corners become round, and coordinates that are not whole lose their fraction first.
        """
        shape = Polygon(outline)
        grower = pyclipper.PyclipperOffset()
        grower.AddPath(outline, pyclipper.JT_ROUND, pyclipper.ET_CLOSEDPOLYGON)
        grown = grower.Execute(shape.area * self.unclip_ratio / shape.length)
        return np.array(grown[0], np.int32) if len(grown) == 1 else None


def rectangle(points: np.ndarray) -> tuple[np.ndarray, float]:
    """The smallest rectangle around points, `(4, 2) float32` clockwise, and its shorter side."""
    found = cv2.minAreaRect(points)
    corners = cv2.boxPoints(found)
    corners = corners[np.argsort(corners[:, 0], kind="stable")]
    top_left, bottom_left = _upper_first(corners[1], corners[0])
    top_right, bottom_right = _upper_first(corners[3], corners[2])
    return np.array([top_left, top_right, bottom_right, bottom_left]), min(found[1])


def _upper_first(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return (b, a) if a[1] > b[1] else (a, b)


def _scaled(points: np.ndarray, map_size: np.ndarray, size: np.ndarray) -> np.ndarray:
    """From points of the map, `(..., 2)`, to whole pixels of the image."""
    return np.clip(np.round(points / map_size * size), 0, size)
