"""Writing of results: a file per input into --out, or to standard output; drawings of the pages."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, cast

import cv2
import numpy as np

from pipelines.errors import OutputError, UsageError
from pipelines.io.drawing import draw_detections, draw_entities, draw_recognition, draw_regions
from pipelines.io.exporters import (
    BINARY_FORMATS,
    FORM_FEED,
    Writer,
    WriterMaker,
    page_image_name,
    unique_output_names,
    write_whole,
)
from pipelines.io.files import Page
from pipelines.io.fonts import ADVICE, FontError, Typesetter
from pipelines.io.items import Item, LabelledItem, PageTable, TextItem

if TYPE_CHECKING:
    from pipelines.kie.predictor import Entity

NEEDED_MODULES = {
    "pdf": ("pdf", ("pypdfium2", "fontTools", "bidi")),
    "xlsx": ("excel", ("openpyxl",)),
}
"""The extra of each format that needs one, and its modules."""
JPEG_QUALITY = 90
"""Quality of the drawings, 0 to 100."""
SHOWN_CHARACTERS = 10


def check_output(options: argparse.Namespace) -> None:
    """Create the folder --out.

    Raises:
        UsageError: the output options contradict each other, or a package is missing.
        OutputError: the folder cannot be created.
    """
    if options.out is None:
        if options.format in BINARY_FORMATS:
            _require_out(f"--format {options.format}")
        if options.visualize:
            _require_out("--visualize")
        return
    extra, modules = NEEDED_MODULES.get(options.format, ("", ()))
    if missing := [name for name in modules if not find_spec(name)]:
        raise UsageError(
            f"--format {options.format} needs {', '.join(missing)}; "
            f"pip install paddleocr-to-torch[{extra}]"
        )
    try:
        options.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"--out {options.out} cannot be created: {error.strerror}") from error


def _require_out(option: str) -> None:
    raise UsageError(f"{option} writes files; give the folder for them with --out DIR")


class ResultWriter:
    """Writes the results of each file, in the format and to the place that the options name.

    Args:
        options: the parsed options that `add_page_options` adds.
        files: all files that are read, for the names of the results.

    Raises:
        UsageError: --font is not a font.
    """

    def __init__(self, options: argparse.Namespace, files: Sequence[Path]) -> None:
        self._options = options
        self._typesetter = make_typesetter(options)
        self._names: dict[Path, str] = {}
        if options.out:
            self._names = unique_output_names(files, options.out, f".{options.format}")
        self._has_printed = False

    def open(self, file: Path) -> Writer:
        """Return a new writer in the chosen format for the results of a file."""
        make_writer: WriterMaker = self._options.formats[self._options.format]
        return make_writer(file, self._options.dpi)

    def write(self, file: Path, content: bytes) -> None:
        """Write a file's result into --out, or print it.

        Raises:
            OutputError: the file cannot be written.
        """
        if self._options.out:
            name = f"{self._names[file]}.{self._options.format}"
            write_whole(self._options.out / name, content)
            return
        from tqdm import tqdm

        with tqdm.external_write_mode(sys.stdout):
            if self._options.format == "txt" and self._has_printed:
                content = FORM_FEED.encode() + content
            sys.stdout.buffer.write(content)
            sys.stdout.buffer.flush()
        self._has_printed = True

    def draw(self, page: Page, items: Sequence[Item]) -> None:
        """With --visualize, draw the items on their page and write the drawing.

        Raises:
            OutputError: the file cannot be written.
        """
        if not self._options.visualize:
            return
        quality = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
        _, content = cv2.imencode(".jpg", self._drawing(page.image, items), quality)
        name = page_image_name(self._names[page.source], f"{page.number}.jpg")
        write_whole(self._options.out / name, content.tobytes())

    def _drawing(self, image: np.ndarray, items: Sequence[Item]) -> np.ndarray:
        tables = [item for item in items if isinstance(item, PageTable)]
        items = [cell for table in tables for cell in table.cells] if tables else items
        if self._typesetter:
            return draw_recognition(image, cast("Sequence[TextItem]", items), self._typesetter)
        if entities := [item for item in items if hasattr(item, "question")]:
            return draw_entities(image, cast("Sequence[Entity]", entities))
        if regions := [item for item in items if hasattr(item, "label")]:
            return draw_regions(image, cast("Sequence[LabelledItem]", regions))
        return draw_detections(image, [item.box for item in items])

    def missing_glyphs(self) -> str:
        """Return a message about the characters that no font can draw; empty if there are none."""
        missing = sorted(self._typesetter.missing) if self._typesetter else []
        if not missing:
            return ""
        more = " ..." if len(missing) > SHOWN_CHARACTERS else ""
        shown = "".join(missing[:SHOWN_CHARACTERS]) + more
        return f"{len(missing)} characters are in no font that was found ({shown}): {ADVICE}"


def make_typesetter(options: argparse.Namespace) -> Typesetter | None:
    """Return what sets the texts of the drawings, if there are any."""
    if not (options.visualize and options.texts):
        return None
    try:
        return Typesetter(options.font)
    except FontError as error:
        raise UsageError(f"--font: {error}") from error
