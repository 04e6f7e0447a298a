"""Rendering of PDF pages by pypdfium2 (`pip install paddleocr-to-torch[pdf]`)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipelines.io.images import ImageError

if TYPE_CHECKING:
    from pypdfium2 import PdfDocument

POINTS_PER_INCH = 72
MAX_PAGE_PIXELS = 40_000_000
"""Pages with more pixels than this, such as posters, are rendered at a lower resolution."""

_PASSWORD = 4  # FPDF_ERR_PASSWORD of PDFium's fpdfview.h


class PdfFile:
    """An open PDF file.

    Attributes:
        count: the number of its pages.

    Args:
        path: the path of the file, for error messages.
        document: the file as pypdfium2 has opened it.
        dpi: resolution of the pages, in pixels per inch.
    """

    def __init__(self, path: Path, document: PdfDocument, dpi: float) -> None:
        self._path = path
        self._document = document
        self._dpi = dpi
        self.count = len(document)

    def read(self, number: int) -> np.ndarray:
        """Render a page on white.

        Args:
            number: the number of the page, from 1.

        Returns:
            `(H, W, 3) uint8` BGR.

        Raises:
            ImageError: the page is damaged.
        """
        import pypdfium2

        try:
            with closing(self._document[number - 1]) as page:
                width, height = page.get_size()
                scale = self._dpi / POINTS_PER_INCH
                if width * height > 0:
                    scale = min(scale, math.sqrt(MAX_PAGE_PIXELS / (width * height)))
                with closing(page.render(scale=scale)) as bitmap:
                    return bitmap.to_numpy().copy()
        except (pypdfium2.PdfiumError, ValueError) as error:
            raise ImageError(
                f"{self._path}, page {number}: cannot be rendered ({error})"
            ) from error


@contextmanager
def open_pdf(path: str | Path, dpi: float) -> Iterator[PdfFile]:
    """Open a PDF file.

    Args:
        path: the path of the file.
        dpi: resolution of its pages, in pixels per inch.

    Raises:
        ImageError: pypdfium2 is not installed, or the file is missing, empty, damaged or protected
            by a password.
    """
    try:
        import pypdfium2
    except ImportError as error:
        raise ImageError(
            f"{path}: PDF files need pypdfium2; pip install paddleocr-to-torch[pdf]"
        ) from error
    path = Path(path)
    try:
        with path.open("rb") as stream:
            empty = not stream.read(1)
        document = pypdfium2.PdfDocument(path)
    except OSError as error:
        raise ImageError(f"{path}: cannot be read ({error.strerror})") from error
    except pypdfium2.PdfiumError as error:
        if empty:
            reason = "the file is empty, a PDF was expected"
        elif error.err_code == _PASSWORD:
            reason = "the PDF is protected by a password; save it without one"
        else:
            reason = "not a PDF with at least one page, or a damaged one"
        raise ImageError(f"{path}: {reason}") from error
    with closing(document):
        document.init_forms()  # so that filled-in form fields are rendered
        yield PdfFile(path, document, dpi)
