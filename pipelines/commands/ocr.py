"""`python -m pipelines ocr PATH...`: read the text of images and PDFs."""

from __future__ import annotations

import argparse
import math
import sys
import traceback
from collections.abc import Iterable, Iterator, Sequence
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path
from typing import Any

import cv2

from architectures.loading import ArtefactError
from pipelines.drawing import draw_reading
from pipelines.errors import OutputError, SourceError, UsageError
from pipelines.fonts import ADVICE, FontError, Typesetter
from pipelines.images import ImageError
from pipelines.ocr import OCR, TextLine
from pipelines.pages import DPI, Failure, Page, find_files, read_pages
from pipelines.results import (
    FORM_FEED,
    FORMATS,
    Writer,
    allot_names,
    picture_name,
    write_whole,
)

EPILOG = """PATH is an image, a PDF, a folder (the images and PDFs directly in it), or a quoted
pattern such as 'scans/**/*.png'. What cannot be read is listed at the end; the rest is read.
exit codes: 0 all was read; 2 usage, or the output cannot be written; 3 weights, a page or a file
could not be read"""
FAILED = 3
PDF_MODULES = ("pypdfium2", "fontTools", "bidi")
PICTURE_QUALITY = 90  # of the JPEG files that --visualize writes


def parser() -> argparse.ArgumentParser:
    """Return what the command takes."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines ocr",
        description="Read the text of images and PDFs.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(prog="ocr")
    add = parser.add_argument
    add("paths", nargs="+", metavar="PATH", help="what to read")
    add("--det", type=Path, required=True, metavar="X.pth", help="the detector of lines")
    add("--rec", type=Path, required=True, metavar="Y.pth", help="the recogniser")
    add("--cls", type=Path, metavar="Z.pth", help="the classifier of upside-down lines")
    add("--doc", type=Path, metavar="W.pth", help="the classifier of turned pages")
    add("--device", default="cpu", help="cpu (default), cuda, cuda:N or mps")
    add("--half", action="store_true", help="half precision, on cuda and mps")
    add("--compile", action="store_true", help="torch.compile: slow to start, then faster")
    add("--batch", type=_positive(int), metavar="N", help="lines read at once (default: 6)")
    add("--words", action="store_true", help="find the words of each line too, for json")
    add("--out", type=Path, metavar="DIR",
        help="folder for a file per input; without it the text is printed")  # fmt: skip
    add("--format", choices=FORMATS, default="txt", help="default: txt; pdf is searchable")
    add("--visualize", action="store_true",
        help="write a picture of each page beside what was read")  # fmt: skip
    add("--font", type=Path, metavar="FILE", help="the font of these pictures")
    add("--dpi", type=_positive(float), default=DPI, metavar="N",
        help=f"pixels per inch of PDF pages (default: {DPI})")  # fmt: skip
    add("--min-score", type=_probability, default=0.5, metavar="X",
        help="leave out lines that score less, 0 to 1 (default: 0.5)")  # fmt: skip
    add("-v", "--verbose", action="store_true", help="tracebacks of what fails")
    return parser


def _positive(kind: type) -> Any:
    def value(text: str) -> Any:
        try:
            number = kind(text)
        except ValueError:
            number = 0
        if not 0 < number < math.inf:
            raise argparse.ArgumentTypeError(f"should be greater than 0, not {text}")
        return number

    return value


def _probability(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 <= number <= 1:
        raise argparse.ArgumentTypeError(f"should be from 0 to 1, not {text}")
    return number


def run(options: argparse.Namespace) -> int:
    """Read everything, write the results, list what failed, and return the exit code."""
    from tqdm import tqdm

    _check(options)
    files, failures = find_files(options.paths)
    missing = ""
    if files:
        reader = Reader(options, files)
        bar = tqdm(total=len(files), unit="page", leave=False, disable=not sys.stderr.isatty())
        with bar:
            for file, pages in groupby(read_pages(files, options.dpi), key=_source):
                bar.set_description(file.name)
                failures += reader.read(file, _counted(pages, bar))
        missing = reader.missing_glyphs()
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
        for option, given in (("--format pdf", options.format == "pdf"),
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


class Reader:
    """Reads one file after another and writes what each says."""

    def __init__(self, options: argparse.Namespace, files: Sequence[Path]) -> None:
        self._options = options
        self._typesetter = _typesetter(options)
        self._names: dict[Path, str] = {}
        if options.out:
            self._names = allot_names(files, options.out, f".{options.format}")
        self._ocr = _load(options)
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
        return FORMATS[self._options.format](file, self._options.dpi)

    def _read(self, page: Page) -> list[TextLine] | Failure:
        try:
            return self._ocr(page.image)
        # RuntimeError and cv2.error are how PyTorch and OpenCV say that memory ran out.
        except (ImageError, MemoryError, RuntimeError, cv2.error) as error:
            if self._options.verbose:
                traceback.print_exc()
            number = f", page {page.number}" if page.count > 1 else ""
            reason = str(error) or type(error).__name__
            return Failure(page.source, page.number, f"{page.source}{number}: {reason}")
        except ValueError as error:
            raise UsageError(str(error)) from error

    def _draw(self, page: Page, lines: Sequence[TextLine]) -> None:
        """Write the picture of a page, if it was asked for."""
        if self._typesetter:
            picture = draw_reading(page.image, lines, self._typesetter)
            quality = [cv2.IMWRITE_JPEG_QUALITY, PICTURE_QUALITY]
            _, content = cv2.imencode(".jpg", picture, quality)
            name = picture_name(self._names[page.source], f"{page.number}.jpg")
            write_whole(self._options.out / name, content.tobytes())

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
    if not options.visualize:
        return None
    try:
        return Typesetter(options.font)
    except FontError as error:
        raise UsageError(f"--font: {error}") from error


def _load(options: argparse.Namespace) -> OCR:
    """Load the networks.

    Raises:
        UsageError: the device is not there, or the weights are not of the kind that they are given
            as.
        SourceError: weights are missing or unreadable.
    """
    chosen = {} if options.batch is None else {"batch": options.batch}
    try:
        return OCR(
            options.det,
            options.rec,
            options.cls,
            options.doc,
            min_score=options.min_score,
            device=options.device,
            half=options.half,
            compile=options.compile,
            word_boxes=options.words,
            **chosen,
        )
    except (ArtefactError, OSError) as error:
        raise SourceError(str(error)) from error
    except ValueError as error:
        raise UsageError(str(error)) from error
