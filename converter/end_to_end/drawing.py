"""Drawing the boxes of both pipelines on a page, those that differ in colour and numbered."""

from __future__ import annotations

import cv2
import numpy as np

from converter.end_to_end.compare import PageComparison
from pipelines.io.drawing import Colour, draw_boxes

PADDLE: Colour = (0, 140, 255)
TORCH: Colour = (200, 60, 0)
SAME: Colour = (150, 150, 150)

LONGEST_SIDE = 1400  # pixels
QUALITY = 80  # of JPEG


def draw_difference(image: np.ndarray, compared: PageComparison) -> bytes:
    """Draw the lines of a page: grey if both agree, else orange for Paddle and blue for PyTorch.

    Lines that differ are numbered. Paddle's outline is thicker, so that both are visible where they
    coincide.

    Args:
        image: (H, W, 3) uint8 BGR; reduced if a side is longer than `LONGEST_SIDE`.
        compared: comparison of the two readings.

    Returns:
        The content of a JPEG file.
    """
    scale = min(1.0, LONGEST_SIDE / max(image.shape[:2]))
    if scale < 1:
        size = [max(1, round(side * scale)) for side in image.shape[1::-1]]
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    differing = {number for number, _, _ in compared.differing}
    boxes: dict[str, list[np.ndarray]] = {"same": [], "paddle": [], "torch": []}
    for number, pair in enumerate(compared.lines, 1):
        for side, line in (("paddle", pair.paddle), ("torch", pair.torch)):
            if line is not None:
                boxes[side if number in differing else "same"].append(line.box * scale)
    picture = draw_boxes(image, boxes["same"], SAME, 1)
    picture = draw_boxes(picture, boxes["paddle"], PADDLE, 3)
    picture = draw_boxes(picture, boxes["torch"], TORCH, 1)
    for number, pair, _ in compared.differing:
        line = pair.paddle or pair.torch
        if line is not None:
            _number(picture, number, line.box * scale)
    _, content = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    return content.tobytes()


def _number(picture: np.ndarray, number: int, box: np.ndarray) -> None:
    """Write the number of a line beside its box, on the image itself.

    Args:
        picture: (H, W, 3) uint8 BGR, changed in place.
        number: number of the line.
        box: corners of its box, (N, 2) in pixels.
    """
    font, size = cv2.FONT_HERSHEY_SIMPLEX, 0.5
    (width, height), _ = cv2.getTextSize(str(number), font, size, 1)
    left = int(np.clip(box[0, 0] - width - 4, 0, max(0, picture.shape[1] - width)))
    bottom = int(np.clip(box[0, 1] + height, height, max(height, picture.shape[0] - 1)))
    corners = (left - 2, bottom - height - 2), (left + width + 1, bottom + 3)
    cv2.rectangle(picture, *corners, (255, 255, 255), cv2.FILLED)
    cv2.putText(picture, str(number), (left, bottom), font, size, (0, 0, 200), 1, cv2.LINE_AA)
