"""Groups of processes that read pages side by side, and how many pages a second they read.

A group is handed all pages of a turn at once. What counts is the time from when all of its
processes read until the first of them has nothing left, with the share of the pages that falls into
it, so that a turn of few pages says as much as a long one.
"""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from http.client import HTTPConnection
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Protocol

from load_test import free_port

from benchmarks.pipeline import Child
from benchmarks.reading import Job, Timed, in_worker
from converter.errors import UsageError
from cores.threads import PRIMITIVES, SLEEPING
from cores.workers import Pool, environment

SCRIPTS = Path(__file__).parents[1]
START_SECONDS = 60
"""Seconds that the service has to start."""
ENVIRONMENT = {**SLEEPING, "ONEDNN_PRIMITIVE_CACHE_CAPACITY": str(PRIMITIVES)}
"""What the command lines of this project set before PyTorch is imported."""


class Missing(Exception):
    """A reader cannot be measured here; the message says why, and what to install."""


@dataclass(frozen=True)
class Turn:
    """What became of the pages that a group was handed at once.

    Attributes:
        pages: every page.
        since: when all processes were reading; None for the start of the first page.
    """

    pages: Sequence[Timed]
    since: float | None = None


@dataclass(frozen=True)
class Rate:
    """How fast a group read.

    Attributes:
        pages: how many it was handed.
        pages_per_second: while all of its processes read.
        lines_per_second: likewise.
    """

    pages: int
    pages_per_second: float
    lines_per_second: float


def rate(turn: Turn) -> Rate:
    """Return how fast a group read while all of its processes did.

    Raises:
        Missing: there was no such time.
    """
    since = min(start for _, start, _, _ in turn.pages) if turn.since is None else turn.since
    last: dict[int, float] = {}
    for process, _, end, _ in turn.pages:
        last[process] = max(end, last.get(process, end))
    until = min(last.values())
    shares = [
        max(0.0, min(end, until) - max(start, since)) / (end - start)
        for _, start, end, _ in turn.pages
    ]
    lines = [share * page[3] for share, page in zip(shares, turn.pages, strict=True)]
    seconds = until - since
    if seconds <= 0:
        raise Missing(
            "a process had read all of its pages before another one began; give more --minutes"
        )
    return Rate(len(turn.pages), sum(shares) / seconds, sum(lines) / seconds)


class Group(Protocol):
    """Processes that read pages.

    Attributes:
        size: how many pages are read at the same time.
        starts_anew: whether every turn has new processes, which no other turn makes faster.
    """

    size: int
    starts_anew: bool

    def read(self, paths: Sequence[str]) -> Turn:
        """Read the pages at some paths, in any order."""

    def close(self) -> None:
        """End the processes."""


