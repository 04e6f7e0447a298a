"""Decoding of PSENet: kernels of text lines expand from map to map.

Wang et al., "Shape Robust Text Detection with Progressive Scale Expansion Network" (2019). Numbers
follow PaddleOCR 2.x: ppocr/postprocess/pse_postprocess (`PSEPostProcess`), which compiles C++ for
the expansion when it is first imported; this code uses NumPy.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import cv2
import numpy as np

from pipelines.detection.postprocess.decoder import (
    Outputs,
    Sizes,
    finish_polygons,
    finish_quads,
)
from pipelines.detection.postprocess.shapes import Shape
from schemas.processing import PSESettings

STRIDE = 4
"""Pixels of the network's input per pixel of its maps."""


@dataclass(frozen=True)
class PSEDecoder(PSESettings):
    """Decodes the maps of PSENet to boxes or polygons."""

    def shapes(self, height: int, width: int) -> Mapping[str, Shape]:
        """Return the shape of its maps: one of lines, then those of smaller and smaller kernels."""
        return {"maps": (1, None, height // STRIDE, width // STRIDE)}

    def __call__(self, outputs: Outputs, sizes: Sizes) -> list[np.ndarray]:
        """Decode the outputs for one image; see `Decoder`."""
        factor = STRIDE // self.scale
        maps = [cv2.resize(logits, None, fx=factor, fy=factor) for logits in outputs["maps"][0]]
        text = maps[0] > self.thresh
        kernels = [text & (core > self.thresh) for core in maps[1:]]
        labels = expand_kernels(np.stack([text, *kernels]), self.min_area)
        to_outline = region_outline if self.box_type == "poly" else _quad
        # PaddleOCR treats these pixels as the input's, whatever `scale` is.
        ratio, limits = sizes.ratio[::-1], sizes.image[::-1]
        outlines = []
        for rows, columns in regions(labels):
            if len(rows) >= self.min_area and self._is_text(maps[0][rows, columns]):
                points = to_outline(np.stack([columns, rows], axis=1).astype(np.int32))
                outlines.append(np.clip(np.round(points / np.array(ratio)), 0, limits))
        if self.box_type == "poly":
            return finish_polygons(outlines, sizes.image)
        return finish_quads(np.array(outlines).reshape(-1, 4, 2), sizes.image)

    def _is_text(self, logits: np.ndarray) -> bool:
        return bool(np.mean(1 / (1 + np.exp(-logits))) >= self.box_thresh)


def _quad(points: np.ndarray) -> np.ndarray:
    return cv2.boxPoints(cv2.minAreaRect(points))


def region_outline(points: np.ndarray, size: int = 1) -> np.ndarray:
    """Return the outline of a region of pixels; of several pieces, that of one.

    Args:
        points: `(N, 2) int`, x and y of the pixels.
        size: the side of the square that a pixel covers on a finer map.

    Returns:
        `(M, 2) int32`, x and y in pixels of the finer map.
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
    """Expand the connected regions of the last mask into the others, from the last to the first.

    All regions expand at the same pace to adjacent pixels; a pixel belongs to the first one.

    Args:
        masks: `(K, H, W) bool`, each within the first one.
        min_area: regions of the last mask with fewer pixels are dropped.

    Returns:
        `(H, W) int32`, labels of regions, 0 elsewhere.
    """
    kernels = cv2.connectedComponents(masks[-1].view(np.uint8), connectivity=4)[1]
    sizes = np.bincount(kernels.ravel())
    sizes[0] = 0
    kernels[sizes[kernels] < min_area] = 0
    # A border of one pixel gives each pixel four neighbours; pixels are indices into memory.
    labels = np.pad(kernels, 1)
    width = labels.shape[1]
    neighbours = np.array([-width, width, -1, 1])
    flat = labels.ravel()
    free = np.pad(masks[0] & (kernels == 0), 1).ravel()
    claims = np.empty(flat.shape, np.intp)
    queue = np.flatnonzero(flat)
    for mask in masks[-2::-1]:
        queue = queue[free[queue[:, np.newaxis] + neighbours].any(1)]
        inside = np.pad(mask, 1).ravel() & free
        # Pixels that have expanded within this mask do not expand into the next masks.
        idle = []
        while len(queue):
            wanted = (queue[:, np.newaxis] + neighbours).ravel()
            claim = np.flatnonzero(inside[wanted])
            wanted = wanted[claim]
            claims[wanted[::-1]] = claim[::-1]  # the first of several claims counts
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
    """Yield rows and columns of the pixels of each label above 0 in `(H, W) int`, in order."""
    rows, columns = np.nonzero(labels)
    owners = labels[rows, columns]
    order = np.argsort(owners, kind="stable")
    ends = np.flatnonzero(np.diff(owners[order])) + 1
    if len(order):
        for members in np.split(order, ends):
            yield rows[members], columns[members]
