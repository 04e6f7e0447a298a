"""The pages of `parse`, in this process or in several: each is stored as soon as it is parsed.

A page that an interrupted run has stored is not parsed again.
"""

from __future__ import annotations

import argparse
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2

from pipelines.cli.log_printer import LogPrinter
from pipelines.cli.options import runtime_options
from pipelines.cli.page_workers import Entry, Read, count_workers, in_workers
from pipelines.cli.result_writer import JPEG_QUALITY, make_typesetter
from pipelines.documents.document import parse_page
from pipelines.documents.networks import load_networks as load_predictors
from pipelines.documents.parser import PageParser, ParsedPage
from pipelines.documents.settings import PRESETS
from pipelines.documents.store import PageStore, key_of
from pipelines.documents.types import Page
from pipelines.documents.writers.picture import draw_page
from pipelines.errors import UsageError
from pipelines.io.exporters import page_image_name, write_whole
from pipelines.io.files import Document, Failure, PageRef, find_pages, visit_found
from pipelines.page_reading import PageLog, load_networks, name_of
from pipelines.runtime import NetworkSource


@dataclass(frozen=True)
class Run:
    """What a process needs to know of the run.

    Attributes:
        options: the parsed options.
        sources: the network of each role that has one.
        names: the name of the results of each file.
    """

    options: argparse.Namespace
    sources: Mapping[str, NetworkSource]
    names: Mapping[Path, str]

    def images(self, file: Path) -> Path:
        """Return the folder of the figures of a file."""
        return self.options.out / f"{self.names[file]}_images"

    def store(self, file: Path) -> PageStore:
        """Return what keeps the pages of a file; it discards those of other settings."""
        options = self.options
        key = key_of(
            file, options.preset, options.text, options.dpi, options.half, *self.sources.values()
        )
        return PageStore(options.out / f".{self.names[file]}.pages", self.images(file), key)


@dataclass(frozen=True)
class FilePage:
    """A parsed page.

    Attributes:
        ref: its place in its file.
        page: the page.
    """

    ref: PageRef
    page: Page


def parse_files(
    run: Run, files: Sequence[Path], log: LogPrinter
) -> Generator[FilePage | Failure, None, None]:
    """Parse all pages of files, and yield them in order.

    Args:
        run: what to know of the run.
        files: the files.
        log: prints the log messages about the pages.

    Raises:
        CommandError: the networks cannot be loaded or are of another kind; a page cannot be stored.
    """
    options = run.options
    workers = count_workers(options, files)
    if workers > 1:
        load = partial(_load_reader, run)
        entries = _prepared(run, files)
        yield from in_workers(load, entries, workers, log, verbose=options.verbose)
    else:
        yield from _Parser(run, log).read(_prepared(run, files))


def _load_reader(run: Run, log: PageLog) -> Read[FilePage]:
    """Load the networks, and return the function that parses pages with them."""
    return _Parser(run, log).read


def _prepared(run: Run, files: Sequence[Path]) -> Iterator[Entry]:
    """Yield the pages of files; before several processes store pages, those of others are gone."""
    for entry in find_pages(files, run.options.dpi):
        if isinstance(entry, PageRef) and entry.number == 1:
            run.store(entry.source)
        yield entry


class _Parser:
    """Parses pages that are not stored yet, stores and draws them.

    Args:
        run: what to know of the run.
        log: is told the page that is being parsed.
    """

    def __init__(self, run: Run, log: PageLog) -> None:
        self._run, self._log = run, log
        options, settings = run.options, PRESETS[run.options.preset]
        self._typesetter = make_typesetter(options)
        predictors = load_networks(
            lambda: load_predictors(
                run.sources, settings, batch_size=options.batch_size, **runtime_options(options)
            )
        )
        self._parser = PageParser(predictors, settings)

    def read(self, entries: Iterable[Entry]) -> Iterator[FilePage | Failure]:
        """Yield each page, or why its file could not be opened."""
        return visit_found(entries, self._run.options.dpi, self._parse)

    def _parse(self, document: Document, ref: PageRef) -> FilePage:
        store = self._run.store(ref.source)
        page: ParsedPage | Page | None = store.load(ref.number)
        if page is None:
            self._log.page = name_of(ref)
            page = self._parse_anew(document, ref)
            self._log.page = ""
        if isinstance(page, ParsedPage):
            self._draw(page, ref)
            page = page.page
            store.save(page)
        return FilePage(ref, page)

    def _parse_anew(self, document: Document, ref: PageRef) -> ParsedPage | Page:
        try:
            return parse_page(
                self._parser,
                document,
                ref.source.name,
                ref.number,
                text=self._run.options.text,
                folder=self._run.images(ref.source),
            )
        except ValueError as error:  # a network is of another kind than it should be
            raise UsageError(str(error)) from error

    def _draw(self, parsed: ParsedPage, ref: PageRef) -> None:
        """Draw a page with --visualize."""
        if self._typesetter is None:
            return
        quality = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
        _, content = cv2.imencode(".jpg", draw_page(parsed, self._typesetter), quality)
        name = page_image_name(self._run.names[ref.source], f"{ref.number}.jpg")
        write_whole(self._run.options.out / name, content.tobytes())
