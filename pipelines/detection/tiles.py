"""Detection on tiles: long pages are cut into overlapping tiles, so that they are shrunk less.

A detector shrinks a page until its longer side fits, so the lines of a receipt of 600 x 7500
pixels become too small to be seen. A tile is as long as its page is wide, or as the detector allows
without shrinking. A page that is wider than twice that, such as a scan of A0, is cut along both
sides, so that its tiles are shrunk to half at most. A line at a seam is in both tiles: where it is
whole in one of them, that box is kept; where it crosses both, as a line along the page does, its
boxes are joined.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
from shapely.geometry import Polygon, box
from shapely.geometry.base import BaseGeometry

from schemas.processing import DetectionSettings

MIN_WIDTH = 128
"""Narrower images are widened to this, in pixels: a line that fills its image is not found."""
OVERLAP = 0.2
"""The share of a tile that the next one repeats; lines have to be lower than that."""
MOST_SHRUNK = 2
"""How many times as long as the detector allows without shrinking a tile may be."""
SAME_LINE = 0.5
"""Boxes are of one line if they share this much of the smaller one, within the overlap."""
CONTAINED = 0.8
"""A box is a part of another one if this share of it is inside of it."""
BORDER = 0.25
"""A box touches the border of its tile if it is nearer than this, times its height."""


@dataclass(frozen=True)
class Tile:
    """A part of one side of an image.

    Attributes:
        start, end: its first pixel along that side, and the one after its last.
    """

    start: int
    end: int


def widen(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Widen the shorter side of a narrow strip by repeating its border.

    Args:
        image: `(H, W, 3) uint8`.

    Returns:
        `(h, w, 3) uint8` with sides of at least `MIN_WIDTH`, and the offset in it of the image,
        `(2,) float32`, x and y in pixels.
    """
    height, width = image.shape[:2]
    top, left = max(MIN_WIDTH - height, 0) // 2, max(MIN_WIDTH - width, 0) // 2
    bottom, right = max(MIN_WIDTH - height - top, 0), max(MIN_WIDTH - width - left, 0)
    widened = cv2.copyMakeBorder(image, top, bottom, left, right, cv2.BORDER_REPLICATE)
    return widened, np.array([left, top], np.float32)


def grid_of(height: int, width: int, settings: DetectionSettings) -> tuple[list[Tile], list[Tile]]:
    """Cut an image into overlapping tiles of equal size.

    Args:
        height: of the image, in pixels.
        width: of the image, in pixels.
        settings: the resize rule of the detector.

    Returns:
        The rows of tiles along the height, and the columns along the width; one where that side is
        short enough.
    """
    longest = _longest_side(settings)
    tile = min(max(min(height, width), longest), MOST_SHRUNK * longest)
    return _cut(height, tile), _cut(width, tile)


def _cut(length: int, tile: int) -> list[Tile]:
    """Cut a side of an image into overlapping tiles of one length, in pixels."""
    if length <= tile:
        return [Tile(0, length)]
    overlap = int(tile * OVERLAP)
    count = math.ceil((length - overlap) / (tile - overlap))
    starts = np.linspace(0, length - tile, count).round().astype(int)
    return [Tile(start, start + tile) for start in starts.tolist()]


def _longest_side(settings: DetectionSettings) -> int:
    """Return how long the longer side of an image can be without being shrunk, in pixels."""
    if settings.image_shape:
        return max(settings.image_shape)
    if settings.resize_long:
        return settings.resize_long
    is_by_short_side = settings.short_size or settings.limit_type == "min"
    return settings.max_side_limit if is_by_short_side else settings.limit_side_len


def merge_tiles(
    outlines: Sequence[Sequence[np.ndarray]], tiles: Sequence[Tile], *, vertical: bool
) -> list[np.ndarray]:
    """Merge the lines that several tiles have in common.

    Args:
        outlines: for each tile its boxes `(4, 2) float32` or polygons `(N, 2) float32`, in pixels
            of the image.
        tiles: the tiles, in order.
        vertical: whether the tiles follow each other from top to bottom, else from left to right.

    Returns:
        The lines of the image, each once.
    """
    axis = 1 if vertical else 0
    merged: list[np.ndarray] = []
    previous: list[np.ndarray] = list(outlines[0])
    for (last, tile), current in zip(pairwise(tiles), outlines[1:], strict=True):
        seam = _Seam(tile.start, last.end, axis)
        previous, passed = seam.merge(previous, current)
        merged += passed
    return merged + previous


@dataclass(frozen=True)
class _Seam:
    """The overlap of two tiles, from the start of the later one to the end of the earlier one."""

    start: int
    end: int
    axis: int

    def merge(
        self, earlier: Sequence[np.ndarray], later: Sequence[np.ndarray]
    ) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Merge the lines of the earlier tile with those of the later one.

        Returns:
            The lines that reach into the later tile, merged, and those that end before it.
        """
        kept = list(later)
        passed = []
        for line in earlier:
            if line[:, self.axis].max() < self.start:
                passed.append(line)
                continue
            merged, others = line, []
            for other in kept:
                if self._is_same_line(merged, other):
                    merged = self._unite(merged, other)
                else:
                    others.append(other)
            kept = [*others, merged]
        return kept, passed

    def _is_same_line(self, earlier: np.ndarray, later: np.ndarray) -> bool:
        if later[:, self.axis].min() > self.end:
            return False
        both = np.concatenate([earlier, later])
        low, high = both.min(0), both.max(0)
        low[self.axis], high[self.axis] = self.start, self.end
        overlap = box(*low, *high)
        first, second = (_shape(outline).intersection(overlap) for outline in (earlier, later))
        smaller = min(first.area, second.area)
        return bool(smaller > 0 and first.intersection(second).area >= SAME_LINE * smaller)

    def _unite(self, earlier: np.ndarray, later: np.ndarray) -> np.ndarray:
        """Return the outline of one line of which both tiles have seen at least a part."""
        first, second = _shape(earlier), _shape(later)
        smaller, larger = sorted((first.area, second.area))
        if first.intersection(second).area < CONTAINED * smaller:
            return _join(earlier, later)
        first_is_cut = self.end - earlier[:, self.axis].max() <= BORDER * _height(earlier)
        second_is_cut = later[:, self.axis].min() - self.start <= BORDER * _height(later)
        if first_is_cut == second_is_cut or smaller < SAME_LINE * larger:
            return earlier if first.area >= second.area else later
        return later if first_is_cut else earlier


def _shape(outline: np.ndarray) -> BaseGeometry:
    return Polygon(outline).buffer(0)  # which mends polygons that cross themselves


def _height(outline: np.ndarray) -> float:
    """Return the shorter side of the smallest rectangle around an outline `(N, 2)`."""
    return float(min(cv2.minAreaRect(outline)[1]))


def _join(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the outline around both parts of a line: a box around boxes, else a polygon."""
    if len(first) == len(second) == 4:
        return cv2.boxPoints(cv2.minAreaRect(np.concatenate([first, second])))
    union = _shape(first).union(_shape(second))
    return np.array(union.exterior.coords[:-1], np.float32)
