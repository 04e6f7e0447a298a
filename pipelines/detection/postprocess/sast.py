"""Decoding of SAST: pixels of center lines are assigned to text lines.

Wang et al., "A Single-Shot Arbitrarily-Shaped Text Detector based on Context Attended Multi-Task
Learning" (2019). Numbers follow PaddleOCR 2.x: ppocr/postprocess/sast_postprocess.py
(`SASTPostProcess`), also in float32.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from pipelines.detection.postprocess.decoder import (
    Outputs,
    Sizes,
    finish_polygons,
    finish_quads,
)
from pipelines.detection.postprocess.nms import locality_aware_nms
from pipelines.detection.postprocess.shapes import Shape
from schemas.processing import SASTSettings

STRIDE = 4
"""Pixels of the network's input per pixel of its maps."""
MIN_AREA = 5
MIN_SIDE = 3
"""Lines of a smaller area or with a shorter side, in pixels of the maps, are left out."""
MIN_SCORE = 0.1
"""Lines with a lower sum of probabilities per area are left out."""
MIN_EXPANSION, MAX_EXPANSION = 0.5, 3.0
"""Limits of the distance by which borders are moved outwards, in pixels of the maps."""


@dataclass(frozen=True)
class SASTDecoder(SASTSettings):
    """Decodes the maps of SAST to boxes or polygons."""

    @property
    def box_type(self) -> str:
        """Return "quad" for lines of two points per side, else "poly"."""
        return "quad" if self.sample_pts_num == 2 else "poly"

    def shapes(self, height: int, width: int) -> Mapping[str, Shape]:
        """Return the shapes of the center probability and of three kinds of offsets."""
        size = height // STRIDE, width // STRIDE
        return {
            "f_border": (1, 4, *size),
            "f_score": (1, 1, *size),
            "f_tco": (1, 2, *size),
            "f_tvo": (1, 8, *size),
        }

    def __call__(self, outputs: Outputs, sizes: Sizes) -> list[np.ndarray]:
        """Decode the outputs for one image; see `Decoder`."""
        score, border = outputs["f_score"][0, 0], outputs["f_border"][0]
        rows, columns = np.nonzero(score > self.tcl_map_thresh)
        pixels = np.stack([columns, rows], axis=1)
        scores = score[rows, columns]
        quads = self._quads(pixels, scores, outputs["f_tvo"][0])
        centers = pixels - outputs["f_tco"][0][:, rows, columns].T
        outlines = []
        for quad, members in _assign_pixels(quads, centers):
            if _is_noise(quad, scores[members]):
                continue
            line = self._sample(quad, pixels[members])
            offsets = border[:, line[:, 1], line[:, 0]].T.reshape(-1, 2, 2)
            sides = line[:, np.newaxis] + self._expand(offsets)[..., ::-1]
            # The conversion from float32 to float64 happens here, as in PaddleOCR.
            sides = (sides.astype(np.float32) * STRIDE) / np.array(sizes.ratio[::-1])
            outline = np.concatenate([sides[:, 0], sides[::-1, 1]])
            outlines.append(np.clip(self._extend(outline), 0, sizes.image[::-1]))
        if self.box_type == "poly":
            return finish_polygons(outlines, sizes.image)
        return finish_quads(np.array(outlines).reshape(-1, 4, 2), sizes.image)

    def _quads(self, pixels: np.ndarray, scores: np.ndarray, corners: np.ndarray) -> np.ndarray:
        """Return the box of each line, `(M, 4, 2) float32` on the maps, best first."""
        # NumPy's default sort reorders pixels within their rows, and merging depends on the order.
        order = np.argsort(pixels[:, 1])
        columns, rows = pixels[order].T
        boxes = np.empty((len(pixels), 9), np.float32)
        boxes[:, :8] = np.tile(pixels[order], 4) - corners[:, rows, columns].T
        boxes[:, 8] = scores[order]
        return locality_aware_nms(boxes, self.nms_thresh)[:, :8].reshape(-1, 4, 2)

    def _sample(self, quad: np.ndarray, pixels: np.ndarray) -> np.ndarray:
        """Sample a line's pixels `(N, 2)` from its left to its right end, `(P, 2)`."""
        left, right = (quad[0] + quad[3]) / 2, (quad[1] + quad[2]) / 2
        direction = (right - left) / (np.linalg.norm(right - left) + 1e-6)
        pixels = pixels[np.argsort((pixels * direction).sum(1))]
        count = self.sample_pts_num or _point_count(quad, pixels)
        return _spread(pixels, count)

    def _expand(self, offsets: np.ndarray) -> np.ndarray:
        """Lengthen offsets `(..., 2)` from the center line to the borders."""
        if self.expand_scale == 1:
            return offsets
        lengths = np.linalg.norm(offsets, axis=-1, keepdims=True)
        expansion = np.clip(lengths * (self.expand_scale - 1), MIN_EXPANSION, MAX_EXPANSION)
        return offsets + offsets / np.maximum(lengths, 1e-9) * expansion

    def _extend(self, outline: np.ndarray) -> np.ndarray:
        """Extend an outline `(2 * P, 2)` at both ends."""
        middle = len(outline) // 2
        begin = outline[[0, 1, -2, -1]].astype(np.float32)
        end = outline[[middle - 2, middle - 1, middle, middle + 1]].astype(np.float32)
        outline = outline.copy()
        outline[[0, -1]] = _interpolate(begin, -self._extension(begin))
        outline[[middle - 1, middle]] = _interpolate(end, 1 + self._extension(end))
        return outline

    def _extension(self, end: np.ndarray) -> np.float32:
        """Return by what fraction of its width the quadrilateral `(4, 2)` at an end is extended."""
        height, width = np.linalg.norm(end[0] - end[3]), np.linalg.norm(end[0] - end[1])
        return np.float32(self.shrink_ratio_of_width * height / (width + 1e-6))


