"""Running a predictor over all pages of the given files, with a progress bar and error reports."""

from __future__ import annotations

import argparse
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TypeVar

import cv2
import numpy as np

from architectures.loading import ArtefactError
from pipelines.cli.log_printer import LogPrinter, printed_log
from pipelines.cli.result_writer import ResultWriter, check_output
from pipelines.errors import SourceError, UsageError
from pipelines.io.files import Failure, Page, find_files, read_pages
from pipelines.io.images import ImageError
from pipelines.io.items import Item
from schemas.messages import escape_controls

if TYPE_CHECKING:
    from tqdm import tqdm

FAILED = 3
"""The exit code where a file or a page could not be read."""

Loaded = TypeVar("Loaded")

PageReader = Callable[[np.ndarray], Sequence[Item]]
"""Returns the items on a page, `(H, W, 3) uint8` BGR."""


def run_pages(options: argparse.Namespace, load: Callable[[], PageReader]) -> int:
    """Read all files, write their results, print what failed, and return the exit code.

    Args:
        options: the parsed options that `add_page_options` adds.
        load: loads the networks; called only if there is a file to read.

    Raises:
        UsageError: the options contradict each other, or the networks are of another kind.
        SourceError: weights are missing or unreadable.
        OutputError: a result cannot be written.
    """
    from tqdm import tqdm

    check_output(options)
    files, failures = find_files(options.paths)
    missing_glyphs = ""
    if files:
        writer = ResultWriter(options, files)
        bar = tqdm(total=len(files), unit="page", leave=False, disable=not sys.stderr.isatty())
        with printed_log(options.prog, verbose=options.verbose) as log, bar:
            runner = PageRunner(load_networks(load), writer, log, verbose=options.verbose)
            for file, pages in groupby(read_pages(files, options.dpi), key=_source):
                bar.set_description(file.name)
                failures += runner.run(file, _count(pages, bar))
        missing_glyphs = writer.missing_glyphs()
    for failure in failures:
        print(escape_controls(f"{options.prog}: {failure.message}"), file=sys.stderr)
    if failures:
        print(f"{options.prog}: {len(failures)} could not be read, as listed", file=sys.stderr)
    if missing_glyphs:
        print(f"{options.prog}: {missing_glyphs}", file=sys.stderr)
    return FAILED if failures else 0


def load_networks(load: Callable[[], Loaded]) -> Loaded:
    """Load the networks, and turn its exceptions into those with an exit code."""
    try:
        return load()
    except (ArtefactError, OSError) as error:
        raise SourceError(str(error)) from error
    except ValueError as error:
        raise UsageError(str(error)) from error


def _source(page: Page | Failure) -> Path:
    return page.source


def _count(pages: Iterator[Page | Failure], bar: tqdm[NoReturn]) -> Iterator[Page | Failure]:
    """Advance the bar with each page; its total assumes one page per file that is not yet open."""
    counted = 1
    for page in pages:
        if isinstance(page, Page):
            bar.total = (bar.total or 0) + page.count - counted
            counted = page.count
        yield page
        bar.update()


class PageRunner:
    """Runs a predictor over the pages of one file after another, and writes the results.

    Args:
        reader: the predictor.
        writer: writes the results.
        log: prints the warnings about a page.
        verbose: whether tracebacks of pages that fail are printed.
    """

    def __init__(
        self, reader: PageReader, writer: ResultWriter, log: LogPrinter, *, verbose: bool
    ) -> None:
        self._reader, self._writer, self._log = reader, writer, log
        self._verbose = verbose

    def run(self, file: Path, pages: Iterable[Page | Failure]) -> list[Failure]:
        """Process the pages of a file and write its result, unless all pages failed.

        Args:
            file: the file.
            pages: its pages, or why they could not be read.

        Returns:
            The pages that failed.
        """
        result = self._writer.open(file)
        failures, count = [], 0
        for page in pages:
            count += 1
            items = self._read(page) if isinstance(page, Page) else page
            if isinstance(items, Failure):
                failures.append(items)
                result.fail(items)
            elif isinstance(page, Page):
                result.add(page, items)
                self._writer.draw(page, items)
        if count > len(failures):
            self._writer.write(file, result.content())
        return failures

    def _read(self, page: Page) -> Sequence[Item] | Failure:
        """Run the predictor on a page."""
        name = f"{page.source}, page {page.number}" if page.count > 1 else str(page.source)
        self._log.page = name
        try:
            return self._reader(page.image)
        # PyTorch and OpenCV raise RuntimeError and cv2.error where memory runs out.
        except (ImageError, MemoryError, RuntimeError, cv2.error) as error:
            if self._verbose:
                traceback.print_exc()
            reason = str(error) or type(error).__name__
            return Failure(page.source, page.number, f"{name}: {reason}")
        except ValueError as error:
            raise UsageError(str(error)) from error
        finally:
            self._log.page = ""
