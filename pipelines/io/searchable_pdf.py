"""Searchable PDFs: the image of each page with its text, invisible, on top.

Text of any script can be searched, selected and copied without a font of its glyphs: characters are
numbered, a ToUnicode table maps the numbers to Unicode, and the embedded font has a single glyph, a
box. The file conforms to ISO 32000, 9.4.3 (text rendering mode 3), 9.7 and 9.10.3. PDFium writes
it (`pip install paddleocr-to-torch[pdf]`).
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
from pipelines.io.items import TextItem
from pipelines.io.pdf import POINTS_PER_INCH

JPEG_QUALITY = 85
EM = 1000  # font units; width and height of the glyph
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
    """Builds a searchable PDF page by page; the images are kept compressed.

    Args:
        dpi: resolution of the images in pixels per inch, which sets the size of the pages.
    """

    def __init__(self, dpi: float) -> None:
        import pypdfium2

        self._document = pypdfium2.PdfDocument.new()
        self._scale = POINTS_PER_INCH / dpi

    def add(self, image: np.ndarray, lines: Sequence[TextItem]) -> None:
        """Add a page.

        Args:
            image: `(H, W, 3) uint8` BGR.
            lines: the text lines on it.
        """
        from bidi import get_display
        from pypdfium2 import raw

        height, width = (length * self._scale for length in image.shape[:2])
        page = self._document.new_page(width, height)
        page.insert_obj(self._image(image, width, height))
        # PDFs store text in visual order, from the left, also in right-to-left scripts.
        displayed = [(line.box, get_display(line.text)) for line in lines]
        texts = [(box, characters) for box, characters in displayed if characters]
        if texts:
            distinct = dict.fromkeys("".join(characters for _, characters in texts))
            numbers = {character: number for number, character in enumerate(distinct, 1)}
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
        """Return the content of the file and close it; no page can be added afterwards."""
        stream = io.BytesIO()
        self._document.save(stream)
        self._document.close()
        return stream.getvalue()

    def _image(self, image: np.ndarray, width: float, height: float) -> Any:
        import pypdfium2

        _, jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
        embedded = pypdfium2.PdfImage.new(self._document)
        embedded.load_jpeg(io.BytesIO(jpeg.tobytes()), inline=True)
        embedded.set_matrix(pypdfium2.PdfMatrix(width, 0, 0, height, 0, 0))
        return embedded

    def _font(self, numbers: dict[str, int]) -> Any:
        """Embed the font for the numbers of a page's characters."""
        from pypdfium2 import raw

        program, glyphs = (
            font_of_boxes(),
            bytes(2 * (len(numbers) + 1)),
        )  # all characters use glyph 0
        return raw.FPDFText_LoadCidType2Font(
            self._document,
            _array(ctypes.c_uint8, program),
            len(program),
            to_unicode(numbers).encode(),
            _array(ctypes.c_uint8, glyphs),
            len(glyphs),
        )


def text_matrix(box: np.ndarray, length: int, height: float) -> tuple[float, ...]:
    """Return the matrix that maps a text of one unit per character into a line's box.

    Args:
        box: `(N, 2)`, clockwise from the top left, in points, y downwards.
        length: the number of characters.
        height: the height of the page in points, whose y axis points upwards.

    Returns:
        The six coefficients of an affine map, as PDF orders them.
    """
    corners = text_corners(box) * (1, -1) + (0, height)
    top_left, top_right, _, bottom_left = corners
    across, up = (top_right - top_left) / length, top_left - bottom_left
    origin = bottom_left + up * DESCENT / EM
    return (*across.tolist(), *up.tolist(), *origin.tolist())


def to_unicode(numbers: dict[str, int]) -> str:
    """Return the ToUnicode table of characters and their numbers."""
    pairs = [
        f"<{number:04X}> <{character.encode('utf-16-be', 'replace').hex().upper()}>"
        for character, number in numbers.items()
    ]
    ranges = []
    for start in range(0, len(pairs), 100):  # the maximum of a section
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


def _array(item: Any, values: Sequence[int]) -> Any:
    """Return a C array of the ctypes type `item`."""
    return (item * len(values))(*values)
