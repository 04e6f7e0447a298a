"""Decoding of PGNet: four maps to text lines with their polygons and texts.

Wang et al., "PGNet: Real-time Arbitrarily-Shaped Text Spotting with Point Gathering Network"
(2021). Numbers follow PaddleOCR 2.x: ppocr/postprocess/pg_postprocess.py (`PGPostProcess`),
ppocr/utils/e2e_utils and tools/infer/predict_e2e.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import cv2
import numpy as np

from pipelines.detection.postprocess.decoder import Outputs, Sizes, finish_polygons
from pipelines.detection.postprocess.shapes import Shape
from pipelines.spotting.thinning import thin
from schemas.processing import PGSettings

STRIDE = 4
"""Pixels of the network's input per pixel of its maps."""
MIN_PIXELS = 3
"""Center lines of fewer pixels are left out."""
SPLIT_LENGTH = 16
"""Center lines of at least this many pixels are ordered in two halves, since they may bend."""
EXTENSION = 0.15
"""Center lines are extended at each end by twice this fraction of the mean direction length."""
FAST_POINTS = 6
"""Corners of a polygon's upper side, and of its lower side, in the mode "fast"."""
MIN_CHARACTERS = 2
"""Lines of fewer characters are left out."""
BORDER_SCALE = 1.2
"""Factor by which the borders of curved text move away from the center line."""
MIN_EXPANSION, MAX_EXPANSION = 0.5, 3.0
"""Limits of that movement, in pixels of the map, in the mode "slow"."""
POLYGON_EXTENSION = 0.2
"""Polygons are extended at both ends by this fraction of their height."""


class Spotted(NamedTuple):
    """A text line.

    Attributes:
        polygon: `(N, 2) float32`, x and y in pixels of the image.
        text: the text of the line.
        score: mean probability of its characters, 0 to 1.
    """

    polygon: np.ndarray
    text: str
    score: float


