"""`python -m pipelines parse PATH...`: turn pages into Markdown, HTML, Word, Excel and JSON."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import cv2

from pipelines.batching import BATCH_SIZE
from pipelines.cli.log_printer import LogPrinter, printed_log
from pipelines.cli.options import (
    add_reading_options,
    add_runtime_options,
    page_parser,
    positive,
    runtime_options,
)
from pipelines.cli.page_runner import FAILED
from pipelines.cli.result_writer import JPEG_QUALITY, make_typesetter
from pipelines.documents.document import choose_networks, finish, parse_pages
from pipelines.documents.networks import load_networks as load_predictors
from pipelines.documents.parser import PageParser, ParsedPage
from pipelines.documents.roles import ROLES
from pipelines.documents.settings import PRESETS, TEXT_LAYER
from pipelines.documents.store import PageStore, key_of
from pipelines.documents.types import Document, Page
from pipelines.documents.writers.formats import FORMATS
from pipelines.documents.writers.picture import draw_page
from pipelines.errors import OutputError, UsageError
from pipelines.io.exporters import page_image_name, unique_output_names, write_whole
from pipelines.io.files import find_files, open_document
from pipelines.io.images import ImageError
from pipelines.page_reading import load_networks
from schemas.messages import escape_controls

if TYPE_CHECKING:
    from tqdm import tqdm


def build_parser() -> argparse.ArgumentParser:
    """Build the argument parser."""
    purpose = (
        "Turn pages into Markdown, HTML, Word, Excel and JSON: titles, paragraphs, tables, "
        "formulas and figures in reading order. A run that was interrupted goes on where "
        "it stopped."
    )
    parser = page_parser("parse", purpose)
    parser.usage = "%(prog)s PATH [PATH ...] --models DIR --out DIR [options]"  # else very long
    add = parser.add_argument
    add("--models", type=Path, metavar="DIR",
        help="folder of converted weights, of which the best for each role are taken")  # fmt: skip
    add("--out", type=Path, required=True, metavar="DIR", help="write the results into this folder")
    add("--format", type=_formats, default=("md",), metavar="F,F,...",
        help=f"of {', '.join(FORMATS)}, with commas between them (default: md)")  # fmt: skip
    add("--preset", choices=PRESETS, default="default",
        help="settings of PP-StructureV3 or PP-Structure 2 (default: those of the first, "
        "with all models that there are)")  # fmt: skip
    add("--text", choices=TEXT_LAYER, default="auto",
        help="take the text layer of PDFs where it is sound (auto, default), always, "
        "or never")  # fmt: skip
    add("--batch-size", type=positive(int), default=BATCH_SIZE, metavar="N",
        help=f"lines per call of a network (default: {BATCH_SIZE})")  # fmt: skip
    add_runtime_options(parser)
    add_reading_options(parser, texts=True)
    group = parser.add_argument_group("single networks", "They replace those in --models.")
    for name, role in ROLES.items():
        option = f"--{name.replace('_', '-')}"
        group.add_argument(option, dest=name, type=Path, metavar="X.pth", help=role.title)
    return parser


def _formats(text: str) -> tuple[str, ...]:
    """Convert an argument to names of formats."""
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",")))
    if unknown := [name for name in names if name not in FORMATS]:
        raise argparse.ArgumentTypeError(
            f"there is no format {unknown[0]!r}; there are {', '.join(FORMATS)}"
        )
    return names


def run(options: argparse.Namespace) -> int:
    """Parse all files, write their documents, and return the exit code."""
    from tqdm import tqdm

    _check(options)
    files, failures = find_files(options.paths)
    messages = [failure.message for failure in failures]
    if files:
        bar = tqdm(total=0, unit="page", leave=False, disable=not sys.stderr.isatty())
        with printed_log(options.prog, verbose=options.verbose) as log, bar:
            writer = _Writer(options, files, log, bar)
            for file in files:
                bar.set_description(file.name)
                messages += writer.parse(file)
    for message in messages:
        print(escape_controls(f"{options.prog}: {message}"), file=sys.stderr)
    if messages:
        print(f"{options.prog}: {len(messages)} could not be read, as listed", file=sys.stderr)
    return FAILED if messages else 0


def _check(options: argparse.Namespace) -> None:
    """Create the folder --out; raise UsageError where a package is missing."""
    for name in options.format:
        if missing := FORMATS[name].missing():
            raise UsageError(
                f"--format {name} needs {', '.join(missing)}; "
                f"pip install paddleocr-to-torch[{FORMATS[name].extra}]"
            )
    try:
        options.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"--out {options.out} cannot be created: {error.strerror}") from error


class _Writer:
    """Parses one file after another and writes its documents.

    Args:
        options: the parsed options.
        files: all files that are read, for the names of the results.
        log: prints the warnings about a page.
        bar: is advanced with each page.
    """

    def __init__(
        self,
        options: argparse.Namespace,
        files: Sequence[Path],
        log: LogPrinter,
        bar: tqdm[NoReturn],
    ) -> None:
        self._options, self._log, self._bar = options, log, bar
        self._settings = PRESETS[options.preset]
        single = {name: getattr(options, name) for name in ROLES}
        given = {name: path for name, path in single.items() if path is not None}
        self._typesetter = make_typesetter(options)
        self._sources = load_networks(
            lambda: choose_networks(options.models, given, self._settings)
        )
        predictors = load_networks(
            lambda: load_predictors(
                self._sources,
                self._settings,
                batch_size=options.batch_size,
                **runtime_options(options),
            )
        )
        self._parser = PageParser(predictors, self._settings)
        self._names = unique_output_names(files, options.out, f".{options.format[0]}")

    def parse(self, file: Path) -> list[str]:
        """Parse a file, write its documents, and return why pages could not be parsed."""
        name, out, options = self._names[file], self._options.out, self._options
        images = out / f"{name}_images"
        key = key_of(
            file, options.preset, options.text, options.dpi, options.half, *self._sources.values()
        )
        store = PageStore(out / f".{name}.pages", images, key)
        try:
            with open_document(file, options.dpi) as document:
                self._bar.total = (self._bar.total or 0) + document.count
                pages = []
                for parsed in parse_pages(
                    self._parser,
                    document,
                    file.name,
                    text=options.text,
                    folder=images,
                    stored=store.load,
                ):
                    pages.append(self._keep(parsed, store, name))
                    self._bar.update()
        except ImageError as error:
            store.discard()
            return [str(error)]
        except ValueError as error:
            raise UsageError(str(error)) from error
        made = Document(tuple(finish(pages, self._settings)))
        failures = [f"{file}, page {page.number}: {page.error}" for page in made.failures]
        if len(failures) < len(pages):
            for ending in options.format:
                content = FORMATS[ending].write(made, name, images.name)
                write_whole(out / f"{name}.{ending}", content)
        if not {"md", "json"} & {*options.format}:  # the others hold their figures
            shutil.rmtree(images, ignore_errors=True)
        store.discard()
        return failures

    def _keep(self, parsed: ParsedPage | Page, store: PageStore, name: str) -> Page:
        """Store a page that was parsed now, and draw it with --visualize."""
        if isinstance(parsed, Page):
            return parsed
        if self._options.visualize and self._typesetter:
            quality = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
            _, content = cv2.imencode(".jpg", draw_page(parsed, self._typesetter), quality)
            drawing = self._options.out / page_image_name(name, f"{parsed.page.number}.jpg")
            write_whole(drawing, content.tobytes())
        store.save(parsed.page)
        return parsed.page
