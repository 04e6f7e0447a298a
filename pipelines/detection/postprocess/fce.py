"""Decoding of FCENet: each text pixel predicts the outline of its line as a Fourier series.

Zhu et al., "Fourier Contour Embedding for Arbitrary-Shaped Text Detection" (2021). Numbers follow
PaddleOCR 2.x: ppocr/postprocess/fce_postprocess.py (`FCEPostProcess`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from pipelines.detection.postprocess.decoder import (
    Outputs,
    Sizes,
    finish_polygons,
    finish_quads,
)
from pipelines.detection.postprocess.nms import Outlines, suppress
from pipelines.detection.postprocess.pse import regions
from pipelines.detection.postprocess.shapes import Shape
from schemas.processing import FCESettings

SCORE_CHANNELS = 4
"""Channels before the coefficients: no text, text; no center region, center region."""
GROWTH = 1e-4
"""Polygons are expanded by this many pixels before they are intersected."""

Candidates = tuple[np.ndarray, np.ndarray]
"""Outlines `(N, K, 2) int`, in pixels of the network's input, and their scores `(N,) float32`."""


@dataclass(frozen=True)
class FCEDecoder(FCESettings):
    """Decodes the maps of FCENet to polygons or boxes."""

    def shapes(self, height: int, width: int) -> Mapping[str, Shape]:
        """Return the shapes of its maps, one for each scale of lines."""
        channels = SCORE_CHANNELS + 2 * (2 * self.fourier_degree + 1)
        return {
            f"level_{level}": (1, channels, height // scale, width // scale)
            for level, scale in enumerate(self.scales)
        }

    def __call__(self, outputs: Outputs, sizes: Sizes) -> list[np.ndarray]:
        """Decode the outputs for one image; see `Decoder`."""
        levels = [
            self._decode_level(outputs[f"level_{level}"][0], scale)
            for level, scale in enumerate(self.scales)
        ]
        outlines, _ = self._suppress(levels)
        scale = 1 / np.array(sizes.ratio[::-1])
        scaled = (outlines * scale).astype(np.float32)
        if self.box_type == "poly":
            return finish_polygons(scaled, sizes.image)
        return finish_quads(scaled, sizes.image)

    def _decode_level(self, maps: np.ndarray, scale: int) -> Candidates:
        """Return the outlines of one map `(C, h, w)`."""
        score = maps[1] ** self.alpha * maps[3] ** self.beta
        # Holes in a region count as text.
        contours, _ = cv2.findContours(
            (score > self.score_thr).view(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE
        )
        lines = np.zeros(score.shape, np.int32)
        for label, contour in enumerate(contours, 1):
            cv2.drawContours(lines, [contour], -1, label, -1)
        lines[score <= 0] = 0
        candidates = []
        for rows, columns in regions(lines):
            outlines = self._outlines(
                maps[SCORE_CHANNELS:, rows, columns].T, columns + 1j * rows, scale
            )
            candidates.append(self._suppress([(outlines, score[rows, columns])]))
        outlines, scores = self._suppress(candidates)
        if self.box_type == "quad":
            boxes = [cv2.boxPoints(cv2.minAreaRect(outline)) for outline in outlines.astype("f4")]
            outlines = np.array(boxes).reshape(-1, 4, 2).astype(np.int64)
        return outlines, scores

    def _outlines(self, coefficients: np.ndarray, positions: np.ndarray, scale: int) -> np.ndarray:
        """Sum up the Fourier series of pixels.

        Args:
            coefficients: `(N, 2 * (2 * degree + 1)) float32`.
            positions: `(N,)` complex, x + iy of the pixels; the series are relative to them.
            scale: pixels of the network's input per pixel of the map.

        Returns:
            `(N, K, 2) int32`, in pixels of the network's input.
        """
        degree = self.fourier_degree
        real, imaginary = np.split(coefficients, 2, axis=1)
        series = real + 1j * imaginary
        series[:, degree] += positions
        series *= scale
        frequencies = np.zeros((len(series), self.num_reconstr_points), np.complex128)
        frequencies[:, : degree + 1] = series[:, degree:]
        frequencies[:, -degree:] = series[:, :degree]
        points = np.fft.ifft(frequencies) * self.num_reconstr_points
        return np.stack([points.real, points.imag], axis=2).astype(np.int32)

    def _suppress(self, candidates: Sequence[Candidates]) -> Candidates:
        """Keep the best of outlines that overlap; of equal scores, the last."""
        if not candidates:
            return np.empty((0, self.num_reconstr_points, 2), np.int32), np.empty(0, np.float32)
        outlines, scores = map(np.concatenate, zip(*candidates, strict=True))
        order = np.argsort(scores, kind="stable")[::-1]
        kept = suppress(Outlines(outlines, GROWTH), order, self.nms_thr)
        return outlines[kept], scores[kept]
