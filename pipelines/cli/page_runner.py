"""What the commands over pages have in common: files in, a result a file and pictures out."""

from __future__ import annotations

import argparse
import math
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np

from architectures.loading import ArtefactError
from pipelines.errors import OutputError, SourceError, UsageError
from pipelines.io.drawing import draw_detections, draw_recognition
from pipelines.io.exporters import (
    BINARY_FORMATS,
    FORM_FEED,
    Item,
    Writer,
    WriterMaker,
    page_image_name,
    unique_output_names,
    write_whole,
)
from pipelines.io.files import DPI, Failure, Page, find_files, read_pages
from pipelines.io.fonts import ADVICE, FontError, Typesetter
from pipelines.io.images import ImageError

EPILOG = """PATH is an image, a PDF, a folder (the images and PDFs directly in it), or a quoted
pattern such as 'scans/**/*.png'. What cannot be read is listed at the end; the rest is read.
exit codes: 0 all was read; 2 usage, or the output cannot be written; 3 weights, a page or a file
could not be read"""
FAILED = 3
PDF_MODULES = ("pypdfium2", "fontTools", "bidi")
JPEG_QUALITY = 90  # of the JPEG files that --visualize writes

Reader = Callable[[np.ndarray], Sequence[Item]]
"""Finds what is on a page, `(H, W, 3) uint8` BGR."""
T = TypeVar("T")


