"""The image of a page to its blocks, with the networks that there are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipelines.documents import steps
from pipelines.documents.blocks import page_blocks
from pipelines.documents.cleanup import without_overlaps
from pipelines.documents.figures import Figures
from pipelines.documents.lines import ReadCrop
from pipelines.documents.networks import Networks
from pipelines.documents.page_data import PageData
from pipelines.documents.settings import DEFAULT, ParseSettings
from pipelines.documents.types import Page
from pipelines.ocr import OCR, TextLine


@dataclass(frozen=True, eq=False)
class ParsedPage:
    """A page with its blocks, and what they were made from, for drawings.

    Attributes:
        page: the page.
        image: `(H, W, 3) uint8` BGR, upright and flat.
        lines: its lines of text.
    """

    page: Page
    image: np.ndarray
    lines: Sequence[TextLine]


class PageParser:
    """Parses one page after another.

    Args:
        networks: the predictors.
        settings: how pages are parsed.
    """

    def __init__(self, networks: Networks, settings: ParseSettings = DEFAULT) -> None:
        self._networks, self._settings = networks, settings

    def __call__(
        self,
        image: np.ndarray,
        source: str,
        number: int,
        *,
        text_layer: Sequence[TextLine] | None = None,
        folder: Path | None = None,
    ) -> ParsedPage:
        """Parse a page.

        Args:
            image: `(H, W, 3) uint8` BGR.
            source: the name of its file.
            number: of the page in its file, from 1.
            text_layer: its lines, if the file has them; then nothing is read, and the page is
                not turned or flattened.
            folder: where figures are written; None to keep them in memory.

        Raises:
            ValueError: a network's output is not that of its task.
        """
        networks, angle = self._networks, 0
        if text_layer is None:
            image, angle = steps.turn(image, networks.orientation)
            image = networks.unwarper(image) if networks.unwarper else image
        figures = Figures(image, number, folder)
        regions = steps.find_regions(image, networks.layout, ordered=networks.ordered)
        areas = steps.find_areas(image, networks.areas)
        formulas = steps.read_formulas(image, regions, networks.formulas)
        white = steps.without_formulas(image, formulas)
        ocr = networks.ocr if text_layer is None else None
        lines = steps.read_lines(white, ocr)
        if text_layer is not None:
            lines = steps.outside_formulas(text_layer, formulas)
        regions = without_overlaps(regions)
        steps.recognize_tables(white, regions, lines, formulas, networks.tables)
        steps.read_seals(image, regions, networks.seals, figures)
        data = PageData(
            white,
            regions,
            areas,
            steps.page_lines(lines, formulas),
            reader_of(ocr),
            self._settings.min_score,
            self._settings.line_rules,
        )
        blocks = page_blocks(data, figures.cut, by_halves=self._settings.order == "columns")
        height, width = image.shape[:2]
        page = Page(source, number, width, height, angle, tuple(blocks))
        return ParsedPage(page, image, lines)


def reader_of(ocr: OCR | None) -> ReadCrop | None:
    """Return the function that reads an image of one line."""
    if ocr is None:
        return None

    def read(image: np.ndarray) -> tuple[str, float]:
        (text,) = ocr.recognizer([image])
        return text.text, float(text.score)

    return read
