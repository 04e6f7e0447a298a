"""`python -m pipelines parse PATH...`: turn pages into Markdown, HTML, Word, Excel and JSON."""

from __future__ import annotations

import argparse
import shutil
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from pipelines.batching import BATCH_SIZE
from pipelines.cli.log_printer import printed_log
from pipelines.cli.options import (
    add_reading_options,
    add_roles,
    add_runtime_options,
    add_workers,
    given_roles,
    page_parser,
    positive,
)
from pipelines.cli.page_runner import FAILED
from pipelines.cli.parsed_pages import FilePage, Run, parse_files
from pipelines.documents.document import choose_networks, finish
from pipelines.documents.settings import PRESETS, TEXT_LAYER
from pipelines.documents.types import Document, Page
from pipelines.documents.writers.formats import FORMATS
from pipelines.errors import OutputError, UsageError
from pipelines.io.exporters import unique_output_names, write_whole
from pipelines.io.files import Failure, find_files
from pipelines.page_reading import load_networks
from schemas.messages import escape_controls

if TYPE_CHECKING:
    from tqdm import tqdm

MEMORY_PER_WORKER = 3_000_000_000
"""The memory of a process, in bytes, with which the default number of processes reckons."""


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
    add_workers(parser, memory=MEMORY_PER_WORKER)
    add_reading_options(parser, texts=True)
    add_roles(parser)
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
            settings = PRESETS[options.preset]
            sources = load_networks(
                lambda: choose_networks(options.models, given_roles(options), settings)
            )
            names = unique_output_names(files, options.out, f".{options.format[0]}")
            parsing = Run(options, sources, names)
            documents = _Documents(parsing, bar)
            with closing(parse_files(parsing, files, log)) as outcomes:
                for outcome in outcomes:
                    documents.add(outcome)
            documents.finish()
        messages += documents.messages
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


class _Documents:
    """Collects the pages of one file after another, and writes its documents.

    Attributes:
        messages: why files and pages could not be parsed.

    Args:
        run: what to know of the run.
        bar: is advanced with each page.
    """

    def __init__(self, run: Run, bar: tqdm[NoReturn]) -> None:
        self._run, self._bar = run, bar
        self._file: Path | None = None
        self._pages: list[Page] = []
        self.messages: list[str] = []

    def add(self, outcome: FilePage | Failure) -> None:
        """Add a page of the current or of the next file."""
        if isinstance(outcome, Failure) and outcome.number is None:
            self.messages.append(outcome.message)
            return
        source = outcome.source if isinstance(outcome, Failure) else outcome.ref.source
        if source != self._file:
            self.finish()
            self._file = source
            self._bar.set_description(source.name)
        if isinstance(outcome, Failure):
            self._pages.append(Page(source.name, outcome.number or 0, error=outcome.message))
        else:
            if not self._pages:
                self._bar.total = (self._bar.total or 0) + outcome.ref.count
            self._pages.append(outcome.page)
        self._bar.update()

    def finish(self) -> None:
        """Write the documents of the current file, unless all its pages failed."""
        if self._file is None:
            return
        file, pages, options = self._file, self._pages, self._run.options
        made = Document(tuple(finish(pages, PRESETS[options.preset])))
        self.messages += [_reason(file, page) for page in made.failures]
        name, images = self._run.names[file], self._run.images(file)
        if len(made.failures) < len(pages):
            for ending in options.format:
                content = FORMATS[ending].write(made, name, images.name)
                write_whole(options.out / f"{name}.{ending}", content)
        if not {"md", "json"} & {*options.format}:  # the others hold their figures
            shutil.rmtree(images, ignore_errors=True)
        self._run.store(file).discard()
        self._file, self._pages = None, []


def _reason(file: Path, page: Page) -> str:
    """Return why a page could not be parsed, with its name."""
    error = str(page.error)
    return error if error.startswith(str(file)) else f"{file}, page {page.number}: {error}"
