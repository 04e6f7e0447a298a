"""What is done with the pages of a request: their text is read, or they become a document."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import numpy as np

from pipelines.documents.document import failed_page, finish, parse_readable_page
from pipelines.documents.parser import PageParser
from pipelines.documents.settings import ParseSettings
from pipelines.documents.types import Document
from pipelines.documents.types import Page as DocumentPage
from pipelines.documents.writers.formats import FORMATS
from pipelines.io.exporters import JsonWriter
from pipelines.io.files import Failure, Page
from pipelines.io.images import PAGE_ERRORS, ImageError, reason_of
from pipelines.ocr import OCR
from pipelines.page_reading import ReadPage
from pipelines.service.engine import OpenPage
from pipelines.service.limits import FAILED, RequestError
from pipelines.service.uploads import NAME

logger = logging.getLogger(__name__)

MEDIA_TYPES: Mapping[str, str] = {
    "json": "application/json",
    "md": "text/markdown; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}
"""The types of the formats of documents."""


class OcrReading:
    """Reads the lines of pages.

    Args:
        ocr: reads them.
        together: how many pages share batches of lines.
        delay: how many seconds a page waits for others.
    """

    def __init__(self, ocr: OCR, together: int = 1, delay: float = 0.005) -> None:
        self._ocr, self.together, self.delay = ocr, together, delay

    def read(self, pages: Sequence[OpenPage]) -> list[ReadPage | Exception]:
        """Return the lines of each page, or why it could not be read."""
        images = [_decode(page) for page in pages]
        good = [image for image in images if isinstance(image, np.ndarray)]
        outcomes = iter(list(self._ocr.outcomes(good, pages=max(1, len(good)))))
        results: list[ReadPage | Exception] = []
        for page, image in zip(pages, images, strict=True):
            outcome = next(outcomes) if isinstance(image, np.ndarray) else image
            if isinstance(outcome, Exception):
                results.append(outcome)
            elif isinstance(image, np.ndarray):
                size = Page(NAME, page.number, page.document.count, image[..., :0])
                results.append(ReadPage(size, outcome))
        return results

    def answer(self, results: Sequence[ReadPage | Exception], ending: str) -> bytes:  # noqa: ARG002
        """Return the JSON of `python -m pipelines ocr --format json`."""
        _require_one(results)
        writer = JsonWriter(NAME)
        for number, result in enumerate(results, 1):
            if isinstance(result, Exception):
                writer.fail(Failure(NAME, number, reason_of(result)))
            else:
                writer.add(result.page, result.items)
        return writer.content()


class ParseReading:
    """Turns pages into a document.

    Args:
        parser: parses a page.
        settings: how the pages of a file are joined.
        text: where the text of PDFs comes from, see `TEXT_LAYER`.
    """

    together, delay = 1, 0.0

    def __init__(self, parser: PageParser, settings: ParseSettings, text: str = "auto") -> None:
        self._parser, self._settings, self._text = parser, settings, text

    def read(self, pages: Sequence[OpenPage]) -> list[DocumentPage | Exception]:
        """Return the blocks of each page, or why it could not be parsed."""
        return [self._parse(page) for page in pages]

    def _parse(self, page: OpenPage) -> DocumentPage | Exception:
        try:
            return parse_readable_page(
                self._parser, page.document, NAME.name, page.number, text=self._text
            ).page
        except PAGE_ERRORS as error:
            return error

    def answer(self, results: Sequence[DocumentPage | Exception], ending: str) -> bytes:
        """Return the document in one of `FORMATS`."""
        _require_one(results)
        pages = (
            failed_page(NAME.name, number, result) if isinstance(result, Exception) else result
            for number, result in enumerate(results, 1)
        )
        document = Document(tuple(finish(pages, self._settings)))
        return FORMATS[ending].write(document, NAME.name, f"{NAME}_images")


def _decode(page: OpenPage) -> np.ndarray | Exception:
    try:
        return page.document.read(page.number)
    except PAGE_ERRORS as error:
        return error


def _require_one(results: Sequence[object]) -> None:
    """Raise RequestError where no page could be read.

    It is the fault of the file, or of the service, such as one that has too little memory.
    """
    failures = [result for result in results if isinstance(result, Exception)]
    if not failures or len(failures) < len(results):
        return
    for failure in failures:
        if not isinstance(failure, ImageError):
            logger.error("no page could be read", exc_info=failure)
            raise RequestError(500, FAILED)
    raise RequestError(422, str(failures[0]))
