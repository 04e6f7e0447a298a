"""What a process of a corpus run does: look into sources, and read pages."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path

import numpy as np

from pipelines.corpus.rows import Row, row_of
from pipelines.corpus.sources import Source, opened
from pipelines.corpus.store import Key, Store
from pipelines.errors import CommandError, UsageError
from pipelines.io.files import Failure, Page, open_document
from pipelines.io.images import PAGE_ERRORS, ImageError, reason_of
from pipelines.page_reading import (
    LogCollector,
    ManyReader,
    OneByOne,
    PageReader,
    ReadPage,
    collected_log,
    load_networks,
)

Load = Callable[[argparse.Namespace], "PageReader | ManyReader"]
"""A function of a module that loads the networks that the options name."""


SOURCE = "{source}"
"""Stands for the name of the source in a kept error: other sources may have the same content."""


@dataclass(frozen=True)
class Examined:
    """What is known of a source before its pages are read.

    Attributes:
        sha256: the hash of its content; empty if it could not be read.
        pages: the number of its pages; 0 if it could not be opened.
        error: why it could not be opened.
    """

    sha256: str
    pages: int
    error: str | None = None


@dataclass(frozen=True)
class PageTask:
    """A page to read.

    Attributes:
        source: its source.
        sha256: the hash of the source.
        number: the number of the page, from 1.
        pages: the number of pages of the source.
    """

    source: Source
    sha256: str
    number: int
    pages: int

    @property
    def key(self) -> Key:
        """What names the page by its content."""
        return self.sha256, self.number


@dataclass(frozen=True)
class ReadAnswer:
    """What became of pages.

    Attributes:
        kept: the pages that are in the store.
        failed: why others could not be read, which may be different the next time.
        error: what stops the run.
    """

    kept: tuple[Key, ...] = ()
    failed: Mapping[Key, str] = field(default_factory=dict)
    error: CommandError | None = None


@contextmanager
def examining(dpi: float) -> Iterator[Callable[[Sequence[Source]], dict[Source, Examined]]]:
    """Set up a process that looks into sources."""

    def examine(sources: Sequence[Source]) -> dict[Source, Examined]:
        return {source: _examine(source, dpi) for source in sources}

    yield examine


def _examine(source: Source, dpi: float) -> Examined:
    sha256 = ""
    try:
        with opened(source) as (path, sha256):
            try:
                with open_document(path, dpi) as document:
                    return Examined(sha256, document.count)
            except ImageError as error:
                return Examined(sha256, 0, str(error).replace(str(path), source.name))
    except ImageError as error:
        return Examined(sha256, 0, str(error))


@contextmanager
def reading(
    load: Load, options: argparse.Namespace, store: Store
) -> Iterator[Callable[[Sequence[PageTask]], ReadAnswer]]:
    """Set up a process that reads pages and keeps them in the store.

    Args:
        load: loads the networks.
        options: the options of the command.
        store: the folder of the run.
    """
    with collected_log(verbose=False) as log:
        yield _task_reader(load, options, store, log)


def _task_reader(
    load: Load, options: argparse.Namespace, store: Store, log: LogCollector
) -> Callable[[Sequence[PageTask]], ReadAnswer]:
    """Load the networks, and return the function that reads pages, or says why it cannot."""
    error: CommandError | None = None
    try:
        reader = load_networks(lambda: load(options))
    except CommandError as failed:
        error = failed

    def read(tasks: Sequence[PageTask]) -> ReadAnswer:
        if error is not None:
            return ReadAnswer(error=error)
        pages = _Pages(reader, log, options.dpi)
        try:
            for _, group in groupby(tasks, key=lambda task: task.source):
                pages.read(list(group))
            if pages.rows:
                store.add(pages.rows)
        except CommandError as failed:
            return ReadAnswer(error=failed)
        return ReadAnswer(tuple((row["sha256"], row["page"]) for row in pages.rows), pages.failed)

    return read


class _Pages:
    """Reads the pages of sources.

    Attributes:
        rows: the pages that were read, or can never be.
        failed: why others could not be read this time.

    Args:
        reader: reads pages.
        log: collects the warnings about them.
        dpi: resolution of PDF pages, in pixels per inch.
    """

    def __init__(self, reader: PageReader | ManyReader, log: LogCollector, dpi: float) -> None:
        self._reader = reader if isinstance(reader, ManyReader) else OneByOne(reader)
        self._log, self._dpi = log, dpi
        self.rows: list[Row] = []
        self.failed: dict[Key, str] = {}

    def read(self, tasks: list[PageTask]) -> None:
        """Read pages of one source."""
        source, sha256 = tasks[0].source, tasks[0].sha256
        try:
            with opened(source) as (path, found):
                if found != sha256:
                    raise ImageError(f"{source.name}: was changed during the run")
                with open_document(path, self._dpi) as document:
                    while tasks:
                        try:
                            self._read(tasks[0], document.read(tasks[0].number))
                        except ImageError as error:
                            self._fail(tasks[0], str(error).replace(str(path), SOURCE))
                        del tasks[0]
        except ImageError as error:  # such as a file that was removed, or a server that is down
            self.failed |= {task.key: str(error) for task in tasks}

    def _read(self, task: PageTask, image: np.ndarray) -> None:
        page = Page(Path(task.source.name), task.number, task.pages, image)
        try:
            (outcome,) = self._reader.outcomes([image])
        except PAGE_ERRORS:
            raise
        except ValueError as error:
            raise UsageError(str(error)) from error
        messages = self._log.take()
        name = f", page {task.number}" if task.pages > 1 else ""
        if isinstance(outcome, ImageError):
            raise ImageError(f"{SOURCE}{name}: {outcome}") from outcome
        if isinstance(outcome, Exception):
            reason = reason_of(outcome)
            self.failed[task.key] = f"{task.source.name}{name}: {reason}"
        else:
            without_pixels = replace(page, image=image[..., :0])
            read = ReadPage(without_pixels, outcome)
            self.rows.append(row_of(task.sha256, task.pages, read, messages))

    def _fail(self, task: PageTask, reason: str) -> None:
        failure = Failure(Path(task.source.name), task.number, reason)
        self.rows.append(row_of(task.sha256, task.pages, failure))
