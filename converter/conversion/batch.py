"""Convert many models in worker processes, which import each framework once.

A worker imports PyTorch and runs Paddle in a child process. It receives one request after the other
and returns a result for each. If a worker dies, its model has failed, and another worker is started
in its place. This process imports neither framework.
"""

from __future__ import annotations

import gc
import json
import multiprocessing
import os
import signal
import time
import traceback
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import FrameType
from typing import Any

from converter.catalog import cards as catalog
from converter.conversion.fingerprint import ROOT, fingerprint, source_files, up_to_date
from converter.conversion.request import Request
from converter.conversion.result import ModelResult
from converter.conversion.steps import run
from converter.errors import ConverterError, ParityError, PlanError
from converter.references.paddle.session import SharedSession
from cores.threads import THREADS, available_cores
from schemas.artefact_files import discard_partial

CRASHED = 1  # exit code if the worker was killed, or for an error that is no ConverterError
_TWO_SOURCES = (
    "\nThe weights came from a checkpoint, the reference from an export in another folder. If they "
    "are not of one training, convert only one of them (--map NAME=PATH)."
)
_STOP_TIMEOUT = 10  # seconds that a worker has to stop before it is killed


def convert_all(
    requests: Sequence[Request], jobs: int = 1, *, force: bool = False
) -> Generator[ModelResult, None, None]:
    """Convert every model and yield the results in the order in which they finish.

    If the generator is closed early, as by an interruption, the workers are stopped and partly
    written files are removed.

    Args:
        requests: the conversions, each with its own `out`.
        jobs: number of worker processes.
        force: convert models that are up to date again.
    """
    waiting = deque(sorted(requests, key=_source_size, reverse=True))  # start with the largest
    workers: dict[Any, _Worker] = {}  # by connection

    def assign_next(worker: _Worker | None) -> None:
        if waiting:
            worker = worker or _Worker(threads_per_worker(jobs), force)
            workers[worker.connection] = worker
            worker.submit(waiting.popleft())
        elif worker is not None:
            worker.stop()

    try:
        for _ in range(jobs):
            assign_next(None)
        while workers:
            for connection in wait(list(workers)):
                worker = workers[connection]
                result = worker.receive()
                del workers[worker.connection]
                assign_next(worker if worker.process.is_alive() else None)
                yield result
    finally:
        for worker in workers.values():
            worker.stop()


