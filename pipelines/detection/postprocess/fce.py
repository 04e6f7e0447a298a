"""From the maps of FCENet to polygons: each pixel of a line knows its outline, as Fourier series.

Zhu et al., "Fourier Contour Embedding for Arbitrary-Shaped Text Detection" (2021). Numbers follow
PaddleOCR 2.x: ppocr/postprocess/fce_postprocess.py (`FCEPostProcess`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import cv2
import numpy as np

from pipelines.detection.postprocess.decoder import (
    Outputs,
    Shape,
    Sizes,
    finish_polygons,
    finish_quads,
)
from pipelines.detection.postprocess.nms import Outlines, suppress
from pipelines.detection.postprocess.pse import regions
from pipelines.validation import BOX_TYPE, COUNT, PROBABILITY, QUANTITY, Check, check, is_count

SCORES = 4
"""Channels before the coefficients: no text, text; no core, core of a line."""
GROWTH = 1e-4
"""By so many pixels polygons grow before they are intersected."""

Candidates = tuple[np.ndarray, np.ndarray]
"""Outlines `(N, K, 2)` in whole pixels of the network's input, and their scores `(N,)`."""


@dataclass(frozen=True)
class FCEDecoder:
    """Turns the maps of FCENet into polygons or boxes.

    Attributes:
        scales: for each map, how many pixels of the network's input are one of its own.
        fourier_degree: how many frequencies a series has in each direction.
        num_reconstr_points: corners of an outline.
        score_thr: a pixel belongs to a line if text ** alpha * core ** beta, of the probabilities,
            is above this.
        alpha, beta: as above.
        nms_thr: outlines that overlap by more than this, as intersection over union, are one.
        box_type: "quad" for four corners, "poly" for curved lines.

    Raises:
        SettingsError: a value without a meaning.
    """

    checks: ClassVar[Mapping[str, Check]] = {
        "scales": (
            lambda value: isinstance(value, (tuple, list)) and len(value) > 0
            and all(map(is_count, value)),
            "whole numbers above 0",
        ),
        "fourier_degree": COUNT,
        "num_reconstr_points": (
            lambda value: is_count(value) and value > 3, "a whole number above 3"
        ),
        "score_thr": PROBABILITY,
        "alpha": QUANTITY,
        "beta": QUANTITY,
        "nms_thr": PROBABILITY,
        "box_type": BOX_TYPE,
    }  # fmt: skip

    scales: Sequence[int] = (8, 16, 32)
    fourier_degree: int = 5
    num_reconstr_points: int = 50
    score_thr: float = 0.3
    alpha: float = 1.0
    beta: float = 1.0
    nms_thr: float = 0.1
    box_type: str = "poly"

    def __post_init__(self) -> None:
        check(self, self.checks)

    def shapes(self, height: int, width: int) -> Mapping[str, Shape]:
        """Return the shapes of its maps, of lines of different size."""
        channels = SCORES + 2 * (2 * self.fourier_degree + 1)
        return {
            f"level_{level}": (1, channels, height // scale, width // scale)
            for level, scale in enumerate(self.scales)
        }

    def __call__(self, results: Outputs, sizes: Sizes) -> list[np.ndarray]:
        """Find the text lines of one image, as `Decoder` says."""
        levels = [
            self._level(results[f"level_{level}"][0], scale)
            for level, scale in enumerate(self.scales)
        ]
        outlines, _ = self._best(levels)
        scale = 1 / np.array(sizes.ratio[::-1])
        scaled = (outlines * scale).astype(np.float32)
        if self.box_type == "poly":
            return finish_polygons(scaled, sizes.image)
        return finish_quads(scaled, sizes.image)

    def _level(self, maps: np.ndarray, scale: int) -> Candidates:
        """The outlines that one map has."""
        score = maps[1] ** self.alpha * maps[3] ** self.beta
        # Holes count as text.
        contours, _ = cv2.findContours(
            (score > self.score_thr).view(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE
        )
        lines = np.zeros(score.shape, np.int32)
        for label, contour in enumerate(contours, 1):
            cv2.drawContours(lines, [contour], -1, label, -1)
        lines[score <= 0] = 0
        found = []
        for rows, columns in regions(lines):
            outlines = self._outlines(maps[SCORES:, rows, columns].T, columns + 1j * rows, scale)
            found.append(self._best([(outlines, score[rows, columns])]))
        outlines, scores = self._best(found)
        if self.box_type == "quad":
            boxes = [cv2.boxPoints(cv2.minAreaRect(outline)) for outline in outlines.astype("f4")]
            outlines = np.array(boxes).reshape(-1, 4, 2).astype(np.int64)
        return outlines, scores

    def _outlines(self, coefficients: np.ndarray, places: np.ndarray, scale: int) -> np.ndarray:
        """Sum up the series `(N, 2 * (2 * degree + 1)) float32` of pixels, `(N, K, 2)`.

        `places` are the pixels, x + iy, from which the outlines' middles are told.
        """
        degree = self.fourier_degree
        real, imaginary = np.split(coefficients, 2, axis=1)
        series = real + 1j * imaginary
        series[:, degree] += places
        series *= scale
        frequencies = np.zeros((len(series), self.num_reconstr_points), np.complex128)
        frequencies[:, : degree + 1] = series[:, degree:]
        frequencies[:, -degree:] = series[:, :degree]
        points = np.fft.ifft(frequencies) * self.num_reconstr_points
        return np.stack([points.real, points.imag], axis=2).astype(np.int32)

    def _best(self, found: Sequence[Candidates]) -> Candidates:
        """Of outlines that overlap keep the one with the highest score, of equal ones the last."""
        if not found:
            return np.empty((0, self.num_reconstr_points, 2), np.int32), np.empty(0, np.float32)
        outlines, scores = map(np.concatenate, zip(*found, strict=True))
        order = np.argsort(scores, kind="stable")[::-1]
        kept = suppress(Outlines(outlines, GROWTH), order, self.nms_thr)
        return outlines[kept], scores[kept]
