"""Searchable PDFs: the picture of each page, and on it the text, invisible, where it was read.

The text can be searched, marked and copied in any script, though no font with its glyphs is needed:
the characters are numbered, a ToUnicode table says which they are, and the embedded font has one
shape for all of them, a box. The file keeps to ISO 32000, 9.4.3 (text rendering mode 3), 9.7 and
9.10.3. PDFium writes it; what it needs comes with `pip install paddleocr-to-torch[pdf]`.
"""

from __future__ import annotations

import ctypes
import io
from collections.abc import Sequence
from functools import cache
from typing import Any

import cv2
import numpy as np

from pipelines.geometry import text_corners
from pipelines.io.pdf import POINTS_PER_INCH
from pipelines.ocr import TextLine

JPEG_QUALITY = 85
EM = 1000  # font units; a character's box is as wide and as high
DESCENT = 200

CMAP = """/CIDInit /ProcSet findresource begin
12 dict begin
begincmap
/CIDSystemInfo << /Registry (Adobe) /Ordering (UCS) /Supplement 0 >> def
/CMapName /Adobe-Identity-UCS def
/CMapType 2 def
1 begincodespacerange
<0000> <FFFF>
endcodespacerange
{ranges}
endcmap
CMapName currentdict /CMap defineresource pop
end
end
"""


class SearchablePdf:
    """A PDF in the making, whose pictures are kept compressed until it is written.

    Args:
        dpi: pixels per inch of the pictures; it sets the size of the pages.
    """

    def __init__(self, dpi: float) -> None:
        import pypdfium2

        self._document = pypdfium2.PdfDocument.new()
        self._scale = POINTS_PER_INCH / dpi

    def add(self, image: np.ndarray, lines: Sequence[TextLine]) -> None:
        """Add a page: its picture, `(H, W, 3) uint8` BGR, and what was read on it."""
        from bidi import get_display
        from pypdfium2 import raw

        height, width = (length * self._scale for length in image.shape[:2])
        page = self._document.new_page(width, height)
        page.insert_obj(self._picture(image, width, height))
        # A PDF holds what stands to the left first, in right-to-left scripts as well.
        shown = [(line.box, get_display(line.text)) for line in lines]
        texts = [(box, characters) for box, characters in shown if characters]
        if texts:
            different = dict.fromkeys("".join(characters for _, characters in texts))
            numbers = {character: number for number, character in enumerate(different, 1)}
            font = self._font(numbers)
            for box, characters in texts:
                codes = [numbers[character] for character in characters]
                text = raw.FPDFPageObj_CreateTextObj(self._document, font, 1.0)
                raw.FPDFText_SetCharcodes(text, _array(ctypes.c_uint32, codes), len(codes))
                raw.FPDFTextObj_SetTextRenderMode(text, raw.FPDF_TEXTRENDERMODE_INVISIBLE)
                matrix = text_matrix(box * self._scale, len(codes), height)
                raw.FPDFPageObj_SetMatrix(text, raw.FS_MATRIX(*matrix))
                raw.FPDFPage_InsertObject(page, text)
            raw.FPDFFont_Close(font)
        page.gen_content()
        page.close()

    def content(self) -> bytes:
        """Return the file and close it; nothing can be added after that."""
        stream = io.BytesIO()
        self._document.save(stream)
        self._document.close()
        return stream.getvalue()

    def _picture(self, image: np.ndarray, width: float, height: float) -> Any:
        import pypdfium2

        _, jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
        picture = pypdfium2.PdfImage.new(self._document)
        picture.load_jpeg(io.BytesIO(jpeg.tobytes()), inline=True)
        picture.set_matrix(pypdfium2.PdfMatrix(width, 0, 0, height, 0, 0))
        return picture

    def _font(self, numbers: dict[str, int]) -> Any:
        """Embed the font of boxes, under the numbers that a page's characters have."""
        from pypdfium2 import raw

        program, glyphs = font_of_boxes(), bytes(2 * (len(numbers) + 1))  # all of them glyph 0
        return raw.FPDFText_LoadCidType2Font(
            self._document,
            _array(ctypes.c_uint8, program),
            len(program),
            to_unicode(numbers).encode(),
            _array(ctypes.c_uint8, glyphs),
            len(glyphs),
        )


def text_matrix(box: np.ndarray, length: int, height: float) -> tuple[float, ...]:
    """Return the matrix that brings `length` characters, one unit each, into a line's box.

    Args:
        box: `(N, 2)`, clockwise from the top left, y downwards.
        length: number of characters.
        height: of the page, whose y goes upwards.
    """
    corners = text_corners(box) * (1, -1) + (0, height)
    top_left, top_right, _, bottom_left = corners
    across, up = (top_right - top_left) / length, top_left - bottom_left
    origin = bottom_left + up * DESCENT / EM
    return (*across.tolist(), *up.tolist(), *origin.tolist())


def to_unicode(numbers: dict[str, int]) -> str:
    """Return the table that says which characters the numbers stand for."""
    pairs = [
        f"<{number:04X}> <{character.encode('utf-16-be', 'replace').hex().upper()}>"
        for character, number in numbers.items()
    ]
    ranges = []
    for start in range(0, len(pairs), 100):  # as many as a section may have
        section = pairs[start : start + 100]
        ranges += [f"{len(section)} beginbfchar", *section, "endbfchar"]
    return CMAP.format(ranges="\n".join(ranges))


@cache
def font_of_boxes() -> bytes:
    """Build a TrueType font of a single glyph, a box."""
    from fontTools.fontBuilder import FontBuilder
    from fontTools.pens.ttGlyphPen import TTGlyphPen

    pen = TTGlyphPen(None)
    top = EM - DESCENT
    pen.moveTo((0, -DESCENT))
    for corner in ((0, top), (EM, top), (EM, -DESCENT)):
        pen.lineTo(corner)
    pen.closePath()
    builder = FontBuilder(EM)
    builder.setupGlyphOrder([".notdef"])
    builder.setupCharacterMap({})
    builder.setupGlyf({".notdef": pen.glyph()})
    builder.setupHorizontalMetrics({".notdef": (EM, 0)})
    builder.setupHorizontalHeader(ascent=top, descent=-DESCENT)
    builder.setupNameTable({"familyName": "Boxes", "styleName": "Regular", "psName": "Boxes"})
    builder.setupOS2()
    builder.setupPost()
    stream = io.BytesIO()
    builder.save(stream)
    return stream.getvalue()


def _array(kind: Any, values: Sequence[int]) -> Any:
    return (kind * len(values))(*values)
