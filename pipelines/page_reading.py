"""Reading the pages of a command with its networks: the items of each, or why it failed."""

from __future__ import annotations

import logging
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, islice
from typing import Protocol, TypeVar, runtime_checkable

import numpy as np

from pipelines.errors import SourceError, UsageError
from pipelines.io.files import Failure, Page, PageRef
from pipelines.io.images import PAGE_ERRORS, reason_of
from pipelines.io.items import Item

Loaded = TypeVar("Loaded")

PageReader = Callable[[np.ndarray], Sequence[Item]]
"""Returns the items on a page, `(H, W, 3) uint8` BGR."""


@runtime_checkable
class ManyReader(Protocol):
    """Reads pages together, such as `OCR`."""

    def outcomes(self, images: Iterable[np.ndarray]) -> Iterator[Sequence[Item] | Exception]:
        """Yield for each image its items, or one of `PAGE_ERRORS`."""


@dataclass(frozen=True, eq=False)
class ReadPage:
    """A page and what was found on it.

    Attributes:
        page: the page.
        items: the items, in reading order.
    """

    page: Page
    items: Sequence[Item]


class PageLog(Protocol):
    """What prints or collects the messages about pages.

    Attributes:
        page: the name of the page that is being read; empty between pages.
    """

    page: str


@dataclass(frozen=True)
class Message:
    """A log message about a page."""

    page: str
    logger: str
    level: int
    text: str


class LogCollector(logging.Handler):
    """Collects log messages, for the process that prints them.

    Attributes:
        page: the page that is being read.
        messages: the messages.
    """

    def __init__(self) -> None:
        super().__init__()
        self.page = ""
        self.messages: list[Message] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a message."""
        text = record.getMessage()
        self.messages.append(Message(self.page, record.name, record.levelno, text))

    def take(self) -> tuple[Message, ...]:
        """Return the messages and forget them."""
        messages = tuple(self.messages)
        self.messages.clear()
        return messages


@contextmanager
def collected_log(*, verbose: bool) -> Iterator[LogCollector]:
    """Collect the log messages of the package in this process.

    Args:
        verbose: whether to collect more than warnings.
    """
    collector = LogCollector()
    logger = logging.getLogger("pipelines")
    before = logger.level
    logger.addHandler(collector)
    logger.setLevel(logging.DEBUG if verbose else logging.WARNING)
    try:
        yield collector
    finally:
        logger.removeHandler(collector)
        logger.setLevel(before)


class OneByOne:
    """Reads pages one by one.

    Args:
        reader: returns the items on a page.
    """

    def __init__(self, reader: PageReader) -> None:
        self._reader = reader

    def outcomes(self, images: Iterable[np.ndarray]) -> Iterator[Sequence[Item] | Exception]:
        """Yield for each image its items, or why it could not be read."""
        for image in images:
            try:
                yield self._reader(image)
            except PAGE_ERRORS as error:
                yield error


class PagesReader:
    """Reads pages, as many together as a command says.

    Args:
        reader: reads one page, or several together.
        together: how many pages are handed to it at once.
        log: called with the page that is being read.
        verbose: whether tracebacks of pages that fail are printed.
    """

    def __init__(
        self, reader: PageReader | ManyReader, together: int, log: PageLog, *, verbose: bool
    ) -> None:
        self._reader = reader if isinstance(reader, ManyReader) else OneByOne(reader)
        self._together, self._log, self._verbose = together, log, verbose

    def read(self, pages: Iterable[Page | Failure]) -> Generator[ReadPage | Failure, None, None]:
        """Read pages.

        Args:
            pages: the pages, or why they could not be opened.

        Yields:
            For each page its items, or its failure, in their order.

        Raises:
            UsageError: the networks are of another kind than they should be.
        """
        rest = iter(pages)
        for first in rest:
            yield from self._read_together(chain([first], islice(rest, self._together - 1)))

    def _read_together(self, pages: Iterable[Page | Failure]) -> Iterator[ReadPage | Failure]:
        begun: deque[Page | Failure] = deque()

        def images() -> Iterator[np.ndarray]:
            for page in pages:
                begun.append(page)
                if isinstance(page, Page):
                    self._log.page = name_of(page)
                    yield page.image

        try:
            for outcome in self._reader.outcomes(images()):
                while isinstance(page := begun.popleft(), Failure):
                    yield page
                yield self._result(page, outcome)
        except ValueError as error:
            raise UsageError(str(error)) from error
        finally:
            self._log.page = ""
        for page in begun:
            assert isinstance(page, Failure)
            yield page

    def _result(self, page: Page, outcome: Sequence[Item] | Exception) -> ReadPage | Failure:
        if not isinstance(outcome, Exception):
            return ReadPage(page, outcome)
        if self._verbose:
            traceback.print_exception(outcome)
        reason = reason_of(outcome)
        return Failure(page.source, page.number, f"{name_of(page)}: {reason}")


def name_of(page: Page | PageRef) -> str:
    """Return the name of a page for messages."""
    return f"{page.source}, page {page.number}" if page.count > 1 else str(page.source)


def load_networks(load: Callable[[], Loaded]) -> Loaded:
    """Load the networks, and turn its exceptions into those with an exit code."""
    try:
        return load()
    except OSError as error:
        raise SourceError(str(error)) from error
    except ValueError as error:
        from architectures.loading import ArtefactError  # which imports PyTorch

        kind = SourceError if isinstance(error, ArtefactError) else UsageError
        raise kind(str(error)) from error