def _assign_pixels(
    quads: np.ndarray, centers: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Assign each pixel to the box nearest to the center that it predicts.

    Args:
        quads: `(M, 4, 2)`, the boxes.
        centers: `(N, 2)`, the predicted center for each pixel.

    Yields:
        Each box `(4, 2)` that has pixels, with their indices.
    """
    if not len(quads):
        return
    middles = quads.mean(1)
    across = centers[:, :1] - middles[:, 0]
    down = centers[:, 1:] - middles[:, 1]
    nearest = np.sqrt(across * across + down * down).argmin(1)
    order = np.argsort(nearest, kind="stable")
    ends = np.searchsorted(nearest[order], np.arange(len(quads) + 1))
    for quad, start, end in zip(quads, ends[:-1], ends[1:], strict=True):
        if start < end:
            yield quad, order[start:end]


def _is_noise(quad: np.ndarray, scores: np.ndarray) -> bool:
    after = np.roll(quad, -1, axis=0)
    area = -((after[:, 0] - quad[:, 0]) * (after[:, 1] + quad[:, 1])).sum() / 2
    if area < MIN_AREA or scores.sum() / area < MIN_SCORE:
        return True
    return bool(min(_length(quad[0] - quad[1]), _length(quad[1] - quad[2])) < MIN_SIDE)


def _length(step: np.ndarray) -> float:
    return float(np.linalg.norm(step))


def _point_count(quad: np.ndarray, pixels: np.ndarray) -> int:
    """Return the length of a line along its pixels, divided by its height, at least 2."""
    height = (np.linalg.norm(quad[0] - quad[3]) + np.linalg.norm(quad[1] - quad[2])) / 2
    width = (np.linalg.norm(quad[0] - quad[1]) + np.linalg.norm(quad[2] - quad[3])) / 2
    dense = _spread(pixels, max(2, int(width)))
    length = np.linalg.norm(dense[1:] - dense[:-1], axis=1).sum()
    return max(2, int(length / height))


def _spread(pixels: np.ndarray, count: int) -> np.ndarray:
    """Choose evenly spaced pixels of `(N, 2)`."""
    return pixels[np.linspace(0, len(pixels) - 1, count, dtype=np.float32).astype(np.int32)]


def _interpolate(quad: np.ndarray, fraction: np.float32) -> np.ndarray:
    """Return the points at a fraction of the upper and of the lower side, `(2, 2)`."""
    upper, lower = quad[1] - quad[0], quad[2] - quad[3]
    return np.stack([quad[0] + upper * fraction, quad[3] + lower * fraction])