def parser_of(name: str, purpose: str) -> argparse.ArgumentParser:
    """Return a command's parser with PATH in it; the command's own options are added next."""
    parser = argparse.ArgumentParser(
        prog=f"python -m pipelines {name}",
        description=purpose,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(prog=name)
    parser.add_argument("paths", nargs="+", metavar="PATH", help="what to read")
    return parser


def add_page_options(
    parser: argparse.ArgumentParser,
    formats: Mapping[str, WriterMaker],
    *,
    texts: bool,
    default: str = "txt",
) -> None:
    """Add what is the same for all commands.

    Args:
        formats: what results can be written as.
        texts: whether what is found has a text, to be drawn with a font.
        default: the format that is meant where none is named.
    """
    parser.set_defaults(formats=formats, texts=texts)
    add = parser.add_argument
    add("--device", default="cpu", help="cpu (default), cuda, cuda:N or mps")
    add("--half", action="store_true", help="half precision, on cuda and mps")
    add("--compile", action="store_true", help="torch.compile: slow to start, then faster")
    add("--out", type=Path, metavar="DIR",
        help="folder for a file per input; without it the results are printed")  # fmt: skip
    searchable = "; pdf is searchable" if "pdf" in formats else ""
    add("--format", choices=formats, default=default, help=f"default: {default}{searchable}")
    add("--visualize", action="store_true",
        help="write a picture of each page with what was found")  # fmt: skip
    if texts:
        add("--font", type=Path, metavar="FILE", help="the font of these pictures")
    add("--dpi", type=positive(float), default=DPI, metavar="N",
        help=f"pixels per inch of PDF pages (default: {DPI})")  # fmt: skip
    add("-v", "--verbose", action="store_true", help="tracebacks of what fails")


def parser_of_network(
    name: str,
    purpose: str,
    weights: str,
    formats: Mapping[str, WriterMaker],
    *,
    texts: bool,
    scored: bool = False,
    default: str = "txt",
) -> argparse.ArgumentParser:
    """Return the parser of a command that runs one network.

    Args:
        name: the command.
        purpose: what it does.
        weights: what the network is.
        formats, texts, default: as in `add_page_options`.
        scored: whether what is found has a score, by which it may be left out.
    """
    parser = parser_of(name, purpose)
    add = parser.add_argument
    add("--weights", type=Path, required=True, metavar="X.pth", help=weights)
    if scored:
        add("--min-score", type=probability, default=0.0, metavar="X",
            help="leave out lines that score less, 0 to 1 (default: 0)")  # fmt: skip
    add_page_options(parser, formats, texts=texts, default=default)
    return parser


def positive(kind: type) -> Any:
    """Return the type of an option: a finite number above 0."""

    def value(text: str) -> Any:
        try:
            number = kind(text)
        except ValueError:
            number = 0
        if not 0 < number < math.inf:
            raise argparse.ArgumentTypeError(f"should be greater than 0, not {text}")
        return number

    return value


def probability(text: str) -> float:
    """Take an option for a number from 0 to 1."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 <= number <= 1:
        raise argparse.ArgumentTypeError(f"should be from 0 to 1, not {text}")
    return number


def load_networks(make: Callable[[], T]) -> T:
    """Call what loads the networks.

    Raises:
        UsageError: the device is not there, or the weights are not of the kind that they are given
            as.
        SourceError: weights are missing or unreadable.
    """
    try:
        return make()
    except (ArtefactError, OSError) as error:
        raise SourceError(str(error)) from error
    except ValueError as error:
        raise UsageError(str(error)) from error


def read_all(options: argparse.Namespace, load: Callable[[], Reader]) -> int:
    """Read everything, write the results, list what failed, and return the exit code.

    Args:
        options: what `add_page_options` has added to.
        load: loads the networks; called only if there is something to read.
    """
    from tqdm import tqdm

    _check(options)
    files, failures = find_files(options.paths)
    missing = ""
    if files:
        desk = PageRunner(options, files, load)
        bar = tqdm(total=len(files), unit="page", leave=False, disable=not sys.stderr.isatty())
        with bar:
            for file, pages in groupby(read_pages(files, options.dpi), key=_source):
                bar.set_description(file.name)
                failures += desk.read(file, _counted(pages, bar))
        missing = desk.missing_glyphs()
    for failure in failures:
        print(f"{options.prog}: {failure.message}", file=sys.stderr)
    if failures:
        print(f"{options.prog}: {len(failures)} could not be read, as listed", file=sys.stderr)
    if missing:
        print(f"{options.prog}: {missing}", file=sys.stderr)
    return FAILED if failures else 0


def _source(page: Page | Failure) -> Path:
    return page.source


def _check(options: argparse.Namespace) -> None:
    """Make the folder for the results; UsageError where options do not fit together."""
    if options.out is None:
        for option, given in ((f"--format {options.format}", options.format in BINARY_FORMATS),
                              ("--visualize", options.visualize)):  # fmt: skip
            if given:
                raise UsageError(f"{option} writes files; give the folder for them with --out DIR")
        return
    missing = [name for name in PDF_MODULES if options.format == "pdf" and not find_spec(name)]
    if missing:
        raise UsageError(
            f"--format pdf needs {', '.join(missing)}; pip install paddleocr-to-torch[pdf]"
        )
    try:
        options.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"--out {options.out} cannot be made: {error.strerror}") from error


def _counted(pages: Iterator[Page | Failure], bar: Any) -> Iterator[Page | Failure]:
    """Pass a file's pages on and move the bar, which expects a page a file until it knows more."""
    known = 1
    for page in pages:
        if isinstance(page, Page):
            bar.total += page.count - known
            known = page.count
        yield page
        bar.update()


class PageRunner:
    """Reads one file after another and writes what each says."""

    def __init__(
        self, options: argparse.Namespace, files: Sequence[Path], load: Callable[[], Reader]
    ) -> None:
        self._options = options
        self._typesetter = _typesetter(options)
        self._names: dict[Path, str] = {}
        if options.out:
            self._names = unique_output_names(files, options.out, f".{options.format}")
        self._reader = load()
        self._printed = False

    def read(self, file: Path, pages: Iterable[Page | Failure]) -> list[Failure]:
        """Read the pages of a file, write the result unless all failed, and return what failed."""
        writer = self._writer(file)
        failures, count = [], 0
        for page in pages:
            count += 1
            found = self._read(page) if isinstance(page, Page) else page
            if isinstance(found, Failure):
                failures.append(found)
                writer.fail(found)
            elif isinstance(page, Page):
                writer.add(page, found)
                self._draw(page, found)
        if count > len(failures):
            self._write(file, writer.content())
        return failures

    def missing_glyphs(self) -> str:
        """Say which characters no font could draw; empty where there are none."""
        missing = sorted(self._typesetter.missing) if self._typesetter else []
        if not missing:
            return ""
        some = "".join(missing[:10]) + (" ..." if len(missing) > 10 else "")
        return f"{len(missing)} characters are in no font that was found ({some}): {ADVICE}"

    def _writer(self, file: Path) -> Writer:
        make: WriterMaker = self._options.formats[self._options.format]
        return make(file, self._options.dpi)

    def _read(self, page: Page) -> Sequence[Item] | Failure:
        try:
            return self._reader(page.image)
        # RuntimeError and cv2.error are how PyTorch and OpenCV say that memory ran out.
        except (ImageError, MemoryError, RuntimeError, cv2.error) as error:
            if self._options.verbose:
                traceback.print_exc()
            number = f", page {page.number}" if page.count > 1 else ""
            reason = str(error) or type(error).__name__
            return Failure(page.source, page.number, f"{page.source}{number}: {reason}")
        except ValueError as error:
            raise UsageError(str(error)) from error

    def _draw(self, page: Page, found: Sequence[Item]) -> None:
        """Write the picture of a page, if it was asked for."""
        if self._options.visualize:
            picture = self._picture(page.image, found)
            quality = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
            _, content = cv2.imencode(".jpg", picture, quality)
            name = page_image_name(self._names[page.source], f"{page.number}.jpg")
            write_whole(self._options.out / name, content.tobytes())

    def _picture(self, image: np.ndarray, found: Sequence[Item]) -> np.ndarray:
        if self._typesetter:
            return draw_recognition(image, found, self._typesetter)
        return draw_detections(image, [place.box for place in found])

    def _write(self, file: Path, content: bytes) -> None:
        """Write a file's result into --out, or print it."""
        if self._options.out:
            name = f"{self._names[file]}.{self._options.format}"
            write_whole(self._options.out / name, content)
            return
        from tqdm import tqdm

        with tqdm.external_write_mode(sys.stdout):
            if self._options.format == "txt" and self._printed:
                content = FORM_FEED.encode() + content
            sys.stdout.buffer.write(content)
            sys.stdout.buffer.flush()
        self._printed = True


def _typesetter(options: argparse.Namespace) -> Typesetter | None:
    if not (options.visualize and options.texts):
        return None
    try:
        return Typesetter(options.font)
    except FontError as error:
        raise UsageError(f"--font: {error}") from error