class _Threads:
    """Reads pages by threads of this process, each of which waits for a process or a server."""

    starts_anew = False

    def __init__(self, size: int) -> None:
        self.size = size

    def read(self, paths: Sequence[str]) -> Turn:
        """Read the pages at some paths, in any order.

        Raises:
            UsageError: a page could not be read.
        """
        waiting, done = SimpleQueue[str](), SimpleQueue[Timed | Exception]()
        for path in paths:
            waiting.put(path)

        def work(number: int) -> None:
            try:
                while True:
                    path = waiting.get_nowait()
                    start = time.perf_counter()
                    lines = self._read(number, path)
                    done.put((number, start, time.perf_counter(), lines))
            except Empty:
                pass
            except Exception as error:  # it is raised by the thread that waits
                done.put(error)

        threads = [threading.Thread(target=work, args=(n,)) for n in range(self.size)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        pages = []
        while not done.empty():
            item = done.get()
            if isinstance(item, Exception):
                raise item
            pages.append(item)
        return Turn(pages)

    def _read(self, number: int, path: str) -> int:
        raise NotImplementedError


class Processes(_Threads):
    """Processes of one of `benchmarks.reading.READERS`."""

    def __init__(self, name: str, job: Job, size: int) -> None:
        super().__init__(size)
        self._stack = ExitStack()
        self._children = [
            self._stack.enter_context(Child(name, job, "benchmarks.reading")) for _ in range(size)
        ]
        try:
            for child in self._children:
                if missing := child.receive().get("missing"):
                    raise Missing(missing)
        except BaseException:
            self.close()
            raise

    def _read(self, number: int, path: str) -> int:
        self._children[number].send({"path": path})
        return int(self._children[number].receive()["lines"])

    def close(self) -> None:
        """End the processes."""
        self._stack.close()


class Service(_Threads):
    """This project's service, with as many clients as there are cores.

    It reads one page after the other, so that all pages of a turn count as those of one process.
    """

    def __init__(self, folder: str, threads: int, clients: int) -> None:
        super().__init__(clients)
        for name in ("fastapi", "uvicorn", "prometheus_client"):
            if importlib.util.find_spec(name) is None:
                raise Missing(f"there is no {name}; pip install .[serve]")
        port = free_port()
        command = [sys.executable, "-m", "pipelines", "serve", "--models", folder]
        self._process = subprocess.Popen(
            [*command, "--port", str(port)],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace",
            env={**os.environ, "OMP_NUM_THREADS": str(threads)},
        )  # fmt: skip
        self._clients = [HTTPConnection("127.0.0.1", port, timeout=300) for _ in range(clients)]
        try:
            self._wait_until_up()
        except BaseException:
            self.close()
            raise

    def read(self, paths: Sequence[str]) -> Turn:
        """Read the pages at some paths, in any order."""
        return Turn([(0, *page[1:]) for page in super().read(paths).pages])

    def _wait_until_up(self) -> None:
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end and self._process.poll() is None:
            try:
                self._clients[0].request("GET", "/health")
                response = self._clients[0].getresponse()
                response.read()
                if response.status == 200:
                    return
            except OSError:
                self._clients[0].close()
            time.sleep(0.2)
        code = self._process.poll()
        self._process.kill()
        said = self._process.communicate()[1].strip().splitlines() or ["nothing"]
        what = f"did not start within {START_SECONDS} s" if code is None else f"ended with {code}"
        raise UsageError(f"the service {what}: {said[-1]}")

    def _read(self, number: int, path: str) -> int:
        client = self._clients[number]
        client.close()  # which the service has done too, if it waited for its turn
        client.request("POST", "/ocr", Path(path).read_bytes(), {"Content-Type": "image/png"})
        response = client.getresponse()
        answer = json.loads(response.read())
        if response.status != 200:
            raise UsageError(f"the service answered {response.status}: {answer}")
        return sum(len(page["lines"]) for page in answer["pages"])

    def close(self) -> None:
        """End the service."""
        for client in self._clients:
            client.close()
        self._process.kill()
        self._process.communicate()


class Workers:
    """The processes of `--workers`, of one thread each."""

    starts_anew = False

    def __init__(self, job: Job, size: int) -> None:
        self.size = size
        self._pool: Pool[str, Timed] = Pool(size, 1, in_worker, replace(job, threads=1))

    def read(self, paths: Sequence[str]) -> Turn:
        """Read the pages at some paths, in any order.

        Raises:
            UsageError: a process died.
        """
        rest, pages = iter(paths), list[Timed]()
        while True:
            with environment(ENVIRONMENT):
                while not self._pool.is_full and (path := next(rest, None)) is not None:
                    self._pool.submit(path)
            if not self._pool.tasks:
                return Turn(pages)
            for outcome in self._pool.wait():
                if outcome.result is None:
                    raise UsageError(f"a worker {outcome.error}")
                pages.append(outcome.result)

    def close(self) -> None:
        """End the processes."""
        self._pool.close()


class Ray:
    """Actors of Ray Data on this machine, anew in each turn; their first pages do not count."""

    starts_anew = True

    def __init__(self, job: Job, size: int, first: Sequence[str]) -> None:
        if importlib.util.find_spec("ray") is None:
            raise Missing("it is not installed; pip install .[ray]")
        self.size = size
        self._job, self._first = replace(job, threads=1), list(first)

    def read(self, paths: Sequence[str]) -> Turn:
        """Read the pages at some paths, in any order."""
        from pipelines.corpus.engines import RayEngine

        logging.disable(logging.INFO)
        python_path = os.pathsep.join([str(SCRIPTS), *filter(None, sys.path)])
        engine = RayEngine(None, self.size, environment={**ENVIRONMENT, "PYTHONPATH": python_path})
        tasks = [path for path in self._first for _ in range(self.size)]
        pages = sorted(engine.map(in_worker, (self._job,), [*tasks, *paths]), key=lambda p: p[2])
        ends: dict[int, list[float]] = {}
        for process, _, end, _ in pages:
            ends.setdefault(process, []).append(end)
        if len(ends) < self.size or min(map(len, ends.values())) <= len(self._first):
            raise Missing("an actor was not up before the others had read all pages")
        since = max(times[len(self._first) - 1] for times in ends.values())
        return Turn([page for page in pages if page[2] > since], since)

    def close(self) -> None:
        """End Ray on this machine."""
        import ray

        ray.shutdown()


class Competitor:
    """A process that computes without end, while it is used as a context."""

    def __enter__(self) -> Competitor:
        self._process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
