"""What to read: files, folders, patterns and PDFs to one page at a time."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from pipelines.io.images import SUFFIXES, ImageError, open_image
from pipelines.io.pdf import open_pdf

PDF = ".pdf"
DPI = 200
"""Of PDF pages where nothing else is said: text of 10 points gets lines of about 30 pixels."""


@dataclass(frozen=True, eq=False)
class Page:
    """A page that was read.

    Attributes:
        source: the file that it comes from.
        number: which page of that file, from 1.
        count: how many pages the file has.
        image: `(H, W, 3) uint8` BGR.
    """

    source: Path
    number: int
    count: int
    image: np.ndarray


@dataclass(frozen=True)
class Failure:
    """What could not be read: a page, or, if `number` is None, the whole of a source."""

    source: Path
    number: int | None
    message: str


class Document(Protocol):
    """An open file of pages, numbered from 1."""

    count: int

    def read(self, number: int) -> np.ndarray:
        """Return a page as `(H, W, 3) uint8` BGR, or raise ImageError."""


def find_files(sources: Iterable[str | Path]) -> tuple[list[Path], list[Failure]]:
    """Find the files that are meant, each once, in the order in which they are named.

    A source is a file of any name; a folder, which stands for the images and PDFs that lie directly
    in it; or a pattern such as `scans/**/*.png`, for the shells that do not expand it. The files of
    a folder or pattern are sorted as people count, page 2 before page 10.

    Returns:
        The files; and the sources that stand for none.
    """
    files: dict[Path, None] = {}
    failures = []
    for source in sources:
        path = Path(source)
        try:
            found = _files_of(path)
        except OSError as error:
            failures.append(Failure(path, None, f"{path}: cannot be read ({error.strerror})"))
            continue
        if isinstance(found, str):
            failures.append(Failure(path, None, f"{path}: {found}"))
        else:
            files.update(dict.fromkeys(found))
    return list(files), failures


def _files_of(path: Path) -> list[Path] | str:
    """Return the files that a source stands for, or why there are none."""
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
    """Return a sort key under which numbers within names count as numbers."""
    return [
        [(int(part), "") if part.isdecimal() else (-1, part.casefold())
         for part in re.split(r"(\d+)", name)]
        for name in (*path.parent.parts, path.stem, path.suffix)
    ]  # fmt: skip


def read_pages(files: Sequence[Path], dpi: float = DPI) -> Iterator[Page | Failure]:
    """Read files page by page; of a file that fails, or a page, say so and go on.

    Only one page is held at a time. Images have one page, TIFF and PDF files as many as they hold.

    Args:
        files: image and PDF files.
        dpi: pixels per inch with which the pages of a PDF are drawn.
    """
    for file in files:
        try:
            with _open(file, dpi) as document:
                for number in range(1, document.count + 1):
                    yield _read(file, number, document)
        except ImageError as error:
            yield Failure(file, None, str(error))


def _open(file: Path, dpi: float) -> AbstractContextManager[Document]:
    return open_pdf(file, dpi) if file.suffix.lower() == PDF else open_image(file)


def _read(file: Path, number: int, document: Document) -> Page | Failure:
    try:
        return Page(file, number, document.count, document.read(number))
    except ImageError as error:
        return Failure(file, number, str(error))
