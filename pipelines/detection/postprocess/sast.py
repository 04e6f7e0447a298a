"""From the maps of SAST to boxes and polygons: pixels of centre lines find their line.

Wang et al., "A Single-Shot Arbitrarily-Shaped Text Detector based on Context Attended Multi-Task
Learning" (2019). Numbers follow PaddleOCR 2.x: ppocr/postprocess/sast_postprocess.py
(`SASTPostProcess`), where they are float32 too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from pipelines.detection.postprocess.decoder import (
    Outputs,
    Shape,
    Sizes,
    finish_polygons,
    finish_quads,
)
from pipelines.detection.postprocess.nms import locality_aware_nms
from pipelines.validation import PROBABILITY, QUANTITY, Check, check, is_number

STRIDE = 4
"""Pixels of the network's input for one of its maps."""
MIN_AREA = 5
MIN_SIDE = 3
"""A line that covers fewer pixels of the maps, or has a shorter side, is noise."""
MIN_SCORE = 0.1
"""Sum of a line's probabilities for a pixel that it covers."""
LEAST, MOST = 0.5, 3.0
"""By how many pixels of the maps borders are moved outwards, if they are."""


@dataclass(frozen=True)
class SASTDecoder:
    """Turns the maps of SAST into boxes or polygons.

    Attributes:
        score_thresh: not used, as in PaddleOCR, where configs state it.
        tcl_map_thresh: probability above which a pixel belongs to the centre of a line.
        nms_thresh: lines that overlap by more than this, as intersection over union, are one.
        sample_pts_num: points along each side of a line; with 2, lines are boxes. 0 takes more
            points the longer a line is.
        expand_scale: the borders move away from the centre by this factor.
        shrink_ratio_of_width: lines become longer at both ends by this share of their height.

    Raises:
        SettingsError: a value without a meaning.
    """

    checks: ClassVar[Mapping[str, Check]] = {
        "score_thresh": PROBABILITY,
        "tcl_map_thresh": PROBABILITY,
        "nms_thresh": PROBABILITY,
        "sample_pts_num": (
            lambda value: is_number(value) and value in (0, *range(2, 100)),
            "0, or a whole number from 2 to 99",
        ),
        "expand_scale": QUANTITY,
        "shrink_ratio_of_width": QUANTITY,
    }

    score_thresh: float = 0.5
    tcl_map_thresh: float = 0.5
    nms_thresh: float = 0.2
    sample_pts_num: int = 2
    expand_scale: float = 1.0
    shrink_ratio_of_width: float = 0.3

    def __post_init__(self) -> None:
        check(self, self.checks)

    @property
    def box_type(self) -> str:
        """Whether it finds boxes of four corners or polygons."""
        return "quad" if self.sample_pts_num == 2 else "poly"

    def shapes(self, height: int, width: int) -> Mapping[str, Shape]:
        """Return the shapes of the probability of centres and of three kinds of offsets."""
        size = height // STRIDE, width // STRIDE
        return {
            "f_border": (1, 4, *size),
            "f_score": (1, 1, *size),
            "f_tco": (1, 2, *size),
            "f_tvo": (1, 8, *size),
        }

    def __call__(self, results: Outputs, sizes: Sizes) -> list[np.ndarray]:
        """Find the text lines of one image, as `Decoder` says."""
        score, border = results["f_score"][0, 0], results["f_border"][0]
        rows, columns = np.nonzero(score > self.tcl_map_thresh)
        places = np.stack([columns, rows], axis=1)
        scores = score[rows, columns]
        quads = self._quads(places, scores, results["f_tvo"][0])
        centres = places - results["f_tco"][0][:, rows, columns].T
        found = []
        for quad, members in _lines(quads, centres):
            if _is_noise(quad, scores[members]):
                continue
            line = self._sampled(quad, places[members])
            offsets = border[:, line[:, 1], line[:, 0]].T.reshape(-1, 2, 2)
            sides = line[:, np.newaxis] + self._widened(offsets)[..., ::-1]
            # From float32 to float64 just here, as PaddleOCR does.
            sides = (sides.astype(np.float32) * STRIDE) / np.array(sizes.ratio[::-1])
            outline = np.concatenate([sides[:, 0], sides[::-1, 1]])
            found.append(np.clip(self._lengthened(outline), 0, sizes.image[::-1]))
        if self.box_type == "poly":
            return finish_polygons(found, sizes.image)
        return finish_quads(np.array(found).reshape(-1, 4, 2), sizes.image)

    def _quads(self, places: np.ndarray, scores: np.ndarray, corners: np.ndarray) -> np.ndarray:
        """The box of each line, `(M, 4, 2) float32` on the maps, best first."""
        # NumPy's default sort moves pixels within their rows, and merging goes by their order.
        order = np.argsort(places[:, 1])
        columns, rows = places[order].T
        boxes = np.empty((len(places), 9), np.float32)
        boxes[:, :8] = np.tile(places[order], 4) - corners[:, rows, columns].T
        boxes[:, 8] = scores[order]
        return locality_aware_nms(boxes, self.nms_thresh)[:, :8].reshape(-1, 4, 2)

    def _sampled(self, quad: np.ndarray, places: np.ndarray) -> np.ndarray:
        """Some of a line's pixels `(N, 2)`, from its left to its right end, `(P, 2)`."""
        left, right = (quad[0] + quad[3]) / 2, (quad[1] + quad[2]) / 2
        direction = (right - left) / (np.linalg.norm(right - left) + 1e-6)
        places = places[np.argsort((places * direction).sum(1))]
        count = self.sample_pts_num or _enough(quad, places)
        return _spread(places, count)

    def _widened(self, offsets: np.ndarray) -> np.ndarray:
        """Move borders `(..., 2)`, given from the centre, away from it."""
        if self.expand_scale == 1:
            return offsets
        lengths = np.linalg.norm(offsets, axis=-1, keepdims=True)
        more = np.clip(lengths * (self.expand_scale - 1), LEAST, MOST)
        return offsets + offsets / np.maximum(lengths, 1e-9) * more

    def _lengthened(self, outline: np.ndarray) -> np.ndarray:
        """Move both ends of an outline `(2 * P, 2)` outwards."""
        middle = len(outline) // 2
        begin = outline[[0, 1, -2, -1]].astype(np.float32)
        end = outline[[middle - 2, middle - 1, middle, middle + 1]].astype(np.float32)
        outline = outline.copy()
        outline[[0, -1]] = _pulled(begin, -self._addition(begin))
        outline[[middle - 1, middle]] = _pulled(end, 1 + self._addition(end))
        return outline

    def _addition(self, end: np.ndarray) -> np.float32:
        """By what share of its width the quadrilateral `(4, 2) float32` at an end grows."""
        height, width = np.linalg.norm(end[0] - end[3]), np.linalg.norm(end[0] - end[1])
        return np.float32(self.shrink_ratio_of_width * height / (width + 1e-6))


