"""The text layer of PDFs in place of what OCR reads: exact, where it is sound."""

from __future__ import annotations

import numpy as np

from pipelines.io.files import Document as OpenFile
from pipelines.io.pdf import PdfFile, TextLayer
from pipelines.ocr import TextLine


def text_layer_of(document: OpenFile, number: int, mode: str) -> TextLayer | None:
    """Return the text layer of a page if it is to be used.

    Args:
        document: the open file.
        number: of the page, from 1.
        mode: "auto" for sound layers, "layer" for any that has text, "ocr" for none.

    Raises:
        ImageError: the page is damaged, or takes too much time or memory.
    """
    if mode == "ocr" or not isinstance(document, PdfFile):
        return None
    layer = document.text(number)
    is_used = layer.is_sound or (mode == "layer" and layer.lines)
    return layer if is_used else None


def lines_of_layer(layer: TextLayer, size: tuple[int, int]) -> list[TextLine]:
    """Return the lines of a text layer in pixels of the rendered page.

    Args:
        layer: of the page.
        size: height and width of the page, in pixels.
    """
    height, width = size
    lines = []
    for text, shares in layer.lines:
        box = np.clip(np.array(shares), 0, 1) * (width, height, width, height)
        left, top, right, bottom = np.round(box).tolist()
        if right > left and bottom > top:
            corners = [[left, top], [right, top], [right, bottom], [left, bottom]]
            lines.append(TextLine(np.array(corners, np.float32), text, 1.0))
    return lines