@dataclass(frozen=True)
class PGDecoder(PGSettings):
    """Decodes the maps of PGNet to polygons and texts.

    The text regions are thinned to center lines. Along each center line, the classes of its pixels
    are decoded as by CTC, and the offsets to the borders give the polygon.
    """

    def shapes(self, height: int, width: int) -> Mapping[str, Shape]:
        """Return the expected shape of each output for an input of this size, in pixels."""
        channels = {"f_border": 4, "f_char": len(self.characters) + 1, "f_direction": 2}
        size = (height // STRIDE, width // STRIDE)
        return {name: (1, count, *size) for name, count in {**channels, "f_score": 1}.items()}

    def __call__(self, outputs: Outputs, sizes: Sizes) -> list[Spotted]:
        """Decode the outputs for one image.

        Args:
            outputs: finite arrays of the shapes that `shapes` returns.
            sizes: the sizes of the image on its way to the network.
        """
        is_text = outputs["f_score"][0, 0] > self.score_thresh
        # The memory order of PaddleOCR, so that sums are computed in the same order.
        direction = np.ascontiguousarray(outputs["f_direction"][0]).transpose(1, 2, 0)
        lines = center_lines(is_text, direction)
        if self.mode == "fast":
            lines = [line for line in lines if len(line) >= FAST_POINTS]
            if self.point_gather_mode == "align":
                lines = [_fill_gaps(line) for line in lines]
        spotted: list[Spotted] = []
        classes = outputs["f_char"][0].transpose(1, 2, 0)
        for line in lines:
            scores = classes[line[:, 0], line[:, 1]]
            best = (scores if self.mode == "fast" else _softmax(scores)).argmax(1)
            starts = np.flatnonzero(np.append(True, best[1:] != best[:-1]))
            decoded = starts[best[starts] != len(self.characters)]
            text = "".join([self.characters[index] for index in best[decoded].tolist()])
            if len(text) < MIN_CHARACTERS:
                continue
            points = _sample(line) if self.mode == "fast" else _run_centers(line, starts)
            polygon = self._polygon(points, outputs["f_border"][0], sizes)
            score = float(_softmax(scores[decoded]).max(1).mean())
            spotted.append(Spotted(polygon, text, score))
        return spotted

    def _polygon(self, points: np.ndarray, border: np.ndarray, sizes: Sizes) -> np.ndarray:
        """Return the polygon around a center line.

        Args:
            points: `(N, 2)`, y and x of points of the center line, in pixels of the map.
            border: `(4, h, w) float32`, offsets to the upper and the lower border.
            sizes: the sizes of the image.

        Returns:
            `(M, 2) float32`, x and y in pixels of the image.
        """
        height, width = sizes.image
        offsets = border[:, points[:, 0], points[:, 1]].T.reshape(-1, 2, 2)
        if self.valid_set == "totaltext":
            offsets = offsets * BORDER_SCALE if self.mode == "fast" else _expand(offsets)
        sides = points.astype(np.float32)[:, None] + offsets
        # PaddleOCR divides by a float64.
        sides = sides[..., ::-1] * 4.0 / np.array(sizes.ratio[::-1], np.float64)
        outline = _extend(np.concatenate([sides[:, 0], sides[::-1, 1]]))
        outline = np.clip(outline, 0, (width, height))
        if self.mode == "slow":
            outline = np.round(outline)
        if self.valid_set == "partvgg":
            middle = len(outline) // 2
            outline = outline[[0, middle - 1, middle, -1]]
        return finish_polygons([outline], sizes.image)[0]


def center_lines(is_text: np.ndarray, direction: np.ndarray) -> list[np.ndarray]:
    """Return the center line of each text region.

    Args:
        is_text: `(H, W) bool`.
        direction: `(H, W, 2) float32`, x and y of the reading direction.

    Returns:
        For each region the pixels of its center line in reading order, `(N, 2) int`, y and x.
    """
    count, labels = cv2.connectedComponents(thin(is_text.view(np.uint8)), connectivity=8)
    pixels = np.flatnonzero(labels)
    owners = labels.ravel()[pixels]
    pixels = pixels[np.argsort(owners, kind="stable")]
    positions = np.stack(np.unravel_index(pixels, is_text.shape), axis=1)
    ends = np.bincount(owners, minlength=count).cumsum()
    regions = (positions[start:end] for start, end in pairwise(ends))
    return [
        _order_and_extend(region, direction, is_text)
        for region in regions
        if len(region) >= MIN_PIXELS
    ]


def _order_and_extend(
    pixels: np.ndarray, direction_map: np.ndarray, is_text: np.ndarray
) -> np.ndarray:
    """Sort pixels `(N, 2)` in reading order, and extend the line at both ends within the text."""
    directions = np.array(direction_map[pixels[:, 0], pixels[:, 1]][:, ::-1])
    pixels, directions = _sort_along(pixels, directions)
    directions = np.array(directions, np.float64, order="C")
    if len(pixels) >= SPLIT_LENGTH:
        half = len(pixels) // 2
        (first, first_directions), (last, last_directions) = (
            _sort_along(pixels[part], directions[part]) for part in (slice(half), slice(half, None))
        )
        pixels, directions = (
            np.concatenate([first, last]),
            np.concatenate([first_directions, last_directions]),
        )
    share = max(len(pixels) // 3, 2)
    back, on = (
        -np.mean(directions[:share], axis=0),
        np.mean(directions[len(directions) - share :], axis=0),
    )
    lengths = np.linalg.norm(back), np.linalg.norm(on)
    steps = 2 * max(int((lengths[0] + lengths[1]) / 2 * EXTENSION), 1)
    before, after = (
        list(_walk(start, direction / (length + 1e-6), steps, is_text))
        for start, direction, length in zip(pixels[[0, -1]], (back, on), lengths, strict=True)
    )
    if before or after:
        return np.array([*before[::-1], *pixels.tolist(), *after])
    return pixels


def _sort_along(pixels: np.ndarray, directions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sort pixels `(N, 2)` and their directions by their position along the mean direction."""
    order = np.argsort(np.sum(pixels * np.mean(directions, axis=0, keepdims=True), axis=1))
    return pixels[order], directions[order]


def _walk(
    start: np.ndarray, step: np.ndarray, steps: int, is_text: np.ndarray
) -> Iterator[tuple[int, int]]:
    """Yield the pixels along a direction, as long as they are text.

    As in PaddleOCR, pixels above or left of the map wrap around to its other end.

    Args:
        start: `(2,)`, y and x of the pixel before the first step.
        step: `(2,)`, y and x of one step.
        steps: the maximum number of steps.
        is_text: `(H, W) bool`.
    """
    (y, x), (down, right) = start.tolist(), step.tolist()
    height, width = is_text.shape
    reached = set()
    for count in range(1, steps + 1):
        pixel = round(y + down * count), round(x + right * count)
        if not (-height <= pixel[0] < height and -width <= pixel[1] < width):
            return
        if pixel in reached:
            continue
        if not is_text[pixel]:
            return
        reached.add(pixel)
        yield pixel


def _fill_gaps(line: np.ndarray) -> np.ndarray:
    """Connect the pixels `(N, 2)` of a line that are not adjacent, by straight lines.

    PaddleOCR stops at two equal pixels in a row; the pixels after them are left unchanged.
    """
    gaps = line[:-1] - line[1:]
    counts = np.abs(gaps).max(1)
    (same,) = np.nonzero(counts == 0)
    filled = same[0] if len(same) else len(counts)
    counts = counts[:filled]
    owners = np.repeat(np.arange(filled), counts)
    indices = np.arange(len(owners)) - np.repeat(counts.cumsum() - counts, counts)
    steps = (gaps[:filled] / counts[:, None])[owners]
    # Fractions are truncated, not rounded.
    between = np.trunc(line[owners] - indices[:, None] * steps).astype(line.dtype)
    return np.concatenate([between, line[filled:]])


def _sample(line: np.ndarray) -> np.ndarray:
    """Choose `FAST_POINTS` pixels of a line `(N, 2)`, from its first to its last."""
    return line[[*(len(line) // (FAST_POINTS - 1) * np.arange(FAST_POINTS - 1)), -1]]


def _run_centers(line: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Return the middle pixel of each run of one class; that of a single run twice."""
    lengths = np.diff(starts, append=len(line))
    points = line[starts + lengths // 2]
    return np.repeat(points, 2, axis=0) if len(points) == 1 else points


def _expand(offsets: np.ndarray) -> np.ndarray:
    """Lengthen offsets `(N, 2, 2)` to the borders, within limits; zero offsets stay zero."""
    length = np.linalg.norm(offsets, axis=2, keepdims=True)
    expansion = np.clip(length * (BORDER_SCALE - 1), MIN_EXPANSION, MAX_EXPANSION)
    return offsets + offsets / np.where(length > 0, length, 1) * expansion


def _extend(outline: np.ndarray) -> np.ndarray:
    """Extend an outline `(N, 2)`, upper side first, at both ends, in place.

    As in PaddleOCR, the extension at the end uses the height of the pair of corners before it.
    """
    half = len(outline) // 2
    corners = outline[[0, 1, -2, -1, half - 2, half - 1, half, half + 1]].astype(np.float32)
    start, after, below_after, below_start, before, end, below_end, below_before = corners
    height, width = np.linalg.norm(start - below_start), np.linalg.norm(start - after)
    back = np.float32(-POLYGON_EXTENSION * height / (width + 1e-6))
    height, width = np.linalg.norm(before - below_before), np.linalg.norm(before - end)
    on = np.float32(1.0 + POLYGON_EXTENSION * height / (width + 1e-6))
    outline[0] = start + (after - start) * back
    outline[-1] = below_start + (below_after - below_start) * back
    outline[half - 1] = before + (end - before) * on
    outline[half] = below_before + (below_end - below_before) * on
    return outline


def _softmax(scores: np.ndarray) -> np.ndarray:
    """Return the probabilities of classes `(N, C)` from their scores."""
    exponentials = np.exp(scores - scores.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)
