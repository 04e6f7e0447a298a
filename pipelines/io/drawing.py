"""Pictures of results: boxes on a page, the text that was read, heat maps, several side by side."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import cv2
import numpy as np

from pipelines.geometry import side_lengths, text_corners
from pipelines.io.fonts import Typesetter

Colour = tuple[int, int, int]
"""Blue, green, red, 0 to 255."""

WHITE: Colour = (255, 255, 255)
INK: Colour = (40, 40, 40)
FRAME: Colour = (225, 225, 225)
MARGIN = 12
CAPTION_HEIGHT = 34
LINE_COLOURS: Sequence[Colour] = (
    (180, 105, 30), (40, 120, 210), (90, 140, 30), (150, 60, 150), (50, 50, 190), (140, 130, 20),
)  # fmt: skip
TINT = 0.18  # of a line's colour on its box
LONGEST_SIDE = 3000  # pixels of a page as it is drawn


def draw_boxes(
    image: np.ndarray, boxes: Iterable[np.ndarray], colour: Colour, thickness: int = 2
) -> np.ndarray:
    """Outline boxes, each `(4, 2)` in pixels, on a copy of an `(H, W, 3) uint8` image."""
    page = image.copy()
    outlines = [np.round(box).astype(np.int32) for box in boxes]
    cv2.polylines(page, outlines, True, colour, thickness, cv2.LINE_AA)
    return page


def draw_detections(image: np.ndarray, boxes: Sequence[np.ndarray]) -> np.ndarray:
    """Draw a page with boxes and polygons, `(N, 2)` in pixels, tinted and outlined.

    Args:
        image: `(H, W, 3) uint8`; larger pages than `LONGEST_SIDE` are drawn smaller.
        boxes: where the lines are.

    Returns:
        `(h, w, 3) uint8`.
    """
    scale = _scale(image)
    page = image
    if scale < 1:
        page = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    tinted = page.copy()
    outlines = _coloured([box * scale for box in boxes])
    for outline, colour in outlines:
        cv2.fillPoly(tinted, [outline], colour, cv2.LINE_AA)
    page = cv2.addWeighted(tinted, TINT, page, 1 - TINT, 0)
    for outline, colour in outlines:
        cv2.polylines(page, [outline], True, colour, _thickness(page), cv2.LINE_AA)
    return page


def draw_recognition(image: np.ndarray, lines: Sequence[Any], typesetter: Typesetter) -> np.ndarray:
    """Draw a page with its boxes and, to the right, what was read in the places of the boxes.

    Args:
        image: `(H, W, 3) uint8`; larger pages than `LONGEST_SIDE` are drawn smaller.
        lines: what was read on it, each with `box` and `text`.
        typesetter: sets the text.

    Returns:
        `(h, w, 3) uint8`.
    """
    page = draw_detections(image, [line.box for line in lines])
    text = np.full_like(page, 255)
    boxes = [line.box * _scale(image) for line in lines]
    for line, box, (outline, colour) in zip(lines, boxes, _coloured(boxes), strict=True):
        _set_text(text, line.text, text_corners(box), typesetter)
        cv2.polylines(text, [outline], True, colour, _thickness(page), cv2.LINE_AA)
    gap = np.full((page.shape[0], MARGIN, 3), FRAME, np.uint8)
    return np.hstack([page, gap, text])


def _scale(image: np.ndarray) -> float:
    """By how much a page is drawn smaller."""
    return min(1, LONGEST_SIDE / max(image.shape[:2]))


def _coloured(boxes: Sequence[np.ndarray]) -> list[tuple[np.ndarray, Colour]]:
    return [
        (np.round(box).astype(np.int32), LINE_COLOURS[index % len(LINE_COLOURS)])
        for index, box in enumerate(boxes)
    ]


def _thickness(page: np.ndarray) -> int:
    return max(1, round(max(page.shape[:2]) / 1000))


def _set_text(panel: np.ndarray, text: str, corners: np.ndarray, typesetter: Typesetter) -> None:
    """Set a line of text, in place, into the quadrilateral whose first side it runs along."""
    width, height = (max(1, round(float(side))) for side in side_lengths(corners))
    mask = typesetter.set(text, width, height)
    frame = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    # Only the surroundings of the line are touched, for pages of many lines.
    left, top = np.maximum(np.floor(corners.min(0)), 0).astype(int).tolist()
    right, bottom = np.ceil(corners.max(0)).astype(int).tolist()
    place = panel[top : bottom + 1, left : right + 1]
    if not place.size:
        return
    shift = cv2.getPerspectiveTransform(frame, (corners - (left, top)).astype(np.float32))
    ink = cv2.warpPerspective(mask, shift, place.shape[1::-1], flags=cv2.INTER_LINEAR)
    coverage = ink[..., None] / 255
    place[:] = np.round(place * (1 - coverage) + np.array(INK) * coverage)


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