def _lines(quads: np.ndarray, centres: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Give each pixel, by the middle `(N, 2)` that it tells, to the nearest box `(M, 4, 2)`.

    Yields each box that has pixels with their indices.
    """
    if not len(quads):
        return
    middles = quads.mean(1)
    across = centres[:, :1] - middles[:, 0]
    down = centres[:, 1:] - middles[:, 1]
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


def _enough(quad: np.ndarray, places: np.ndarray) -> int:
    """As many points as the line's height goes into its length along the pixels."""
    height = (np.linalg.norm(quad[0] - quad[3]) + np.linalg.norm(quad[1] - quad[2])) / 2
    width = (np.linalg.norm(quad[0] - quad[1]) + np.linalg.norm(quad[2] - quad[3])) / 2
    dense = _spread(places, max(2, int(width)))
    length = np.linalg.norm(dense[1:] - dense[:-1], axis=1).sum()
    return max(2, int(length / height))


def _spread(places: np.ndarray, count: int) -> np.ndarray:
    return places[np.linspace(0, len(places) - 1, count, dtype=np.float32).astype(np.int32)]


def _pulled(quad: np.ndarray, share: np.float32) -> np.ndarray:
    """Points at this share of the upper and the lower side of a quadrilateral, `(2, 2)`."""
    return np.stack([quad[0] + (quad[1] - quad[0]) * share, quad[3] + (quad[2] - quad[3]) * share])
