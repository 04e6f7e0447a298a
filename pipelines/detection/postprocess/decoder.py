"""The interface of the detectors' decoders, and the steps that they share.

How boxes and polygons are clipped and filtered follows PaddleOCR 2.x, tools/infer/predict_det.py
(`TextDetector`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np

from pipelines.detection.postprocess.shapes import Shape
from schemas.checks import Check

MIN_BOX_SIDE = 4
"""Boxes with a shorter side than this, in pixels of the image, are left out."""

Outputs = Mapping[str, np.ndarray]
"""The arrays that a network returns, by PaddleOCR's names; their first axis is a batch of one."""


@dataclass(frozen=True)
class Sizes:
    """The sizes of an image on its way to the network, each as (height, width) in pixels.

    Attributes:
        image: of the image.
        padded: before it was resized; larger than the image where that is tiny.
        input: of the network's input.
    """

    image: tuple[int, int]
    padded: tuple[int, int]
    input: tuple[int, int]

    @property
    def ratio(self) -> tuple[float, float]:
        """Pixels of the input per pixel of the image, vertically and horizontally."""
        return self.input[0] / self.padded[0], self.input[1] / self.padded[1]


class Decoder(Protocol):
    """Decodes the outputs of a detection network to boxes or polygons around text lines.

    The fields of a decoder are PaddleOCR's options of the same post-processing.
    """

    @classmethod
    def checks(cls) -> Mapping[str, Check]:
        """Return the check of each of its settings, by the setting's name."""

    @property
    def box_type(self) -> str:
        """`"quad"` for boxes of four corners, `"poly"` for polygons around curved lines."""

    def shapes(self, height: int, width: int) -> Mapping[str, Shape]:
        """Return the expected shape of each output for an input of this size, in pixels."""

    def __call__(self, outputs: Outputs, sizes: Sizes) -> list[np.ndarray]:
        """Decode the outputs for one image.

        Args:
            outputs: finite arrays of the shapes that `shapes` returns.
            sizes: the sizes of the image on its way to the network.

        Returns:
            The text lines, in no particular order: boxes `(4, 2) float32`, clockwise from the top
            left, or polygons `(N, 2) float32`, x and y in whole pixels of the image.
        """


def finish_quads(boxes: np.ndarray, image: tuple[int, int]) -> list[np.ndarray]:
    """Order the corners of boxes, clip them to the image and leave out tiny ones.

    Args:
        boxes: `(N, 4, 2)`, x and y in pixels of the image.
        image: height and width of the image.

    Returns:
        Each box as `(4, 2) float32`, clockwise from the top left.
    """
    ordered = _clockwise(boxes.reshape(-1, 4, 2)).astype(np.float32)
    inside = np.trunc(np.clip(ordered, 0, _last_pixel(image))).astype(np.float32)
    sides = np.linalg.norm(inside[:, :1] - inside[:, [1, 3]], axis=2)
    return list(inside[(sides >= MIN_BOX_SIDE).all(1)])


def finish_polygons(polygons: Iterable[np.ndarray], image: tuple[int, int]) -> list[np.ndarray]:
    """Clip polygons to the image, and leave out those of fewer than three corners.

    Args:
        polygons: each `(N, 2)`, x and y in pixels of the image.
        image: height and width of the image.

    Returns:
        Each polygon as `(N, 2) float32`.
    """
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

    As in PaddleOCR, the order does not depend on that of the decoder; it decides which side of a
    tilted line is its top.
    """
    indices = np.arange(len(boxes))
    total, slope = boxes.sum(2), boxes[..., 1] - boxes[..., 0]
    first, third = total.argmin(1), total.argmax(1)
    taken = np.zeros(slope.shape, bool)
    taken[indices, first] = taken[indices, third] = True
    second = np.where(taken, np.inf, slope).argmin(1)
    fourth = np.where(taken, -np.inf, slope).argmax(1)
    return np.stack([boxes[indices, corner] for corner in (first, second, third, fourth)], axis=1)


def mean_inside(probabilities: np.ndarray, outline: np.ndarray) -> float:
    """Return the mean of a map inside of an outline.

    Args:
        probabilities: `(h, w) float32`.
        outline: `(N, 2)`, x and y in pixels of the map; parts beyond the map do not count.
    """
    last = np.array(probabilities.shape[::-1]) - 1
    left, top = np.clip(np.floor(outline.min(0)).astype(np.int32), 0, last)
    right, bottom = np.clip(np.ceil(outline.max(0)).astype(np.int32), 0, last)
    inside = np.zeros((bottom - top + 1, right - left + 1), np.uint8)
    shifted = (outline - np.array([left, top], np.float32)).astype(np.int32)
    cv2.fillPoly(inside, [shifted], 1)
    return cv2.mean(probabilities[top : bottom + 1, left : right + 1], inside)[0]
