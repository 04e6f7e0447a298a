"""Drawing of results: boxes and text of a page, color maps, montages."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np

from pipelines.geometry import side_lengths, text_corners
from pipelines.io.fonts import Typesetter
from pipelines.io.items import LabelledItem, TextItem

if TYPE_CHECKING:
    from pipelines.kie.predictor import Entity

Colour = tuple[int, int, int]
"""Blue, green, red, 0 to 255."""

WHITE: Colour = (255, 255, 255)
INK: Colour = (40, 40, 40)
ARROW: Colour = (0, 160, 0)
FRAME: Colour = (225, 225, 225)
MARGIN = 12
CAPTION_HEIGHT = 34
LINE_COLOURS: Sequence[Colour] = (
    (180, 105, 30),
    (40, 120, 210),
    (90, 140, 30),
    (150, 60, 150),
    (50, 50, 190),
    (140, 130, 20),
)
LABEL_FONT = cv2.FONT_HERSHEY_SIMPLEX
TINT = 0.18  # opacity of a line's colour in its box
LONGEST_SIDE = 3000  # larger pages are reduced to this, in pixels


def draw_boxes(
    image: np.ndarray, boxes: Iterable[np.ndarray], colour: Colour, thickness: int = 2
) -> np.ndarray:
    """Outline boxes on a copy of an image.

    Args:
        image: `(H, W, 3) uint8` BGR.
        boxes: each `(N, 2)`, x and y in pixels.
        colour: of the outlines.
        thickness: of the outlines, in pixels.

    Returns:
        `(H, W, 3) uint8` BGR.
    """
    page = image.copy()
    outlines = [np.round(box).astype(np.int32) for box in boxes]
    cv2.polylines(page, outlines, True, colour, thickness, cv2.LINE_AA)
    return page


def draw_detections(
    image: np.ndarray, boxes: Sequence[np.ndarray], colours: Sequence[Colour] = ()
) -> np.ndarray:
    """Draw boxes and polygons on a page, tinted and outlined.

    Args:
        image: `(H, W, 3) uint8` BGR; pages larger than `LONGEST_SIDE` are reduced.
        boxes: each `(N, 2)`, x and y in pixels of `image`.
        colours: of the boxes, one for each; by default `LINE_COLOURS` in turn.

    Returns:
        `(h, w, 3) uint8` BGR.
    """
    scale = _scale(image)
    page = image
    if scale < 1:
        page = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    tinted = page.copy()
    outlines = _coloured([box * scale for box in boxes], colours or LINE_COLOURS)
    for outline, colour in outlines:
        cv2.fillPoly(tinted, [outline], colour, cv2.LINE_AA)
    page = cv2.addWeighted(tinted, TINT, page, 1 - TINT, 0)
    for outline, colour in outlines:
        cv2.polylines(page, [outline], True, colour, _thickness(page), cv2.LINE_AA)
    return page


def draw_regions(image: np.ndarray, regions: Sequence[LabelledItem]) -> np.ndarray:
    """Draw regions on a page, tinted and outlined in the colour of their label, which they show.

    Args:
        image: `(H, W, 3) uint8` BGR; pages larger than `LONGEST_SIDE` are reduced.
        regions: the regions of the page.

    Returns:
        `(h, w, 3) uint8` BGR.
    """
    labels = [region.label for region in regions]
    names = sorted(set(labels))
    colours = [LINE_COLOURS[names.index(label) % len(LINE_COLOURS)] for label in labels]
    page = draw_detections(image, [region.box for region in regions], colours)
    size = max(0.5, max(page.shape[:2]) / 2000)
    for region, label, colour in zip(regions, labels, colours, strict=True):
        left, top = np.round(region.box.min(0) * _scale(image)).astype(int).tolist()
        text = label.encode("ascii", "replace").decode()  # the font of OpenCV has no other
        (width, height), baseline = cv2.getTextSize(text, LABEL_FONT, size, 1)
        bottom = max(top, height + 2 * baseline)
        corner = (left + width + baseline, bottom - height - 2 * baseline)
        cv2.rectangle(page, (left, bottom), corner, colour, cv2.FILLED)
        start = (left + baseline // 2, bottom - baseline)
        cv2.putText(page, text, start, LABEL_FONT, size, WHITE, 1, cv2.LINE_AA)
    return page


def draw_entities(image: np.ndarray, entities: Sequence[Entity]) -> np.ndarray:
    """Draw entities as regions, and an arrow from each question to each of its answers.

    Args:
        image: `(H, W, 3) uint8` BGR; pages larger than `LONGEST_SIDE` are reduced.
        entities: the entities of the page.

    Returns:
        `(h, w, 3) uint8` BGR.
    """
    page = draw_regions(image, entities)
    scale = _scale(image)
    middles = {
        entity.number: np.round(entity.box.mean(0) * scale).astype(int).tolist()
        for entity in entities
    }
    for entity in entities:
        if entity.question in middles:
            start, end = middles[entity.question], middles[entity.number]
            cv2.arrowedLine(page, start, end, ARROW, _thickness(page), cv2.LINE_AA, tipLength=0.1)
    return page


def draw_recognition(
    image: np.ndarray, lines: Sequence[TextItem], typesetter: Typesetter
) -> np.ndarray:
    """Draw a page with its boxes and, to the right of it, the recognised text in the same boxes.

    Args:
        image: `(H, W, 3) uint8` BGR; pages larger than `LONGEST_SIDE` are reduced.
        lines: the lines of the page.
        typesetter: renders the text.

    Returns:
        `(h, w, 3) uint8` BGR.
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
    """Return the factor by which a page is reduced, at most 1."""
    return min(1, LONGEST_SIDE / max(image.shape[:2]))


