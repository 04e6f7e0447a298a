"""The texts of a table: those of its page, or by OCR inside of its image.

Inside of it, steps and rounding are those of PaddleOCR 2.x, ppstructure/table/predict_table.py
(`TableSystem`): lines are cut out along their bounding rectangle, and all of them are kept,
whatever their score.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipelines.geometry import reading_order
from pipelines.ocr import OCR, TextLine
from pipelines.table.results import Texts

BORDER = 1
"""The pixels by which the rectangle around a line is widened on each side."""
CROP_BORDER = 2
"""The further pixels by which it is widened for the recogniser."""


def texts_of_lines(lines: Sequence[TextLine]) -> Texts:
    """Return the texts of lines with the upright rectangles around them."""
    boxes = [(*line.box.min(0), *line.box.max(0)) for line in lines]
    return Texts(np.array(boxes).reshape(-1, 4), [line.text for line in lines])


def read_texts(ocr: OCR, image: np.ndarray) -> Texts:
    """Find and read the texts of a table.

    Args:
        ocr: its detector and its recogniser are used.
        image: `(H, W, 3) uint8` BGR.

    Returns:
        The texts, from top to bottom.
    """
    lines = reading_order(ocr.detector(image))
    boxes = [_widen((*line.min(0), *line.max(0)), image, BORDER) for line in lines]
    crops = [_crop(image, _widen(box, image, CROP_BORDER)) for box in boxes]
    read = [index for index, crop in enumerate(crops) if crop.size]  # EAST finds some outside
    texts = ocr.recognizer([crops[index] for index in read])
    kept = np.array([boxes[index] for index in read]).reshape(-1, 4)
    return Texts(kept, [text.text for text in texts])


def _widen(box: Sequence[float], image: np.ndarray, border: int) -> tuple[float, ...]:
    """Widen a rectangle on all sides, within the image.

    Args:
        box: left, top, right and bottom in pixels.
        image: `(H, W, 3)`.
        border: the pixels on each side.
    """
    left, top, right, bottom = box
    height, width = image.shape[:2]
    return (
        max(0, left - border),
        max(0, top - border),
        min(width, right + border),
        min(height, bottom + border),
    )


def _crop(image: np.ndarray, box: Sequence[float]) -> np.ndarray:
    left, top, right, bottom = map(int, box)
    return image[top:bottom, left:right]
