"""The steps from the image of a page to what is known of it, each a small function.

Their order is that of PaddleX 3, inference/pipelines/layout_parsing/pipeline_v2.py: orientation and
unwarping, layout, areas, formulas, lines, tables, seals.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipelines.classification.predictor import Classifier
from pipelines.documents import labels
from pipelines.documents.figures import Figures
from pipelines.documents.labels import common_label
from pipelines.documents.lines import crop_of
from pipelines.documents.page_data import PageLines, Region
from pipelines.documents.rectangles import area, shared_area
from pipelines.formula.predictor import FormulaReader
from pipelines.geometry import rotate
from pipelines.io.images import ImageError
from pipelines.layout.predictor import LayoutDetector
from pipelines.ocr import OCR, TextLine
from pipelines.table.predictor import TableRecognizer

WHITE = 255
IN_FORMULA = 0.5
"""The share of a line of a text layer that lies in a formula it is a part of."""


def turn(image: np.ndarray, classifier: Classifier | None) -> tuple[np.ndarray, int]:
    """Return a page upright, and by how many degrees it was rotated counter-clockwise."""
    angle = classifier([image])[0] if classifier else 0
    return (rotate(image, angle) if angle else image), angle


def find_regions(
    image: np.ndarray, detector: LayoutDetector | None, *, ordered: bool = False
) -> list[Region]:
    """Return the regions of a page, with the labels that all networks share.

    Args:
        image: `(H, W, 3) uint8` BGR.
        detector: the layout network.
        ordered: whether it returns them in reading order.
    """
    found = detector(image) if detector else []
    return [
        Region(
            common_label(region.label),
            _bounds(region.box),
            float(region.score),
            order=number if ordered else None,
        )
        for number, region in enumerate(found)
    ]


def find_areas(
    image: np.ndarray, detector: LayoutDetector | None
) -> list[tuple[float, float, float, float]]:
    """Return the boxes of the parts of a page that are read one after the other."""
    return [_bounds(region.box) for region in detector(image)] if detector else []


def _bounds(box: np.ndarray) -> tuple[float, float, float, float]:
    """Return left, top, right and bottom of corners `(4, 2)`."""
    (left, top), (right, bottom) = box.min(0).tolist(), box.max(0).tolist()
    return left, top, right, bottom


def read_formulas(
    image: np.ndarray, regions: Sequence[Region], reader: FormulaReader | None
) -> list[tuple[Region, str]]:
    """Return the formulas of a page with their LaTeX; those that cannot be read are left out."""
    found = []
    for region in regions if reader else ():
        crop = crop_of(image, region.box)
        if region.label != labels.FORMULA or not crop.size:
            continue
        assert reader is not None
        try:
            found.append((region, reader(crop)))
        except ImageError:  # of one colour: there is no formula in it
            continue
    return found


def without_formulas(image: np.ndarray, formulas: Sequence[tuple[Region, str]]) -> np.ndarray:
    """Return a page that is white where formulas were read, so that they are not read as text."""
    if not formulas:
        return image
    page = image.copy()
    for region, _ in formulas:
        crop_of(page, region.box)[:] = WHITE
    return page


def read_lines(image: np.ndarray, ocr: OCR | None) -> list[TextLine]:
    """Return the lines of a page."""
    return ocr(image) if ocr else []


def outside_formulas(
    lines: Sequence[TextLine], formulas: Sequence[tuple[Region, str]]
) -> list[TextLine]:
    """Return the lines of a text layer without those of formulas, which were read as LaTeX."""
    kept = []
    for line in lines:
        box = [*line.box.min(0), *line.box.max(0)]
        shares = [shared_area(box, region.box) / max(area(box), 1) for region, _ in formulas]
        if max(shares, default=0) < IN_FORMULA:
            kept.append(line)
    return kept


def page_lines(lines: Sequence[TextLine], formulas: Sequence[tuple[Region, str]]) -> PageLines:
    """Return the lines of a page and the formulas, for their blocks."""
    boxes = np.array([[*line.box.min(0), *line.box.max(0)] for line in lines]).reshape(-1, 4)
    texts, scores = [line.text for line in lines], [float(line.score) for line in lines]
    made = PageLines(boxes.astype(np.int32), texts, scores)
    for region, latex in formulas:
        made.append(region.box, latex, 1.0, formula=True)
    return made


def recognize_tables(
    image: np.ndarray,
    regions: Sequence[Region],
    lines: Sequence[TextLine],
    formulas: Sequence[tuple[Region, str]],
    recognizer: TableRecognizer | None,
) -> None:
    """Recognise the tables among the regions, in place; formulas in cells are LaTeX in dollars."""
    tables = [
        region
        for region in regions
        if region.label == labels.TABLE and crop_of(image, region.box).size
    ]
    if recognizer is None or not tables:
        return
    in_cells = [
        TextLine(_corners(region), f"${latex.strip('$')}$", 1.0) for region, latex in formulas
    ]
    found = recognizer.on_page(image, [_corners(region) for region in tables], [*lines, *in_cells])
    for region, table in zip(tables, found, strict=True):
        region.content = table


def _corners(region: Region) -> np.ndarray:
    left, top, right, bottom = region.box
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]], np.float32)


def read_seals(
    image: np.ndarray, regions: Sequence[Region], ocr: OCR | None, figures: Figures
) -> None:
    """Read the texts of the seals among the regions, in place; curved lines are straightened."""
    for region in regions if ocr else ():
        crop = crop_of(image, region.box)
        if region.label == labels.SEAL and crop.size:
            assert ocr is not None
            text = "\n".join(line.text for line in ocr(crop))
            region.content = figures.cut(region.box, text)
