"""Running a predictor over all pages of the given files, with a progress bar and error reports."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Generator, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from pipelines.cli.log_printer import LogPrinter, printed_log
from pipelines.cli.page_workers import Load, count_workers, read_in_workers
from pipelines.cli.result_writer import ResultWriter, check_output
from pipelines.io.files import Failure, find_files, read_pages
from pipelines.page_reading import PagesReader, ReadPage, load_networks
from schemas.messages import escape_controls

if TYPE_CHECKING:
    from tqdm import tqdm

FAILED = 3
"""The exit code where a file or a page could not be read."""


def run_pages(options: argparse.Namespace, load: Load) -> int:
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
        with (
            printed_log(options.prog, verbose=options.verbose) as log,
            bar,
            closing(_read(load, options, files, log)) as outcomes,
        ):
            results = FileResults(writer, bar)
            for outcome in outcomes:
                results.add(outcome)
            results.finish()
        failures += results.failures
        missing_glyphs = writer.missing_glyphs()
    for failure in failures:
        print(escape_controls(f"{options.prog}: {failure.message}"), file=sys.stderr)
    if failures:
        print(f"{options.prog}: {len(failures)} could not be read, as listed", file=sys.stderr)
    if missing_glyphs:
        print(f"{options.prog}: {missing_glyphs}", file=sys.stderr)
    return FAILED if failures else 0


def _read(
    load: Load, options: argparse.Namespace, files: Sequence[Path], log: LogPrinter
) -> Generator[ReadPage | Failure, None, None]:
    """Read all pages, in this process or in several."""
    workers = count_workers(options, files)
    if workers > 1:
        return read_in_workers(load, options, files, workers, log)
    networks = load_networks(lambda: load(options))
    reader = PagesReader(networks, options.together, log, verbose=options.verbose)
    return reader.read(read_pages(files, options.dpi))


class FileResults:
    """Collects the pages of one file after another, and writes each result as soon as it can.

    Attributes:
        failures: the pages that failed so far.

    Args:
        writer: writes the results.
        bar: is advanced with each page; its total assumes one page per file that is not begun yet.
    """

    def __init__(self, writer: ResultWriter, bar: tqdm[NoReturn]) -> None:
        self._writer, self._bar = writer, bar
        self._file: Path | None = None
        self.failures: list[Failure] = []

    def add(self, outcome: ReadPage | Failure) -> None:
        """Add a page of the current or of the next file."""
        source = outcome.source if isinstance(outcome, Failure) else outcome.page.source
        if source != self._file:
            self.finish()
            self._file, self._result = source, self._writer.open(source)
            self._read, self._counted = 0, 1
            self._bar.set_description(source.name)
        if isinstance(outcome, Failure):
            self.failures.append(outcome)
            self._result.fail(outcome)
            self._bar.update()
            return
        page = outcome.page
        self._bar.total = (self._bar.total or 0) + page.count - self._counted
        self._counted = page.count
        self._result.add(page, outcome.items)
        self._writer.draw(page, outcome.items)
        self._read += 1
        self._bar.update()
        if page.number == page.count:
            self.finish()

    def finish(self) -> None:
        """Write the result of the current file, unless all its pages failed."""
        if self._file is not None and self._read:
            self._writer.write(self._file, self._result.content())
        self._file = None
