"""What was read of a file, in the formats of the command line; files are written whole or not."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np

from pipelines.errors import OutputError
from pipelines.io.files import Failure, Page

JSON_FORMAT = 1
TSV_COLUMNS = ("page", "line", "left", "top", "width", "height")
# In a table a text must neither end its cell nor its row.
TSV_ESCAPES = str.maketrans({"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r"})
FORM_FEED = "\f"


class Item(Protocol):
    """Something on a page; texts and what else it has are written if the format has room."""

    @property
    def box(self) -> np.ndarray:
        """Corners in pixels as x, y, clockwise from the top left, `(N, 2) float32`."""


@dataclass(frozen=True, eq=False)
class DetectedLine:
    """A line of text that was found and not read."""

    box: np.ndarray


@dataclass(frozen=True, eq=False)
class Formula:
    """A formula that was read; `text` is LaTeX."""

    box: np.ndarray
    text: str


@dataclass(frozen=True, eq=False)
class UpscaledImage:
    """What was drawn anew, `(H, W, 3) uint8` BGR."""

    box: np.ndarray
    image: np.ndarray


def frame_of(image: np.ndarray) -> np.ndarray:
    """Return the box around a whole image."""
    height, width = image.shape[:2]
    return np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)


class Writer(Protocol):
    """The result of one file in the making: pages are added in their order."""

    def add(self, page: Page, lines: Sequence[Any]) -> None:
        """Add what was read on a page."""

    def fail(self, failure: Failure) -> None:
        """Note a page that could not be read."""

    def content(self) -> bytes:
        """Return the file."""


class JsonWriter:
    """`{"format": 1, "source": name, "pages": [...]}`.

    A page has its number `page`, from 1, `width` and `height` in pixels, and `lines` in reading
    order; or, if it could not be read, `page` and `error`. A line has, if it was read, `text` and
    `score` from 0 to 1, and `box`, its corners as `[x, y]` in pixels, clockwise from the top left:
    four, or more around curved text; and `words`, a list of the same, where they were asked for.
    """

    def __init__(self, source: Path) -> None:
        self._source = source
        self._pages: list[dict[str, Any]] = []

    def add(self, page: Page, lines: Sequence[Any]) -> None:
        """Add what was read on a page."""
        height, width = page.image.shape[:2]
        entry = {"page": page.number, "width": width, "height": height}
        self._pages.append({**entry, "lines": [_line(line) for line in lines]})

    def fail(self, failure: Failure) -> None:
        """Note a page that could not be read."""
        self._pages.append({"page": failure.number, "error": failure.message})

    def content(self) -> bytes:
        """Return the file."""
        document = {"format": JSON_FORMAT, "source": str(self._source), "pages": self._pages}
        return _encoded(json.dumps(document, ensure_ascii=False, indent=1, allow_nan=False) + "\n")


def _line(line: Any) -> dict[str, Any]:
    entry = _place(line)
    words = getattr(line, "words", ())
    return {**entry, "words": [_place(word) for word in words]} if words else entry


def _place(place: Any) -> dict[str, Any]:
    box = [[round(x, 2), round(y, 2)] for x, y in place.box.tolist()]
    text = {"text": place.text} if hasattr(place, "text") else {}
    score = {"score": round(float(place.score), 5)} if hasattr(place, "score") else {}
    return {**text, **score, "box": box}


class TxtWriter:
    """A line of text a line, or `x,y,x,y,...` of its corners; a form feed between two pages."""

    def __init__(self, source: Path) -> None:  # noqa: ARG002
        self._pages: list[str] = []

    def add(self, page: Page, lines: Sequence[Any]) -> None:  # noqa: ARG002
        """Add what was read on a page."""
        self._pages.append("".join(_in_a_line(line) + "\n" for line in lines))

    def fail(self, failure: Failure) -> None:  # noqa: ARG002
        """Leave the page empty."""
        self._pages.append("")

    def content(self) -> bytes:
        """Return the file."""
        return _encoded(FORM_FEED.join(self._pages))


def _in_a_line(line: Any) -> str:
    if not hasattr(line, "text"):
        return ",".join(f"{value:g}" for value in line.box.ravel().tolist())
    # What a text holds of line ends and form feeds would be taken for the file's own.
    return " ".join(line.text.splitlines())


class TsvWriter:
    r"""A table with one row a line of text; tabs, line ends and backslashes as `\t \n \r \\`.

    `left`, `top`, `width` and `height` are those of the upright rectangle around the line's box, in
    whole pixels; `score` is from 0 to 1. The last columns, `values`, are those that lines have.
    """

    def __init__(self, source: Path, values: Sequence[str] = ()) -> None:  # noqa: ARG002
        self._rows = ["\t".join([*TSV_COLUMNS, *values])]
        self._values = values

    def add(self, page: Page, lines: Sequence[Any]) -> None:
        """Add what was read on a page."""
        for number, line in enumerate(lines, 1):
            left, top = np.floor(line.box.min(0)).astype(int).tolist()
            right, bottom = np.ceil(line.box.max(0)).astype(int).tolist()
            cells = (page.number, number, left, top, right - left, bottom - top)
            values = [_cell(getattr(line, name)) for name in self._values]
            self._rows.append("\t".join([*map(str, cells), *values]))

    def fail(self, failure: Failure) -> None:
        """Leave the page out."""

    def content(self) -> bytes:
        """Return the file."""
        return _encoded("\n".join(self._rows) + "\n")


def _cell(value: Any) -> str:
    return value.translate(TSV_ESCAPES) if isinstance(value, str) else f"{value:.4f}"


class PdfWriter:
    """The pictures of the pages with the text on top, invisible: see `searchable.py`."""

    def __init__(self, dpi: float) -> None:
        from pipelines.io.searchable_pdf import SearchablePdf

        self._pdf = SearchablePdf(dpi)

    def add(self, page: Page, lines: Sequence[Any]) -> None:
        """Add a page."""
        self._pdf.add(page.image, lines)

    def fail(self, failure: Failure) -> None:
        """Leave the page out."""

    def content(self) -> bytes:
        """Return the file."""
        return self._pdf.content()


class PngWriter:
    """What was drawn anew of each page, one below the other."""

    def __init__(self, source: Path) -> None:  # noqa: ARG002
        self._pictures: list[np.ndarray] = []

    def add(self, page: Page, lines: Sequence[UpscaledImage]) -> None:  # noqa: ARG002
        """Add what was drawn of a page."""
        self._pictures += [line.image for line in lines]

    def fail(self, failure: Failure) -> None:
        """Leave the page out."""

    def content(self) -> bytes:
        """Return the file."""
        content: bytes = cv2.imencode(".png", np.vstack(self._pictures))[1].tobytes()
        return content


WriterMaker = Callable[[Path, float], Writer]
"""Makes a writer of the source and the pixels per inch of its pages."""

DETECTION_FORMATS: dict[str, WriterMaker] = {
    "json": lambda source, _: JsonWriter(source),
    "txt": lambda source, _: TxtWriter(source),
    "tsv": lambda source, _: TsvWriter(source),
}
"""Formats of lines that were found."""
TEXT_FORMATS: dict[str, WriterMaker] = {
    **DETECTION_FORMATS,
    "tsv": lambda source, _: TsvWriter(source, ("score", "text")),
    "pdf": lambda _, dpi: PdfWriter(dpi),
}
"""Formats of lines that were read."""
FORMULA_FORMATS: dict[str, WriterMaker] = {
    name: DETECTION_FORMATS[name] for name in ("json", "txt")
}
"""Formats of formulas, whose LaTeX is their text."""
IMAGE_FORMATS: dict[str, WriterMaker] = {"png": lambda source, _: PngWriter(source)}
"""Formats of what was drawn anew."""
BINARY_FORMATS = ("pdf", "png")


def _encoded(text: str) -> bytes:
    # Names of files may hold bytes that are no characters.
    return text.encode("utf-8", "replace")


def unique_output_names(sources: Sequence[Path], out: Path, ending: str) -> dict[Path, str]:
    """Give each source the name, less its ending, under which its results lie in the folder `out`.

    That is its own, `scan` of `scan.png`; where two would be the same, or a result would replace a
    source, the later one is called `scan.png`, and if that is taken too, `scan.png-2` and so on.
    Names that differ in upper and lower case only count as the same.
    """
    folder = out.resolve()
    present = {file.name.casefold() for file in sources if file.resolve().parent == folder}
    taken = set(present)
    names = {}
    for source in sources:
        numbered = (f"{source.name}-{number}" for number in count(2))
        for name in chain((source.stem, source.name), numbered):
            result, pictures = f"{name}{ending}".casefold(), page_image_name(name, "").casefold()
            if result not in taken and not any(file.startswith(pictures) for file in present):
                break
        taken.add(result)
        names[source] = name
    return names


def page_image_name(name: str, ending: str) -> str:
    """Return the file name of a page's picture; `ending` begins with the page's number."""
    return f"{name}.page{ending}"


def write_whole(file: Path, content: bytes) -> None:
    """Write a file under another name and rename it when it is whole.

    Raises:
        OutputError: that failed; what was there before is as it was.
    """
    partial = file.with_name(f".{os.getpid()}.partial")
    try:
        partial.write_bytes(content)
        partial.replace(file)
    except BaseException as error:
        partial.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise OutputError(f"cannot write {file}: {error.strerror or error}") from error
        raise
