"""From the maps of PSENet to boxes and polygons: cores of lines grow from map to map.

Wang et al., "Shape Robust Text Detection with Progressive Scale Expansion Network" (2019). Numbers
follow PaddleOCR 2.x: ppocr/postprocess/pse_postprocess (`PSEPostProcess`), whose growing is C++
that is compiled when it is first imported; here NumPy does the same without a compiler.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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
from pipelines.validation import BOX_TYPE, COUNT, NUMBER, PROBABILITY, Check, check

STRIDE = 4
"""Pixels of the network's input for one of its maps."""


@dataclass(frozen=True)
class PSEDecoder:
    """Turns the maps of PSENet into boxes or polygons.

    Attributes:
        thresh: logit above which a pixel belongs to a line or, in the other maps, to its core.
        box_thresh: mean probability that a line needs.
        min_area: lines and cores of fewer pixels are left out.
        box_type: "quad" for four corners, "poly" for curved lines.
        scale: pixels of the network's input for one of those on which lines grow: 1, 2 or 4.

    Raises:
        SettingsError: a value without a meaning.
    """

    checks: ClassVar[Mapping[str, Check]] = {
        "thresh": NUMBER,
        "box_thresh": PROBABILITY,
        "min_area": COUNT,
        "box_type": BOX_TYPE,
        "scale": (lambda value: value in (1, 2, 4), "1, 2 or 4"),
    }

    thresh: float = 0
    box_thresh: float = 0.85
    min_area: int = 16
    box_type: str = "quad"
    scale: int = 1

    def __post_init__(self) -> None:
        check(self, self.checks)

    def shapes(self, height: int, width: int) -> Mapping[str, Shape]:
        """Return the shape of its maps: of lines, then of smaller and smaller cores."""
        return {"maps": (1, None, height // STRIDE, width // STRIDE)}

    def __call__(self, results: Outputs, sizes: Sizes) -> list[np.ndarray]:
        """Find the text lines of one image, as `Decoder` says."""
        factor = STRIDE // self.scale
        maps = [cv2.resize(logits, None, fx=factor, fy=factor) for logits in results["maps"][0]]
        text = maps[0] > self.thresh
        kernels = [text & (core > self.thresh) for core in maps[1:]]
        labels = expand_kernels(np.stack([text, *kernels]), self.min_area)
        outline = region_outline if self.box_type == "poly" else _quad
        # PaddleOCR takes these pixels for the input's, whatever `scale` is.
        ratio, most = sizes.ratio[::-1], sizes.image[::-1]
        found = []
        for rows, columns in regions(labels):
            if len(rows) >= self.min_area and self._is_sure(maps[0][rows, columns]):
                points = outline(np.stack([columns, rows], axis=1).astype(np.int32))
                found.append(np.clip(np.round(points / np.array(ratio)), 0, most))
        if self.box_type == "poly":
            return finish_polygons(found, sizes.image)
        return finish_quads(np.array(found).reshape(-1, 4, 2), sizes.image)

    def _is_sure(self, logits: np.ndarray) -> bool:
        return bool(np.mean(1 / (1 + np.exp(-logits))) >= self.box_thresh)


def _quad(points: np.ndarray) -> np.ndarray:
    return cv2.boxPoints(cv2.minAreaRect(points))


def region_outline(points: np.ndarray, size: int = 1) -> np.ndarray:
    """Return the corners `(M, 2) int32` of the line around pixels `(N, 2)`, as x and y.

    Of pixels in several pieces it is the line around one. With `size` each pixel stands for a
    square of so many a side, and the corners are those of the finer map.
    """
    corner = points.min(0)
    mask = np.zeros((points.max(0) - corner + 1)[::-1], np.uint8)
    mask[points[:, 1] - corner[1], points[:, 0] - corner[0]] = 1
    if size > 1:
        mask = mask.repeat(size, axis=0).repeat(size, axis=1)
    contours, _ = cv2.findContours(
        mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE, offset=(corner * size).tolist()
    )
    outline: np.ndarray = contours[0][:, 0]
    return outline


def expand_kernels(masks: np.ndarray, min_area: int) -> np.ndarray:
    """Let the connected regions of the last mask grow into the others, from the last to the first.

    All regions grow at the same pace, over sides; a pixel goes to the one that is first there.

    Args:
        masks: `(K, H, W) bool`, each within the first one.
        min_area: regions of the last mask of fewer pixels do not take part.

    Returns:
        `(H, W) int32`, 0 where no region has come to.
    """
    cores = cv2.connectedComponents(masks[-1].view(np.uint8), connectivity=4)[1]
    sizes = np.bincount(cores.ravel())
    sizes[0] = 0
    cores[sizes[cores] < min_area] = 0
    # Edges all round, so that each pixel has four neighbours; pixels by their place in memory.
    labels = np.pad(cores, 1)
    width = labels.shape[1]
    neighbours = np.array([-width, width, -1, 1])
    flat = labels.ravel()
    free = np.pad(masks[0] & (cores == 0), 1).ravel()
    claims = np.empty(flat.shape, np.intp)
    queue = np.flatnonzero(flat)
    for mask in masks[-2::-1]:
        queue = queue[free[queue[:, np.newaxis] + neighbours].any(1)]
        inside = np.pad(mask, 1).ravel() & free
        # Those which have claimed a pixel of this mask do not claim one of the next masks.
        idle = []
        while len(queue):
            wanted = (queue[:, np.newaxis] + neighbours).ravel()
            claim = np.flatnonzero(inside[wanted])
            wanted = wanted[claim]
            claims[wanted[::-1]] = claim[::-1]  # of several claims the first one stays
            first = claims[wanted] == claim
            wanted, claimant = wanted[first], claim[first] // 4
            flat[wanted] = flat[queue[claimant]]
            inside[wanted] = free[wanted] = False
            waits = np.ones(len(queue), bool)
            waits[claimant] = False
            idle.append(queue[waits])
            queue = wanted
        queue = np.concatenate(idle) if idle else queue
    return labels[1:-1, 1:-1]


def regions(labels: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield rows and columns of the pixels of each label above 0, from the lowest label on."""
    rows, columns = np.nonzero(labels)
    found = labels[rows, columns]
    order = np.argsort(found, kind="stable")
    ends = np.flatnonzero(np.diff(found[order])) + 1
    if len(order):
        for members in np.split(order, ends):
            yield rows[members], columns[members]
