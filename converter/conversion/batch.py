"""Many conversions: worker processes that import each framework once, and go on after a failure.

A worker has PyTorch in its own process and Paddle in another. It is given one model after the other
and answers with what became of each; where it dies, that model has failed and another worker takes
its place. This process imports neither framework.
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
from typing import Any

from converter.catalog import cards as catalog
from converter.conversion.artefact import discard_partial
from converter.conversion.fingerprint import ROOT, fingerprint, source_files, up_to_date
from converter.conversion.request import Request
from converter.conversion.result import ModelResult
from converter.conversion.steps import run
from converter.errors import ConverterError, ParityError, PlanError
from converter.references.paddle.session import SharedSession

CRASHED = 1  # the exit code of what is no ConverterError: a killed worker, a fault of this program
_APART = (
    "\nNames came from a checkpoint, the proof from an export elsewhere: if the two are not of one "
    "training, convert either alone (--map NAME=PATH)."
)
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_PATIENCE = 10  # seconds in which a worker that was told to end should


def convert_all(
    requests: Sequence[Request], jobs: int = 1, *, force: bool = False
) -> Generator[ModelResult, None, None]:
    """Convert every model and yield what became of it, in the order in which they finish.

    Closed before its end, as by an interruption, it leaves no process and no half-written file.

    Args:
        requests: each with an `out` of its own.
        jobs: how many processes work at once.
        force: convert what is up to date too.
    """
    waiting = deque(sorted(requests, key=_size, reverse=True))  # nothing large is left for the end
    workers: dict[Any, _Worker] = {}  # by their connections

    def occupy(worker: _Worker | None) -> None:
        if waiting:
            worker = worker or _Worker(threads_of_each(jobs), force)
            workers[worker.connection] = worker
            worker.give(waiting.popleft())
        elif worker is not None:
            worker.end()

    try:
        for _ in range(jobs):
            occupy(None)
        while workers:
            for connection in wait(list(workers)):
                worker = workers[connection]
                result = worker.take()
                del workers[worker.connection]
                occupy(worker if worker.process.is_alive() else None)
                yield result
    finally:
        for worker in workers.values():
            worker.end()


def threads_of_each(jobs: int) -> int:
    """Return how many threads each of `jobs` workers uses: its share, or OMP_NUM_THREADS."""
    if (said := os.environ.get("OMP_NUM_THREADS", "")).isdecimal():
        return max(1, int(said))
    affinity = getattr(os, "sched_getaffinity", None)  # where a process may be kept to some cores
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    return max(1, cores // jobs)


def convert_one(request: Request, sessions: SharedSession, *, force: bool = False) -> ModelResult:
    """Convert a model, unless it is up to date; an error is part of the result."""
    assert request.out is not None
    start = time.perf_counter()
    try:
        wanted = fingerprint(request)
        described = None if force else up_to_date(request.out, wanted)
        fresh = described is None
        if described is None:
            run(replace(request, fingerprint=wanted), sessions=sessions.lend)
            described = json.loads(request.out.with_suffix(".json").read_text(encoding="utf-8"))
    except ConverterError as error:
        report = error.report.to_dict() if isinstance(error, ParityError) else None
        apart = request.program_dir and isinstance(error, (ParityError, PlanError))
        result = failed(request.name, f"{error}{_APART if apart else ''}", error.exit_code, report)
    except Exception as error:  # one model's misfortune is not that of the others
        result = failed(request.name, _fault(error), CRASHED)
    else:
        result = _converted(request.name, described, fresh)
    return replace(result, seconds=time.perf_counter() - start)


def failed(
    name: str, error: str, exit_code: int, parity: dict[str, Any] | None = None
) -> ModelResult:
    """Return the result of a model that was not written."""
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


def _converted(name: str, described: dict[str, Any], fresh: bool) -> ModelResult:
    """Return the result that an artefact's JSON tells of."""
    parity = described["parity"]
    return ModelResult(
        name=name,
        task=described["task"],
        status="passed" if parity else "unverified",
        reference=parity["reference"] if parity else None,
        parity=parity,
        counts=described["counts"],
        seconds=0.0,
        versions=described["versions"],
        sources=described["source"]["files"],
        weights=described["weights"],
        fresh=fresh,
    )


def _fault(error: Exception) -> str:
    """Say what went wrong in this program, and where."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if Path(f.filename).exists()]
    ours = [frame for frame in frames if Path(frame.filename).is_relative_to(ROOT)]
    place = f" in {Path(ours[-1].filename).relative_to(ROOT)}, line {ours[-1].lineno}"
    text = f"{type(error).__name__}: {error}"
    return f"the converter itself failed{place if ours else ''}: {text}"


def _size(request: Request) -> int:
    places = [place for place in (request.paddle_dir, request.program_dir) if place is not None]
    return sum(f.stat().st_size for place in places for f in source_files(place) if f.is_file())


class _Worker:
    """A process that converts what it is given."""

    def __init__(self, threads: int, force: bool) -> None:
        context = multiprocessing.get_context(
            "spawn"
        )  # a fork would share what both frameworks use
        self.connection, theirs = context.Pipe()
        self.request: Request | None = None
        self.process: BaseProcess = context.Process(
            target=_serve, args=(theirs, force), daemon=True
        )
        with _environment(dict.fromkeys(_THREADS, str(threads))):
            self.process.start()
        theirs.close()

    def give(self, request: Request) -> None:
        """Let it convert one model."""
        self.request, self.start = request, time.perf_counter()
        with suppress(BrokenPipeError):  # it is dead, which `take` will tell
            self.connection.send(request)

    def take(self) -> ModelResult:
        """Return what became of the model; a worker that died is the reason for a failure."""
        assert self.request is not None
        try:
            result = self.connection.recv()
        except (EOFError, ConnectionResetError):
            self.process.join(_PATIENCE)
            seconds = time.perf_counter() - self.start
            code = self.process.exitcode
            how = f"by signal {signal.Signals(-code).name}" if code and code < 0 else f"with {code}"
            result = replace(
                failed(self.request.name, f"the process that converted it ended {how}", CRASHED),
                seconds=seconds,
            )
            self.end()
        self.request = None
        return result

    def end(self) -> None:
        """End the process, in the midst of a conversion too."""
        self.connection.close()
        if self.request is not None:
            self.process.terminate()
        self.process.join(_PATIENCE)
        self.process.kill()
        self.process.join()
        if self.request is not None and self.request.out is not None:
            discard_partial(self.request.out)


def _serve(connection: Connection, force: bool) -> None:
    """Convert what comes until the other side is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal sends it to all; the parent decides
    signal.signal(signal.SIGTERM, _interrupt)  # so that what is half written is removed
    gc.set_threshold(100_000)  # as in `__main__`
    with suppress(KeyboardInterrupt, EOFError, BrokenPipeError), SharedSession() as sessions:
        while True:
            connection.send(convert_one(connection.recv(), sessions, force=force))
            gc.collect()  # networks refer to themselves


def _interrupt(*_: Any) -> None:
    raise KeyboardInterrupt


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    """Set variables for the processes that are started meanwhile."""
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
