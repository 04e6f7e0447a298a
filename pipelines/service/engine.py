"""The pages of the requests that wait: read by one thread, some of them together."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from pipelines.io.files import DPI, Document
from pipelines.service.limits import FAILED, Limits, RequestError
from pipelines.service.uploads import opened

logger = logging.getLogger(__name__)

OPEN = 4
"""How many files are open at the same time; their pages take turns."""

Result = TypeVar("Result")


@dataclass(frozen=True)
class OpenPage:
    """A page to read.

    Attributes:
        document: its open file.
        number: of the page, from 1.
    """

    document: Document
    number: int


class Reading(Protocol[Result]):
    """What is done with pages.

    Attributes:
        together: how many pages are read at the same time.
        delay: how many seconds the first of them waits for others.
    """

    together: int
    delay: float

    def read(self, pages: Sequence[OpenPage]) -> Sequence[Result]:
        """Return the result of each page; one that cannot be read has a result too."""

    def answer(self, results: Sequence[Result], ending: str) -> bytes:
        """Return the answer to a request.

        Args:
            results: of all pages of the file.
            ending: of the format that was asked for.

        Raises:
            RequestError: no page could be read.
        """


@dataclass(eq=False)
class Job(Generic[Result]):
    """A request.

    Attributes:
        content: the file.
        ending: of the format that was asked for.
        deadline: when nobody waits for the answer any more, by `time.monotonic`.
        future: gets the answer.
    """

    content: bytes
    ending: str
    deadline: float
    future: Future[bytes] = field(default_factory=Future)

    @property
    def is_over(self) -> bool:
        """Whether nobody waits for the answer."""
        return self.future.cancelled() or time.monotonic() > self.deadline


@dataclass(eq=False)
class _OpenJob(Generic[Result]):
    """A request whose file is open.

    Attributes:
        job: the request.
        document: its file.
        stack: closes the file.
        following: the number of the next page to read, from 1.
        results: of the pages that were read.
    """

    job: Job[Result]
    document: Document
    stack: ExitStack
    following: int = 1
    results: list[Result] = field(default_factory=list)


class Engine(Generic[Result]):
    """Reads the pages of requests in a thread of its own.

    The pages of several requests take turns, so that a long file does not hold up the others.

    Args:
        reading: what is done with the pages.
        limits: on the files.
        computes: is held while networks compute; engines that share the cores share it.
        dpi: resolution of PDF pages, in pixels per inch.
        observe: called with the number of pages that were read together.
    """

    def __init__(
        self,
        reading: Reading[Result],
        limits: Limits,
        computes: threading.Lock,
        dpi: float = DPI,
        observe: Callable[[int], object] = lambda pages: None,  # noqa: ARG005
    ) -> None:
        self._reading, self._limits, self._dpi = reading, limits, dpi
        self._computes, self._observe = computes, observe
        self._waiting: queue.SimpleQueue[Job[Result] | None] = queue.SimpleQueue()
        self._open: deque[_OpenJob[Result]] = deque()
        self._is_closing = False
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """Whether requests are read."""
        return self._thread.is_alive()

    def submit(self, job: Job[Result]) -> Future[bytes]:
        """Take a request, and return the future of its answer, which may be cancelled."""
        self._waiting.put(job)
        return job.future

    def close(self) -> None:
        """Finish all requests that were taken, and stop the thread."""
        self._waiting.put(None)
        self._thread.join()

    def _run(self) -> None:
        while batch := self._next_pages():
            self._observe(len(batch))
            try:
                with self._computes:
                    results = self._reading.read([page for _, page in batch])
                for (opened_job, _), result in zip(batch, results, strict=True):
                    opened_job.results.append(result)
            except Exception:  # such as a network that is not what its task says
                logger.exception("a page could not be read")
                for opened_job, _ in batch:
                    self._fail(opened_job, RequestError(500, FAILED))
                continue
            for opened_job in {id(each): each for each, _ in batch}.values():
                if len(opened_job.results) == opened_job.document.count:
                    self._finish(opened_job)

    def _next_pages(self) -> list[tuple[_OpenJob[Result], OpenPage]]:
        """Return pages to read together; none at the end."""
        batch: list[tuple[_OpenJob[Result], OpenPage]] = []
        until = None
        while len(batch) < self._reading.together:
            opened_job = self._next_job(until)
            if opened_job is None:
                break
            until = until or time.monotonic() + self._reading.delay
            batch.append((opened_job, OpenPage(opened_job.document, opened_job.following)))
            opened_job.following += 1
            if opened_job.following <= opened_job.document.count:
                self._open.append(opened_job)
        return batch

    def _next_job(self, until: float | None) -> _OpenJob[Result] | None:
        """Return the request whose page is the next; None after `until`, or at the end."""
        while True:
            while len(self._open) < OPEN and not self._waiting.empty():
                self._take(0)
            while self._open:
                opened_job = self._open.popleft()
                if not opened_job.job.is_over:
                    return opened_job
                self._fail(opened_job, RequestError(504, "nobody waits for the answer"))
            if self._is_closing or (until is not None and time.monotonic() >= until):
                return None
            self._take(None if until is None else max(0.0, until - time.monotonic()))

    def _take(self, seconds: float | None) -> None:
        """Wait for a request, and open its file."""
        try:
            job = self._waiting.get(timeout=seconds)
        except queue.Empty:
            return
        if job is None:
            self._is_closing = True
            return
        if job.is_over:
            return
        stack = ExitStack()
        try:
            document = stack.enter_context(opened(job.content, self._limits, self._dpi))
        except RequestError as error:
            _answer(job, error)
        except Exception:
            logger.exception("a file could not be opened")
            _answer(job, RequestError(500, FAILED))
        else:
            self._open.append(_OpenJob(job, document, stack))

    def _finish(self, opened_job: _OpenJob[Result]) -> None:
        """Answer a request of which all pages were read."""
        opened_job.stack.close()
        try:
            answer = self._reading.answer(opened_job.results, opened_job.job.ending)
        except RequestError as error:
            _answer(opened_job.job, error)
        except Exception:
            logger.exception("an answer could not be written")
            _answer(opened_job.job, RequestError(500, FAILED))
        else:
            _answer(opened_job.job, answer)

    def _fail(self, opened_job: _OpenJob[Result], error: RequestError) -> None:
        """Answer a request with an error, and read no more of it."""
        if opened_job in self._open:
            self._open.remove(opened_job)
        opened_job.stack.close()
        _answer(opened_job.job, error)


def _answer(job: Job[Result], answer: bytes | RequestError) -> None:
    """Answer a request, if it is still waiting."""
    if job.future.done() or not job.future.set_running_or_notify_cancel():
        return
    if isinstance(answer, RequestError):
        job.future.set_exception(answer)
    else:
        job.future.set_result(answer)
