"""Where the text of a page is: image -> probability map -> quadrilaterals.

Liao et al., "Real-time Scene Text Detection with Differentiable Binarization" (2019). Numbers
follow PaddleOCR 2.x: tools/infer/predict_det.py, ppocr/data/imaug/operators.py (`DetResizeForTest`,
`NormalizeImage`) and ppocr/postprocess/db_postprocess.py (`DBPostProcess`, `quad`, `fast`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
import pyclipper
from shapely.geometry import Polygon

from pipelines.networks import Network

STRIDE = 32
# ImageNet's statistics of red, green, blue, in this order; PaddleOCR's images are blue, green, red.
MEAN = np.array([0.485, 0.456, 0.406], np.float32)
STD = np.array([0.229, 0.224, 0.225], np.float32)

LimitType = Literal["max", "min"]


def network_size(
    height: int, width: int, limit: int = 960, limit_type: LimitType = "max"
) -> tuple[int, int]:
    """Height and width, multiples of 32, at which the detector sees an image of this size.

    "max" shrinks an image whose longer side is above `limit`, "min" enlarges one whose shorter side
    is below it.
    """
    if limit_type == "max":
        scale = limit / max(height, width, limit)
    else:
        scale = max(limit / min(height, width), 1.0)
    return _whole_strides(int(height * scale)), _whole_strides(int(width * scale))


def _whole_strides(length: int) -> int:
    # Python rounds halves to even, so 80 becomes 64 and 112 becomes 128, in PaddleOCR too.
    return max(round(length / STRIDE) * STRIDE, STRIDE)


def network_input(image: np.ndarray, limit: int = 960, limit_type: LimitType = "max") -> np.ndarray:
    """Resize and normalise an `(H, W, 3) uint8` BGR image to `(1, 3, h, w) float32`."""
    height, width = image.shape[:2]
    if height + width < 64:
        below, right = max(STRIDE - height, 0), max(STRIDE - width, 0)
        image = cv2.copyMakeBorder(image, 0, below, 0, right, cv2.BORDER_CONSTANT)
        height, width = image.shape[:2]
    height, width = network_size(height, width, limit, limit_type)
    resized = cv2.resize(image, (width, height)).astype(np.float32)
    normalised = (resized * np.float32(1 / 255) - MEAN) / STD
    return np.ascontiguousarray(normalised.transpose(2, 0, 1)[np.newaxis])


@dataclass(frozen=True)
class DBDecoder:
    """Turns the probability map of a DB network into quadrilaterals.

    A pixel above `threshold` is text. A box needs a mean probability of `box_threshold`, and grows
    on every side by `unclip_ratio` times area / perimeter, because the network is trained on
    shrunken text. At most `max_candidates` regions are looked at; one less than `min_side` pixels
    of the map high or wide is noise.
    """

    threshold: float = 0.3
    box_threshold: float = 0.6
    unclip_ratio: float = 1.5
    max_candidates: int = 1000
    min_side: int = 3

    def __call__(self, heat: np.ndarray, height: int, width: int) -> np.ndarray:
        """Find the boxes of one map and scale them to the image.

        Args:
            heat: `(h, w) float32`, probability of text.
            height, width: the image's size in pixels.

        Returns:
            `(N, 4, 2) float32`, whole pixels as x, y; corners clockwise from the top left.
        """
        mask = (heat > self.threshold).astype(np.uint8)
        contours = cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)[0]
        # PaddleOCR divides in float32 but, under NumPy 2, multiplies in float64; halves show it.
        scale = np.array([width, height], np.float64)
        boxes = []
        for contour in contours[: self.max_candidates]:
            box = self._box(heat, contour)
            if box is None:
                continue
            box = box / np.array(heat.shape[::-1], np.float32)
            box = _clockwise(np.clip(np.round(box * scale), 0, scale).astype(np.float32))
            box = np.clip(box, 0, np.array([width - 1, height - 1], np.float32))
            sides = np.linalg.norm(box[0] - box[[1, 3]], axis=1)
            if sides.min() >= 4:
                boxes.append(box)
        return np.array(boxes, np.float32).reshape(-1, 4, 2)

    def _box(self, heat: np.ndarray, contour: np.ndarray) -> np.ndarray | None:
        """The grown rectangle around a region, `(4, 2) float32` on the map; None if it is noise."""
        core, side = _rectangle(contour)
        if side < self.min_side or _mean_inside(heat, core) < self.box_threshold:
            return None
        shape = Polygon(core)
        grower = pyclipper.PyclipperOffset()
        grower.AddPath(core, pyclipper.JT_ROUND, pyclipper.ET_CLOSEDPOLYGON)
        grown = grower.Execute(shape.area * self.unclip_ratio / shape.length)
        if len(grown) != 1:
            return None
        box, side = _rectangle(np.array(grown[0], np.int32))
        return box if side >= self.min_side + 2 else None


def _rectangle(points: np.ndarray) -> tuple[np.ndarray, float]:
    """The smallest rectangle around points, `(4, 2) float32` clockwise, and its shorter side."""
    rectangle = cv2.minAreaRect(points)
    corners = cv2.boxPoints(rectangle)
    corners = corners[np.argsort(corners[:, 0], kind="stable")]
    top_left, bottom_left = _upper_first(corners[1], corners[0])
    top_right, bottom_right = _upper_first(corners[3], corners[2])
    return np.array([top_left, top_right, bottom_right, bottom_left]), min(rectangle[1])


def _upper_first(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return (b, a) if a[1] > b[1] else (a, b)


def _mean_inside(heat: np.ndarray, corners: np.ndarray) -> float:
    """Mean of the map over a quadrilateral; the part outside of the map does not count."""
    most = np.array(heat.shape[::-1]) - 1
    left, top = np.clip(np.floor(corners.min(0)).astype(np.int32), 0, most)
    right, bottom = np.clip(np.ceil(corners.max(0)).astype(np.int32), 0, most)
    inside = np.zeros((bottom - top + 1, right - left + 1), np.uint8)
    shifted = (corners - np.array([left, top], np.float32)).astype(np.int32)
    cv2.fillPoly(inside, [shifted], 1)
    return cv2.mean(heat[top : bottom + 1, left : right + 1], inside)[0]


def _clockwise(box: np.ndarray) -> np.ndarray:
    """Order four corners by x + y and y - x: top left, top right, bottom right, bottom left.

    Not always the order of `_rectangle`: for steep boxes the two may start at different corners.
    PaddleOCR applies both, and this one decides which side of a tilted line counts as its top.
    """
    total = box.sum(1)
    first, third = int(total.argmin()), int(total.argmax())
    others = np.delete(box, [first, third], axis=0)
    slope = others[:, 1] - others[:, 0]
    return np.array([box[first], others[slope.argmin()], box[third], others[slope.argmax()]])


class Detector:
    """A DB network with its pre- and post-processing."""

    def __init__(
        self,
        network: Network,
        limit: int = 960,
        limit_type: LimitType = "max",
        decoder: DBDecoder | None = None,
    ) -> None:
        self.network = network
        self.limit = limit
        self.limit_type: LimitType = limit_type
        self.decoder = decoder or DBDecoder()

    def heat_map(self, image: np.ndarray) -> np.ndarray:
        """Probability of text at the network's resolution, `(h, w) float32`.

        Args:
            image: `(H, W, 3) uint8` BGR.

        Raises:
            ValueError: the network's output is not one map of its input's size.
        """
        batch = network_input(image, self.limit, self.limit_type)
        maps = self.network(batch)
        expected = (1, 1, *batch.shape[2:])
        if maps.shape != expected:
            raise ValueError(
                f"the detector returned an array of shape {maps.shape}, expected {expected}; "
                "is this a DB detection network?"
            )
        return maps[0, 0]

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Boxes `(N, 4, 2) float32` of the text lines of an `(H, W, 3) uint8` image, unsorted."""
        return self.decoder(self.heat_map(image), *image.shape[:2])
