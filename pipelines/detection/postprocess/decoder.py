"""What the decoders of detectors have in common: what they take, and how boxes are finished.

What is done with boxes and polygons follows PaddleOCR 2.x, tools/infer/predict_det.py
(`TextDetector`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Protocol

import cv2
import numpy as np

from pipelines.detection.postprocess.shapes import Shape
from pipelines.validation import Check

MIN_SIDE_OF_PAGE = 4
"""A box with a shorter side, in pixels of the image, is left out."""

Outputs = Mapping[str, np.ndarray]
"""What a network returns, by PaddleOCR's names, each array with the batch of one in front."""


@dataclass(frozen=True)
class Sizes:
    """How an image became a network's input, each as height and width in pixels.

    Attributes:
        image: the image.
        padded: what was stretched; larger than the image where that is tiny.
        input: what the network sees.
    """

    image: tuple[int, int]
    padded: tuple[int, int]
    input: tuple[int, int]

    @property
    def ratio(self) -> tuple[float, float]:
        """Pixels of the input for one of the image, down and to the right."""
        return self.input[0] / self.padded[0], self.input[1] / self.padded[1]


class Decoder(Protocol):
    """Turns what a detector's network returns into outlines of text lines.

    Its attributes are PaddleOCR's options of the same post-processing.
    """

    checks: ClassVar[Mapping[str, Check]]
    """What its settings are."""

    @property
    def box_type(self) -> str:
        """`"quad"`, which finds boxes of four corners, or `"poly"`, which finds curved lines."""

    def shapes(self, height: int, width: int) -> Mapping[str, Shape]:
        """Return what the network has to return for an input of this size."""

    def __call__(self, results: Outputs, sizes: Sizes) -> list[np.ndarray]:
        """Find the text lines of one image, in no order.

        Args:
            results: of the shapes that `shapes` returns, finite numbers.
            sizes: how the image became the network's input.

        Returns:
            For each a box `(4, 2) float32`, clockwise from the top left, or a polygon
            `(N, 2) float32`, in whole pixels of the image as x, y.
        """


def finish_quads(boxes: np.ndarray, image: tuple[int, int]) -> list[np.ndarray]:
    """Order the corners of boxes `(N, 4, 2)`, keep them in the image and leave out tiny ones."""
    ordered = _clockwise(boxes.reshape(-1, 4, 2)).astype(np.float32)
    inside = np.trunc(np.clip(ordered, 0, _last_pixel(image))).astype(np.float32)
    sides = np.linalg.norm(inside[:, :1] - inside[:, [1, 3]], axis=2)
    return list(inside[(sides >= MIN_SIDE_OF_PAGE).all(1)])


def finish_polygons(polygons: Iterable[np.ndarray], image: tuple[int, int]) -> list[np.ndarray]:
    """Keep the corners of polygons `(N, 2)` in the image, and leave out what are only lines."""
    last = _last_pixel(image)
    return [
        np.trunc(np.clip(polygon, 0, last)).astype(np.float32)
        for polygon in polygons
        if len(polygon) > 2
    ]


def _last_pixel(image: tuple[int, int]) -> np.ndarray:
    height, width = image
    return np.array([width - 1, height - 1])


def _clockwise(boxes: np.ndarray) -> np.ndarray:
    """Order corners `(N, 4, 2)` by x + y and y - x: top left, top right, bottom right, bottom left.

    PaddleOCR does so whatever order a decoder has given them, and this one decides which side of a
    tilted line counts as its top.
    """
    every = np.arange(len(boxes))
    total, slope = boxes.sum(2), boxes[..., 1] - boxes[..., 0]
    first, third = total.argmin(1), total.argmax(1)
    taken = np.zeros(slope.shape, bool)
    taken[every, first] = taken[every, third] = True
    second = np.where(taken, np.inf, slope).argmin(1)
    fourth = np.where(taken, -np.inf, slope).argmax(1)
    return np.stack([boxes[every, place] for place in (first, second, third, fourth)], axis=1)


def mean_inside(heat: np.ndarray, outline: np.ndarray) -> float:
    """Return the mean of a map over an outline `(N, 2)`; what is outside of it does not count."""
    most = np.array(heat.shape[::-1]) - 1
    left, top = np.clip(np.floor(outline.min(0)).astype(np.int32), 0, most)
    right, bottom = np.clip(np.ceil(outline.max(0)).astype(np.int32), 0, most)
    inside = np.zeros((bottom - top + 1, right - left + 1), np.uint8)
    shifted = (outline - np.array([left, top], np.float32)).astype(np.int32)
    cv2.fillPoly(inside, [shifted], 1)
    return cv2.mean(heat[top : bottom + 1, left : right + 1], inside)[0]
