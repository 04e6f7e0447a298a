"""Worker processes that compute one task after another, and are replaced if they die.

Processes are started by `spawn`: a fork would share the threads and locks of the frameworks. This
module needs the standard library alone.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from types import FrameType, TracebackType
from typing import Any, Generic, TypeVar

from cores.memory import share_weights
from cores.threads import THREADS

Task = TypeVar("Task")
Result = TypeVar("Result")

Prepare = Callable[..., "AbstractContextManager[Callable[[Task], Result]]"]
"""A function of a module that sets a process up, and gives the function that computes a task."""

STOP_TIMEOUT = 10
"""Seconds that a process has to stop before it is killed."""


class WorkerDied(Exception):
    """The process that computed a task has ended; the message says how."""


@dataclass(frozen=True)
class Outcome(Generic[Task, Result]):
    """What became of a task.

    Attributes:
        task: the task.
        result: its result; None if the process died.
        error: how the process ended, if it died.
        seconds: the time from when the task was handed out.
    """

    task: Task
    result: Result | None
    error: WorkerDied | None
    seconds: float


class Worker(Generic[Task, Result]):
    """A process that computes one task after another.

    Args:
        threads: the number of threads of each library in the process.
        prepare: sets the process up.
        arguments: the arguments of `prepare`; they are sent to the process.
    """

    def __init__(
        self, threads: int, prepare: Prepare[Task, Result], arguments: Sequence[Any]
    ) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process: BaseProcess = context.Process(
            target=_serve, args=(theirs, prepare, tuple(arguments)), daemon=True
        )
        self.task: Task | None = None
        self._start = 0.0
        with environment(dict.fromkeys(THREADS, str(threads))):
            self.process.start()
        theirs.close()

    def submit(self, task: Task) -> None:
        """Send a task to the process."""
        self.task, self._start = task, time.perf_counter()
        with suppress(BrokenPipeError, ConnectionResetError):  # it died, which `receive` reports
            self.connection.send(task)

    def receive(self) -> Outcome[Task, Result]:
        """Wait for what becomes of the task; stop the process if it died."""
        assert self.task is not None
        task, result, error = self.task, None, None
        try:
            result = self.connection.recv()
        except (EOFError, ConnectionResetError):
            self.process.join(STOP_TIMEOUT)
            code = self.process.exitcode
            how = f"by signal {signal.Signals(-code).name}" if code and code < 0 else f"with {code}"
            error = WorkerDied(f"ended {how}")
            self.stop()
        self.task = None
        return Outcome(task, result, error, time.perf_counter() - self._start)

    def stop(self) -> None:
        """Stop the process, even during a task."""
        self.connection.close()
        if self.task is not None:
            self.process.terminate()
        self.process.join(STOP_TIMEOUT)
        self.process.kill()
        self.process.join()


class Pool(Generic[Task, Result]):
    """A number of worker processes, each started when there is a task for it.

    Args:
        size: the number of processes.
        threads: the number of threads of each library in a process.
        prepare: sets a process up.
        arguments: the arguments of `prepare`.
    """

    def __init__(
        self, size: int, threads: int, prepare: Prepare[Task, Result], *arguments: Any
    ) -> None:
        self._size = size
        self._start = (threads, prepare, arguments)
        self._busy: dict[Any, Worker[Task, Result]] = {}  # by connection
        self._idle: list[Worker[Task, Result]] = []

    @property
    def tasks(self) -> list[Task]:
        """The tasks that are being computed."""
        return [worker.task for worker in self._busy.values() if worker.task is not None]

    @property
    def is_full(self) -> bool:
        """Whether every process has a task."""
        return len(self._busy) == self._size

    def submit(self, task: Task) -> None:
        """Hand a task to a process; the pool must not be full."""
        assert not self.is_full
        worker = self._idle.pop() if self._idle else Worker(*self._start)
        self._busy[worker.connection] = worker
        worker.submit(task)

    def wait(self) -> list[Outcome[Task, Result]]:
        """Wait until a task is done, and return what became of those that are."""
        outcomes = []
        for connection in wait(list(self._busy)):
            worker = self._busy[connection]
            outcomes.append(worker.receive())
            del self._busy[connection]
            if outcomes[-1].error is None:
                self._idle.append(worker)
        return outcomes

    def stop_idle(self) -> None:
        """Stop the processes without a task."""
        while self._idle:
            self._idle.pop().stop()

    def close(self) -> None:
        """Stop all processes, even those with a task."""
        self.stop_idle()
        for worker in self._busy.values():
            worker.stop()
        self._busy.clear()

    def __enter__(self) -> Pool[Task, Result]:
        """Return the pool, which is closed at the end of the context."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _serve(connection: Connection, prepare: Prepare[Any, Any], arguments: Sequence[Any]) -> None:
    """Compute the tasks from a connection until it is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal signals all; the parent decides
    signal.signal(signal.SIGTERM, _raise_interrupt)  # so that partly written files are removed
    share_weights()
    with suppress(KeyboardInterrupt, EOFError, BrokenPipeError), prepare(*arguments) as compute:
        while True:
            connection.send(compute(connection.recv()))


def _raise_interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


@contextmanager
def environment(values: dict[str, str]) -> Iterator[None]:
    """Set environment variables for the processes that are started in this context."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
