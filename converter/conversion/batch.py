"""Convert many models in worker processes, which import each framework once.

A worker imports PyTorch and runs Paddle in a child process. If it dies, its model has failed, and
another worker is started in its place. This process imports neither framework.
"""

from __future__ import annotations

import gc
import json
import os
import time
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from converter.catalog import cards as catalog
from converter.conversion.fingerprint import ROOT, fingerprint, source_files, up_to_date
from converter.conversion.request import Request
from converter.conversion.result import ModelResult
from converter.conversion.steps import run
from converter.errors import ConverterError, ParityError, PlanError
from converter.references.paddle.session import SharedSession
from cores.threads import available_cores
from cores.workers import Outcome, Pool
from schemas.artefact_files import discard_partial

CRASHED = 1  # exit code if the worker was killed, or for an error that is no ConverterError
_TWO_SOURCES = (
    "\nThe weights came from a checkpoint, the reference from an export in another folder. If they "
    "are not of one training, convert only one of them (--map NAME=PATH)."
)


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
    pool: Pool[Request, ModelResult] = Pool(jobs, threads_per_worker(jobs), _converting, force)

    def hand_out() -> None:
        while waiting and not pool.is_full:
            pool.submit(waiting.popleft())
        if not waiting:
            pool.stop_idle()

    try:
        hand_out()
        while pool.tasks:
            results = [_result_of(outcome) for outcome in pool.wait()]
            hand_out()
            yield from results
    finally:
        unfinished = pool.tasks
        pool.close()
        for request in unfinished:
            _discard_partial(request)


def _result_of(outcome: Outcome[Request, ModelResult]) -> ModelResult:
    """Return the result of a request; a failed one if the process died."""
    if outcome.result is not None:
        return outcome.result
    _discard_partial(outcome.task)
    message = f"the process that converted it {outcome.error}"
    return replace(failed_result(outcome.task.name, message, CRASHED), seconds=outcome.seconds)


def _discard_partial(request: Request) -> None:
    """Remove the partly written files of a conversion."""
    if request.out is not None:
        discard_partial(request.out)


@contextmanager
def _converting(force: bool) -> Iterator[Callable[[Request], ModelResult]]:
    """Set up a worker process: give the function that converts a model."""
    gc.set_threshold(1_000_000)  # as in `__main__`
    with SharedSession() as sessions:

        def convert(request: Request) -> ModelResult:
            gc.collect()  # networks contain reference cycles
            return convert_one(request, sessions, force=force)

        yield convert


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
