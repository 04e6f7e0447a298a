"""Writers of the output formats, names of the output files, and atomic writing."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from itertools import chain, count
from pathlib import Path
from typing import Any, Protocol, cast

import cv2
import numpy as np

from pipelines.errors import OutputError
from pipelines.io.files import Failure, Page
from pipelines.io.items import Item, PageImage, TextItem

JSON_FORMAT = 1
TSV_COLUMNS = ("page", "line", "left", "top", "width", "height")
# A text must not end its cell or its row.
TSV_ESCAPES = str.maketrans({"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r"})
FORM_FEED = "\f"


class Writer(Protocol):
    """Builds the result of one file; pages are added in their order."""

    def add(self, page: Page, items: Sequence[Item]) -> None:
        """Add a page with its items, in reading order."""

    def fail(self, failure: Failure) -> None:
        """Add a page that could not be read."""

    def content(self) -> bytes:
        """Return the content of the output file."""


class JsonWriter:
    """Writes JSON: `{"format": 1, "source": name, "pages": [...]}`.

    A page has its number `page`, from 1, `width` and `height` in pixels, and `lines` in reading
    order, or `regions`; a page that could not be read has `page` and `error`. A line has `text` and
    `score`, 0 to 1, if it was read, a region `label` and `score`; `box`, its corners as `[x, y]` in
    pixels, clockwise from the top left; and `words`, a list of the same, if they were located. An
    entity has also `number` and `question`, the number of the question that it answers, or null.

    Args:
        source: the file that was read.
        name: the name of the list of items.
    """

    def __init__(self, source: Path, name: str = "lines") -> None:
        self._source, self._name = source, name
        self._pages: list[dict[str, Any]] = []

    def add(self, page: Page, items: Sequence[Item]) -> None:
        """Add a page with its items, in reading order."""
        height, width = page.image.shape[:2]
        entries = [self._describe(item) for item in items]
        size = {"width": width, "height": height}
        self._pages.append({"page": page.number, **size, self._name: entries})

    def _describe(self, item: Item) -> dict[str, Any]:
        """Return an item as JSON."""
        return _line_to_json(item)

    def fail(self, failure: Failure) -> None:
        """Add a page that could not be read."""
        self._pages.append({"page": failure.number, "error": failure.message})

    def content(self) -> bytes:
        """Return the content of the output file."""
        document = {"format": JSON_FORMAT, "source": str(self._source), "pages": self._pages}
        return _encode(json.dumps(document, ensure_ascii=False, indent=1, allow_nan=False) + "\n")


def _line_to_json(line: Item) -> dict[str, Any]:
    words = getattr(line, "words", ())
    json_words = {"words": [_item_to_json(word) for word in words]} if words else {}
    return {**_item_to_json(line), **json_words}


def _item_to_json(item: Item) -> dict[str, Any]:
    box = [[round(x, 2), round(y, 2)] for x, y in item.box.tolist()]
    text = {name: getattr(item, name) for name in ("label", "text") if hasattr(item, name)}
    if hasattr(item, "question"):
        text = {"number": getattr(item, "number", 0), **text, "question": item.question or None}
    score = {"score": round(float(item.score), 5)} if hasattr(item, "score") else {}
    return {**text, **score, "box": box}


class TxtWriter:
    """Writes one text, or the label and the corners `x,y,x,y,...`, per row.

    There is a form feed between pages.
    """

    def __init__(self, source: Path) -> None:  # noqa: ARG002
        self._pages: list[str] = []

    def add(self, page: Page, items: Sequence[Item]) -> None:  # noqa: ARG002
        """Add a page with its items, in reading order."""
        self._pages.append("".join(_to_row(item) + "\n" for item in items))

    def fail(self, failure: Failure) -> None:  # noqa: ARG002
        """Add an empty page."""
        self._pages.append("")

    def content(self) -> bytes:
        """Return the content of the output file."""
        return _encode(FORM_FEED.join(self._pages))


def _to_row(item: Item) -> str:
    if not hasattr(item, "text"):
        corners = ",".join(f"{value:g}" for value in item.box.ravel().tolist())
        return f"{item.label} {corners}" if hasattr(item, "label") else corners
    # Line ends and form feeds within a text would be mistaken for separators.
    return " ".join(cast("TextItem", item).text.splitlines())


class TsvWriter:
    r"""Writes a table with one row per line; tabs, line ends and backslashes as `\t \n \r \\`.

    `left`, `top`, `width` and `height` are those of the upright rectangle around the line's box, in
    whole pixels.

    Args:
        source: the file that was read.
        values: the attributes of the lines in further columns, such as `score`.
    """

    def __init__(self, source: Path, values: Sequence[str] = ()) -> None:  # noqa: ARG002
        self._rows = ["\t".join([*TSV_COLUMNS, *values])]
        self._values = values

    def add(self, page: Page, items: Sequence[Item]) -> None:
        """Add a page with its items, in reading order."""
        for number, item in enumerate(items, 1):
            left, top = np.floor(item.box.min(0)).astype(int).tolist()
            right, bottom = np.ceil(item.box.max(0)).astype(int).tolist()
            cells = (page.number, number, left, top, right - left, bottom - top)
            values = [_cell(getattr(item, name)) for name in self._values]
            self._rows.append("\t".join([*map(str, cells), *values]))

    def fail(self, failure: Failure) -> None:
        """Leave out the page."""

    def content(self) -> bytes:
        """Return the content of the output file."""
        return _encode("\n".join(self._rows) + "\n")


def _cell(value: str | float) -> str:
    if isinstance(value, int):
        return str(value)
    return value.translate(TSV_ESCAPES) if isinstance(value, str) else f"{value:.4f}"


class PdfWriter:
    """Writes a searchable PDF; see `searchable_pdf.py`.

    Args:
        dpi: resolution of the pages in pixels per inch.
    """

    def __init__(self, dpi: float) -> None:
        from pipelines.io.searchable_pdf import SearchablePdf

        self._pdf = SearchablePdf(dpi)

    def add(self, page: Page, items: Sequence[Item]) -> None:
        """Add a page with its text lines."""
        self._pdf.add(page.image, cast("Sequence[TextItem]", items))

    def fail(self, failure: Failure) -> None:
        """Leave out the page."""

    def content(self) -> bytes:
        """Return the content of the output file."""
        return self._pdf.content()


class PngWriter:
    """Writes the images of all pages below each other; white fills up the narrower ones."""

    def __init__(self, source: Path) -> None:  # noqa: ARG002
        self._images: list[np.ndarray] = []

    def add(self, page: Page, items: Sequence[Item]) -> None:  # noqa: ARG002
        """Add the images of a page."""
        self._images += [cast("PageImage", item).image for item in items]

    def fail(self, failure: Failure) -> None:
        """Leave out the page."""

    def content(self) -> bytes:
        """Return the content of the output file."""
        width = max(image.shape[1] for image in self._images)
        pages = [
            np.pad(image, ((0, 0), (0, width - image.shape[1]), (0, 0)), constant_values=255)
            for image in self._images
        ]
        content: bytes = cv2.imencode(".png", np.vstack(pages))[1].tobytes()
        return content


WriterMaker = Callable[[Path, float], Writer]
"""Makes a writer for a source file, with the resolution of its pages in pixels per inch."""

DETECTION_FORMATS: dict[str, WriterMaker] = {
    "json": lambda source, _: JsonWriter(source),
    "txt": lambda source, _: TxtWriter(source),
    "tsv": lambda source, _: TsvWriter(source),
}
"""Formats of detected lines."""
TEXT_FORMATS: dict[str, WriterMaker] = {
    **DETECTION_FORMATS,
    "tsv": lambda source, _: TsvWriter(source, ("score", "text")),
    "pdf": lambda _, dpi: PdfWriter(dpi),
}
"""Formats of recognised lines."""
FORMULA_FORMATS: dict[str, WriterMaker] = {
    name: DETECTION_FORMATS[name] for name in ("json", "txt")
}
"""Formats of formulas."""
IMAGE_FORMATS: dict[str, WriterMaker] = {"png": lambda source, _: PngWriter(source)}
"""Formats of super-resolved images and flattened pages."""
REGION_FORMATS: dict[str, WriterMaker] = {
    "json": lambda source, _: JsonWriter(source, "regions"),
    "txt": lambda source, _: TxtWriter(source),
    "tsv": lambda source, _: TsvWriter(source, ("label", "score")),
}
"""Formats of regions."""
ENTITY_FORMATS: dict[str, WriterMaker] = {
    "json": lambda source, _: JsonWriter(source, "entities"),
    "txt": lambda source, _: TxtWriter(source),
    "tsv": lambda source, _: TsvWriter(source, ("label", "score", "question", "text")),
}
"""Formats of entities."""
BINARY_FORMATS = ("pdf", "png", "xlsx")


def _encode(text: str) -> bytes:
    # File names may contain bytes that are not valid UTF-8.
    return text.encode("utf-8", "replace")


def unique_output_names(sources: Sequence[Path], out: Path, ending: str) -> dict[Path, str]:
    """Choose a unique output name, without its ending, for each source.

    The name of `scan.png` is `scan`; where it is taken, or the output would replace a source, it is
    `scan.png`, then `scan.png-2` and so on. Names that differ in case only count as equal.

    Args:
        sources: the files that are read.
        out: the output folder.
        ending: the ending of the output files, such as `.json`.
    """
    folder = out.resolve()
    present = {file.name.casefold() for file in sources if file.resolve().parent == folder}
    taken = set(present)
    names = {}
    for source in sources:
        numbered = (f"{source.name}-{number}" for number in count(2))
        for name in chain((source.stem, source.name), numbered):
            result, drawings = f"{name}{ending}".casefold(), page_image_name(name, "").casefold()
            if result not in taken and not any(file.startswith(drawings) for file in present):
                break
        taken.add(result)
        names[source] = name
    return names


def page_image_name(name: str, ending: str) -> str:
    """Return the file name of a page's drawing; `ending` starts with the number of the page."""
    return f"{name}.page{ending}"


def write_whole(file: Path, content: bytes) -> None:
    """Write a file atomically: under another name, then renamed.

    Args:
        file: the path of the file.
        content: its content.

    Raises:
        OutputError: the file cannot be written; an existing file is unchanged.
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
