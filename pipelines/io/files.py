"""Input files: paths, folders and patterns to images and PDFs, read one page at a time."""

from __future__ import annotations

import glob
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np

from pipelines.io.images import SUFFIXES, ImageError, open_image
from pipelines.io.pdf import open_pdf

Result = TypeVar("Result")

PDF = ".pdf"
DPI = 200
"""Default resolution of PDF pages: text of 10 points has lines of about 30 pixels."""


@dataclass(frozen=True, eq=False)
class Page:
    """A page of a file.

    Attributes:
        source: the file.
        number: the number of the page, from 1.
        count: the number of pages in the file.
        image: `(H, W, 3) uint8` BGR.
    """

    source: Path
    number: int
    count: int
    image: np.ndarray


@dataclass(frozen=True)
class PageRef:
    """A page of a file, to be read.

    Attributes:
        source: the file.
        number: the number of the page, from 1.
        count: the number of pages in the file.
    """

    source: Path
    number: int
    count: int


@dataclass(frozen=True)
class Failure:
    """A page, or a whole source, that could not be read.

    Attributes:
        source: the file, folder or pattern.
        number: the number of the page, from 1; None for a whole source.
        message: the reason, with the source.
    """

    source: Path
    number: int | None
    message: str


class Document(Protocol):
    """An open file of pages.

    Attributes:
        count: the number of its pages.
    """

    count: int

    def read(self, number: int) -> np.ndarray:
        """Return the page of this number, from 1, as `(H, W, 3) uint8` BGR.

        Raises:
            ImageError: the page cannot be read.
        """


def find_files(sources: Iterable[str | Path]) -> tuple[list[Path], list[Failure]]:
    """Find the files of the given sources, each once, in the order of the sources.

    Args:
        sources: each a file of any name, a folder, for the images and PDFs directly in it, or a
            pattern such as `scans/**/*.png`. The files of a folder or pattern are sorted with
            numbers as numbers, page 2 before page 10.

    Returns:
        The files, and the sources without any.
    """
    files: dict[Path, None] = {}
    failures = []
    for source in sources:
        path = Path(source)
        try:
            matches = _files_of(path)
        except OSError as error:
            failures.append(Failure(path, None, f"{path}: cannot be read ({error.strerror})"))
            continue
        if isinstance(matches, str):
            failures.append(Failure(path, None, f"{path}: {matches}"))
        else:
            files.update(dict.fromkeys(matches))
    return list(files), failures


def _files_of(path: Path) -> list[Path] | str:
    """Return the files of a source, or the reason why there are none."""
    if path.is_dir():
        files = [file for file in path.iterdir() if _is_readable(file)]
        return sorted(files, key=natural_order) or "the folder holds no image and no PDF"
    if path.is_file():
        return [path]
    if path.exists():
        return "is neither a file nor a folder"
    if glob.has_magic(str(path)):
        names = glob.iglob(str(path), recursive=True)  # noqa: PTH207 - it may be absolute
        files = [file for file in map(Path, names) if _is_readable(file)]
        return sorted(files, key=natural_order) or "no image and no PDF matches this pattern"
    return "there is no such file"


def _is_readable(file: Path) -> bool:
    hidden = file.name.startswith(".")
    return file.suffix.lower() in {*SUFFIXES, PDF} and not hidden and file.is_file()


def natural_order(path: Path) -> list[list[tuple[int, str]]]:
    """Return a sort key that compares numbers within names as numbers."""
    return [
        [
            (int(part), "") if part.isdecimal() else (-1, part.casefold())
            for part in re.split(r"(\d+)", name)
        ]
        for name in (*path.parent.parts, path.stem, path.suffix)
    ]


def read_pages(files: Sequence[Path], dpi: float = DPI) -> Iterator[Page | Failure]:
    """Read files page by page, with only one page in memory at a time.

    Args:
        files: image and PDF files; TIFF and PDF files may have several pages.
        dpi: resolution of PDF pages, in pixels per inch.

    Yields:
        Each page, or the failure of a page or a file.
    """
    for file in files:
        try:
            with open_document(file, dpi) as document:
                for number in range(1, document.count + 1):
                    yield _read(file, number, document)
        except ImageError as error:
            yield Failure(file, None, str(error))


def find_pages(files: Iterable[Path], dpi: float = DPI) -> Iterator[PageRef | Failure]:
    """Yield the pages of files without reading them, or the failure of a file.

    Args:
        files: image and PDF files.
        dpi: resolution of PDF pages, in pixels per inch.
    """
    for file in files:
        try:
            with open_document(file, dpi) as document:
                count = document.count
        except ImageError as error:
            yield Failure(file, None, str(error))
        else:
            yield from (PageRef(file, number, count) for number in range(1, count + 1))


def read_found(entries: Iterable[PageRef | Failure], dpi: float = DPI) -> Iterator[Page | Failure]:
    """Read the pages that `find_pages` found.

    Args:
        entries: pages; failures are passed on.
        dpi: resolution of PDF pages, in pixels per inch.

    Yields:
        Each page, or its failure, in the order of `entries`.
    """
    return visit_found(
        entries, dpi, lambda document, page: _read(page.source, page.number, document)
    )


def visit_found(
    entries: Iterable[PageRef | Failure],
    dpi: float,
    visit: Callable[[Document, PageRef], Result],
) -> Iterator[Result | Failure]:
    """Open the files of the pages that `find_pages` found, each once for pages that follow.

    Args:
        entries: pages; failures are passed on.
        dpi: resolution of PDF pages, in pixels per inch.
        visit: is called with the open file of each page.

    Yields:
        What `visit` returns for each page, or its failure, in the order of `entries`.
    """
    for source, group in groupby(entries, key=lambda entry: entry.source):
        refs = []
        for entry in group:
            if isinstance(entry, Failure):
                yield entry
            else:
                refs.append(entry)
        if not refs:
            continue
        try:
            with open_document(source, dpi) as document:
                while refs:
                    yield visit(document, refs.pop(0))
        except ImageError as error:  # such as a file that was removed meanwhile
            yield from (Failure(source, ref.number, str(error)) for ref in refs)


def open_document(file: Path, dpi: float) -> AbstractContextManager[Document]:
    """Open an image or a PDF file.

    Args:
        file: its path.
        dpi: resolution of PDF pages, in pixels per inch.

    Raises:
        ImageError: the file is missing or damaged, or of another kind.
    """
    return open_pdf(file, dpi) if file.suffix.lower() == PDF else open_image(file)


def _read(file: Path, number: int, document: Document) -> Page | Failure:
    try:
        return Page(file, number, document.count, document.read(number))
    except ImageError as error:
        return Failure(file, number, str(error))
