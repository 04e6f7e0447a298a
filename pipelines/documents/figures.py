"""The parts of a page that stay pictures."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from pipelines.documents.lines import crop_of
from pipelines.documents.rectangles import Rectangle
from pipelines.documents.types import Figure
from pipelines.io.exporters import write_whole

JPEG_QUALITY = 92


class Figures:
    """Cuts the figures of a page out of its image.

    Args:
        image: `(H, W, 3) uint8` BGR.
        number: of the page, which with a count makes the names of the files.
        folder: where they are written; None to keep them in memory.
    """

    def __init__(self, image: np.ndarray, number: int, folder: Path | None = None) -> None:
        self._image, self._number, self._folder = image, number, folder
        self._count = 0

    def cut(self, box: Rectangle, text: str = "") -> Figure:
        """Return the part of the page in a box, at least a pixel, with the text read in it."""
        crop = crop_of(self._image, box)
        if not crop.size:
            crop = np.full((1, 1, 3), 255, np.uint8)
        self._count += 1
        name = f"page{self._number}-{self._count}.jpg"
        _, data = cv2.imencode(".jpg", crop, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
        image: bytes | Path = data.tobytes()
        if self._folder is not None:
            write_whole(self._folder / name, data.tobytes())
            image = self._folder / name
        height, width = crop.shape[:2]
        return Figure(name, width, height, image, text)