def _coloured(
    boxes: Sequence[np.ndarray], colours: Sequence[Colour] = LINE_COLOURS
) -> list[tuple[np.ndarray, Colour]]:
    """Round boxes `(N, 2)` to whole pixels, and give each the next colour."""
    return [
        (np.round(box).astype(np.int32), colours[index % len(colours)])
        for index, box in enumerate(boxes)
    ]


def _thickness(page: np.ndarray) -> int:
    return max(1, round(max(page.shape[:2]) / 1000))


def _set_text(panel: np.ndarray, text: str, corners: np.ndarray, typesetter: Typesetter) -> None:
    """Render a line of text onto a panel, in place.

    Args:
        panel: `(H, W, 3) uint8` BGR, changed.
        text: the text of the line.
        corners: `(4, 2)`, clockwise; the text runs along the first side.
        typesetter: renders the text.
    """
    width, height = (max(1, round(float(side))) for side in side_lengths(corners))
    mask = typesetter.set(text, width, height)
    frame = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    # Only the surroundings of the line are blended, since pages may have many lines.
    left, top = np.maximum(np.floor(corners.min(0)), 0).astype(int).tolist()
    right, bottom = np.ceil(corners.max(0)).astype(int).tolist()
    region = panel[top : bottom + 1, left : right + 1]
    if not region.size:
        return
    shift = cv2.getPerspectiveTransform(frame, (corners - (left, top)).astype(np.float32))
    ink = cv2.warpPerspective(mask, shift, region.shape[1::-1], flags=cv2.INTER_LINEAR)
    coverage = ink[..., None] / 255
    region[:] = np.round(region * (1 - coverage) + np.array(INK) * coverage)


def colour_map(values: np.ndarray) -> np.ndarray:
    """Map values `(H, W) float`, clipped to 0 to 1, to colours `(H, W, 3) uint8`."""
    levels = np.round(np.clip(values, 0, 1) * 255).astype(np.uint8)
    return cv2.applyColorMap(levels, cv2.COLORMAP_INFERNO)


def montage(panels: Sequence[tuple[str, np.ndarray]], height: int = 640) -> np.ndarray:
    """Put images side by side on white, scaled to one height, each below its caption.

    Args:
        panels: each a caption, in ASCII, and an image `(H, W, 3) uint8`.
        height: the height of the images in pixels.

    Returns:
        `(h, w, 3) uint8`.
    """
    columns = []
    for caption, image in panels:
        width = max(1, round(image.shape[1] * height / image.shape[0]))
        interpolation = cv2.INTER_AREA if height < image.shape[0] else cv2.INTER_LINEAR
        scaled = cv2.resize(image, (width, height), interpolation=interpolation)
        column = cv2.copyMakeBorder(
            scaled, CAPTION_HEIGHT, MARGIN, MARGIN, MARGIN, cv2.BORDER_CONSTANT, value=WHITE
        )
        baseline = (MARGIN, CAPTION_HEIGHT - 11)
        cv2.putText(column, caption, baseline, cv2.FONT_HERSHEY_SIMPLEX, 0.55, INK, 1, cv2.LINE_AA)
        columns.append(column)
    return np.hstack(columns)