def threads_per_worker(jobs: int) -> int:
    """Return the number of threads of each of a worker's two processes.

    That is OMP_NUM_THREADS, or a share of the cores, of which PyTorch and Paddle each get half.

    Args:
        jobs: the number of workers.
    """
    if (threads := os.environ.get("OMP_NUM_THREADS", "")).isdecimal():
        return max(1, int(threads))
    return max(1, available_cores() // (2 * jobs))


def convert_one(request: Request, sessions: SharedSession, *, force: bool = False) -> ModelResult:
    """Convert a model, unless it is up to date.

    Args:
        request: the conversion, with an `out`.
        sessions: lends the Paddle process.
        force: convert the model even if it is up to date.

    Returns:
        The result; a failed one if the conversion raised an error.
    """
    assert request.out is not None
    start = time.perf_counter()
    try:
        current = fingerprint(request)
        card = None if force else up_to_date(request.out, current)
        fresh = card is None
        warnings: tuple[str, ...] = ()
        if card is None:
            outcome = run(replace(request, fingerprint=current), sessions=sessions.lend)
            warnings = outcome.warnings
            card = json.loads(request.out.with_suffix(".json").read_text(encoding="utf-8"))
    except ConverterError as error:
        report = error.report.to_dict() if isinstance(error, ParityError) else None
        two_sources = request.program_dir and isinstance(error, (ParityError, PlanError))
        message = f"{error}{_TWO_SOURCES if two_sources else ''}"
        result = failed_result(request.name, message, error.exit_code, report)
    except Exception as error:  # the other models are still converted
        result = failed_result(request.name, _crash_message(error), CRASHED)
    else:
        result = replace(_result_of_artefact(request.name, card, fresh), warnings=warnings)
    return replace(result, seconds=time.perf_counter() - start)


def failed_result(
    name: str, error: str, exit_code: int, parity: dict[str, Any] | None = None
) -> ModelResult:
    """Build the result of a model that was not written.

    Args:
        name: the model.
        error: the message of the error.
        exit_code: the exit code of the command line for this error.
        parity: the parity report as JSON, if the comparison was made.
    """
    return ModelResult(
        name=name,
        task=catalog.task(name),
        status="failed",
        reference=parity["reference"] if parity else None,
        parity=parity,
        counts=None,
        seconds=0.0,
        versions=parity["versions"] if parity else {},
        sources={},
        weights=None,
        error=error,
        exit_code=exit_code,
    )


def _result_of_artefact(name: str, card: dict[str, Any], fresh: bool) -> ModelResult:
    """Build the result of a converted model from the JSON of its artefact."""
    parity = card["parity"]
    return ModelResult(
        name=name,
        task=card["task"],
        status="passed" if parity else "unverified",
        reference=parity["reference"] if parity else None,
        parity=parity,
        counts=card["counts"],
        seconds=0.0,
        versions=card["versions"],
        sources=card["source"]["files"],
        weights=card["weights"],
        fresh=fresh,
    )


def _crash_message(error: Exception) -> str:
    """Describe an unexpected error, with the line of the converter that raised it."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if Path(f.filename).exists()]
    own_frames = [frame for frame in frames if Path(frame.filename).is_relative_to(ROOT)]
    line = ""
    if own_frames:
        last = own_frames[-1]
        line = f" in {Path(last.filename).relative_to(ROOT)}, line {last.lineno}"
    return f"the converter itself failed{line}: {type(error).__name__}: {error}"


def _source_size(request: Request) -> int:
    """Return the size of a model's source files in bytes."""
    paths = [path for path in (request.paddle_dir, request.program_dir) if path is not None]
    return sum(f.stat().st_size for path in paths for f in source_files(path) if f.is_file())


class _Worker:
    """A process that converts one model after the other.

    Args:
        threads: number of threads of each library in the process.
        force: convert models that are up to date again.
    """

    def __init__(self, threads: int, force: bool) -> None:
        # A fork would share the threads and locks of both frameworks.
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.request: Request | None = None
        self.process: BaseProcess = context.Process(
            target=_serve, args=(theirs, force), daemon=True
        )
        with _environment(dict.fromkeys(THREADS, str(threads))):
            self.process.start()
        theirs.close()

    def submit(self, request: Request) -> None:
        """Send a request to the process."""
        self.request, self.start = request, time.perf_counter()
        with suppress(BrokenPipeError):  # the process died, which `receive` reports
            self.connection.send(request)

    def receive(self) -> ModelResult:
        """Return the result of the submitted request; a failed one if the process died."""
        assert self.request is not None
        try:
            result = self.connection.recv()
        except (EOFError, ConnectionResetError):
            self.process.join(_STOP_TIMEOUT)
            seconds = time.perf_counter() - self.start
            code = self.process.exitcode
            how = f"by signal {signal.Signals(-code).name}" if code and code < 0 else f"with {code}"
            result = replace(
                failed_result(
                    self.request.name, f"the process that converted it ended {how}", CRASHED
                ),
                seconds=seconds,
            )
            self.stop()
        self.request = None
        return result

    def stop(self) -> None:
        """Stop the process, even during a conversion, and remove partly written files."""
        self.connection.close()
        if self.request is not None:
            self.process.terminate()
        self.process.join(_STOP_TIMEOUT)
        self.process.kill()
        self.process.join()
        if self.request is not None and self.request.out is not None:
            discard_partial(self.request.out)


def _serve(connection: Connection, force: bool) -> None:
    """Convert the requests from a connection until it is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal signals all; the parent decides
    signal.signal(signal.SIGTERM, _raise_interrupt)  # so that partly written files are removed
    gc.set_threshold(1_000_000)  # as in `__main__`
    with suppress(KeyboardInterrupt, EOFError, BrokenPipeError), SharedSession() as sessions:
        while True:
            connection.send(convert_one(connection.recv(), sessions, force=force))
            gc.collect()  # networks contain reference cycles


def _raise_interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
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
