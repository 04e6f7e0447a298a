"""Pictures of results: boxes on a page, heat maps, several pictures side by side."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import cv2
import numpy as np

Colour = tuple[int, int, int]
"""Blue, green, red, 0 to 255."""

WHITE: Colour = (255, 255, 255)
INK: Colour = (40, 40, 40)
MARGIN = 12
CAPTION_HEIGHT = 34


def draw_boxes(
    image: np.ndarray, boxes: Iterable[np.ndarray], colour: Colour, thickness: int = 2
) -> np.ndarray:
    """Outline boxes, each `(4, 2)` in pixels, on a copy of an `(H, W, 3) uint8` image."""
    page = image.copy()
    outlines = [np.round(box).astype(np.int32) for box in boxes]
    cv2.polylines(page, outlines, True, colour, thickness, cv2.LINE_AA)
    return page


def colour_map(heat: np.ndarray) -> np.ndarray:
    """Show `(H, W)` values, clipped to 0..1, from dark to bright as `(H, W, 3) uint8`."""
    levels = np.round(np.clip(heat, 0, 1) * 255).astype(np.uint8)
    return cv2.applyColorMap(levels, cv2.COLORMAP_INFERNO)


def montage(panels: Sequence[tuple[str, np.ndarray]], height: int = 640) -> np.ndarray:
    """Put pictures side by side on white, scaled to one height, each under its caption.

    Args:
        panels: caption, in ASCII, and picture, `(H, W, 3) uint8`.
        height: of the pictures in pixels.

    Returns:
        `(h, w, 3) uint8`.
    """
    columns = []
    for caption, picture in panels:
        width = max(1, round(picture.shape[1] * height / picture.shape[0]))
        shrinks = height < picture.shape[0]
        scaled = cv2.resize(
            picture, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        )
        column = cv2.copyMakeBorder(
            scaled, CAPTION_HEIGHT, MARGIN, MARGIN, MARGIN, cv2.BORDER_CONSTANT, value=WHITE
        )
        baseline = (MARGIN, CAPTION_HEIGHT - 11)
        cv2.putText(column, caption, baseline, cv2.FONT_HERSHEY_SIMPLEX, 0.55, INK, 1, cv2.LINE_AA)
        columns.append(column)
    return np.hstack(columns)
