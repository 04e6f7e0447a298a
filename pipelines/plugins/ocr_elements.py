"""Lines of text as OCRmyPDF's elements, and those as hOCR."""

from __future__ import annotations

import math
from collections.abc import Sequence
from xml.etree import ElementTree

import numpy as np
from ocrmypdf.hocrtransform import Baseline, BoundingBox, OcrClass, OcrElement

from pipelines.geometry import text_corners
from pipelines.ocr import TextLine

DESCENT = 0.2
"""How far the baseline is above the lower edge of a line, as a share of the line's height."""
_TAGS = {OcrClass.PAGE: "div", OcrClass.PARAGRAPH: "p"}


def page_element(
    lines: Sequence[TextLine],
    width: int,
    height: int,
    *,
    dpi: float,
    number: int,
    right_to_left: bool,
) -> OcrElement:
    """Return a page of lines, each of its words; a line that has none is a word.

    Args:
        lines: the lines, with what stands between spaces as words.
        width: of the image, in pixels.
        height: of the image, in pixels.
        dpi: the resolution of the image, in pixels per inch.
        number: the number of the page, from 0.
        right_to_left: whether the script is read from the right.
    """
    page = BoundingBox(0, 0, width, height)
    elements = [_line(line, page, right_to_left=right_to_left) for line in lines]
    shown = [element for element in elements if element.bbox.width and element.bbox.height]
    paragraph = OcrElement(OcrClass.PARAGRAPH, bbox=page, children=shown)
    children = [paragraph] if shown else []
    return OcrElement(OcrClass.PAGE, bbox=page, dpi=dpi, page_number=number, children=children)


def _line(line: TextLine, page: BoundingBox, *, right_to_left: bool) -> OcrElement:
    """Return a line; it is turned by quarters of a circle, and its baseline slants by the rest."""
    corners = text_corners(line.box).astype(np.float64)
    across = corners[1] - corners[0]
    angle = math.degrees(math.atan2(-across[1], across[0]))  # counter-clockwise
    quarters = round(angle / 90)
    box = _box(corners, page)
    slope = math.tan(math.radians(90 * quarters - angle))  # downwards, as in hOCR
    length = box.height if quarters % 2 else box.width
    thickness = box.width if quarters % 2 else box.height
    rise = abs(slope) * length
    descent = DESCENT * max(thickness - rise, 0)
    words = line.words or (line,)
    return OcrElement(
        OcrClass.LINE,
        bbox=box,
        text=line.text,
        confidence=line.score,
        direction="rtl" if right_to_left else "ltr",
        textangle=float(90 * quarters % 360),
        baseline=Baseline(slope, -descent - (rise if slope > 0 else 0)),
        children=[
            OcrElement(
                OcrClass.WORD, bbox=_box(word.box, page), text=word.text, confidence=word.score
            )
            for word in words
        ],
    )


def _box(corners: np.ndarray, page: BoundingBox) -> BoundingBox:
    """Return the upright box around corners, as far as it is on the page."""
    limits = (page.right, page.bottom)
    left, top = np.clip(corners.min(0), 0, limits).tolist()
    right, bottom = np.clip(corners.max(0), 0, limits).tolist()
    return BoundingBox(left, top, right, bottom)


def hocr(page: OcrElement, system: str) -> bytes:
    """Return a page as hOCR 1.2.

    Args:
        page: the page.
        system: the name of the OCR engine.
    """
    html = ElementTree.Element("html", xmlns="http://www.w3.org/1999/xhtml")
    head = ElementTree.SubElement(html, "head")
    ElementTree.SubElement(head, "title")
    ElementTree.SubElement(head, "meta", name="ocr-system", content=system)
    classes = " ".join((OcrClass.PAGE, OcrClass.PARAGRAPH, OcrClass.LINE, OcrClass.WORD))
    ElementTree.SubElement(head, "meta", name="ocr-capabilities", content=classes)
    _append(ElementTree.SubElement(html, "body"), page)
    text: bytes = ElementTree.tostring(html, "utf-8", xml_declaration=True)
    return text


def _append(parent: ElementTree.Element, element: OcrElement) -> None:
    """Append an element and what it holds."""
    box = element.bbox
    corners = (*map(math.floor, (box.left, box.top)), *map(math.ceil, (box.right, box.bottom)))
    properties = ["bbox " + " ".join(map(str, corners))]
    if element.page_number is not None:
        properties.append(f"ppageno {element.page_number}")
    if element.dpi is not None:
        properties.append(f"scan_res {round(element.dpi)} {round(element.dpi)}")
    if element.baseline is not None:
        properties.append(f"baseline {element.baseline.slope:.4f} {element.baseline.intercept:.2f}")
    if element.textangle:
        properties.append(f"textangle {element.textangle:g}")
    if element.ocr_class == OcrClass.WORD:
        properties.append(f"x_wconf {round(100 * element.confidence)}")
    attributes = {"class": element.ocr_class, "title": "; ".join(properties)}
    if element.direction:
        attributes["dir"] = element.direction
    tag = _TAGS.get(element.ocr_class, "span")
    child = ElementTree.SubElement(parent, tag, attributes)
    if element.ocr_class == OcrClass.WORD:
        child.text = element.text
    for each in element.children:
        _append(child, each)
