"""Reading the pages of a command in several processes, with the results in the order of the pages.

The processes share nothing but the memory of the weights' files. If one dies, the pages that it had
are read once more, each alone; a page with which a process dies again has failed.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Generic, TypeAlias, TypeVar

from cores.memory import available_memory
from cores.threads import core_budget
from cores.workers import Outcome, Pool
from pipelines.cli.log_printer import LogPrinter
from pipelines.errors import CommandError
from pipelines.io.exporters import BINARY_FORMATS
from pipelines.io.files import PDF, Failure, PageRef, find_pages, read_found
from pipelines.page_reading import (
    LogCollector,
    ManyReader,
    Message,
    PageLog,
    PageReader,
    PagesReader,
    ReadPage,
    collected_log,
    load_networks,
    name_of,
)

AHEAD = 2
"""How many tasks per process are begun beyond the first that is not done."""
MANY_PAGES = (PDF, ".tif", ".tiff")
"""Endings of files that may have several pages."""
MEMORY_PER_WORKER = 1_000_000_000
"""The memory of a process, in bytes, with which the default number of processes reckons."""
PAGES_PER_TASK = 4
"""How many pages a process gets at once: it opens a PDF anew for each task, in 0.1 s."""
PAGES_PER_WORKER = 8
"""With fewer pages than this for each process, starting it, some 3 s, takes what it saves."""
LINES_PER_WORKER = 100
"""The same for images of one line each."""

Load = Callable[[argparse.Namespace], "PageReader | ManyReader"]
"""A function of a module that loads the networks that the options name."""

Entry: TypeAlias = "PageRef | Failure"
"""A page to read, or why it could not be opened."""
Result = TypeVar("Result")
Read = Callable[[Iterable[Entry]], "Iterable[Result | Failure]"]
"""Reads pages: yields the result of each, or its failure, in their order."""


@dataclass(frozen=True)
class Task:
    """Pages that a process reads together.

    Attributes:
        first: the number of the first of them among all pages, from 0.
        entries: the pages, or why they could not be opened.
        is_retry: whether a process has died with them before.
    """

    first: int
    entries: tuple[Entry, ...]
    is_retry: bool = False


@dataclass(frozen=True, eq=False)
class TaskResult(Generic[Result]):
    """What a process read.

    Attributes:
        outcomes: of each page.
        messages: the log messages about them.
        error: what stops the command; None where there is nothing.
    """

    outcomes: Sequence[Result | Failure] = ()
    messages: Sequence[Message] = ()
    error: CommandError | None = None


def count_workers(options: argparse.Namespace, files: Sequence[Path]) -> int:
    """Return the number of processes: that of --workers, or what pays.

    Args:
        options: the parsed options.
        files: the files to read.
    """
    if options.workers is not None:
        return int(options.workers)
    most = most_workers(options.device, options.worker_memory)
    wanted = most * options.per_worker
    pages = len(files) if len(files) >= wanted else _count_pages(files, options.dpi, wanted)
    return max(1, min(most, pages // options.per_worker))


def most_workers(device: str, memory: int = MEMORY_PER_WORKER) -> int:
    """Return how many processes the cores and the memory allow; one on other devices than a CPU.

    Args:
        device: of the networks.
        memory: of each process, in bytes.
    """
    if device != "cpu":
        return 1
    in_memory = min(available_memory() // memory, sys.maxsize)
    return max(1, min(core_budget(), int(in_memory)))


def _count_pages(files: Sequence[Path], dpi: float, wanted: int) -> int:
    """Return the number of pages, or one above `wanted` if there are as many; opens few files."""
    of_many = [file for file in files if file.suffix.lower() in MANY_PAGES]
    count = len(files) - len(of_many)
    for file in of_many:
        count += sum(1 for _ in find_pages([file], dpi))
        if count >= wanted:
            break
    return count


def read_in_workers(
    load: Load, options: argparse.Namespace, files: Sequence[Path], workers: int, log: LogPrinter
) -> Generator[ReadPage | Failure, None, None]:
    """Read all pages of files, and yield their outcomes in order.

    Args:
        load: loads the networks, in each process.
        options: the parsed options.
        files: the files to read.
        workers: the number of processes.
        log: prints the log messages about the pages.

    Raises:
        CommandError: the networks cannot be loaded, or are of another kind.
    """
    sent = argparse.Namespace(**{k: v for k, v in vars(options).items() if k != "formats"})
    group = options.together * max(1, PAGES_PER_TASK // options.together)
    return in_workers(
        partial(_load_reader, load, sent),
        find_pages(files, options.dpi),
        workers,
        log,
        group=group,
        verbose=options.verbose,
    )


def _load_reader(load: Load, options: argparse.Namespace, log: PageLog) -> Read[ReadPage]:
    """Load the networks, and return the function that reads pages with them."""
    networks = load_networks(lambda: load(options))
    reader = PagesReader(networks, options.together, log, verbose=options.verbose)

    def read(entries: Iterable[Entry]) -> Iterator[ReadPage | Failure]:
        for outcome in reader.read(read_found(entries, options.dpi)):
            yield _without_pixels(outcome, options)

    return read


def _without_pixels(outcome: ReadPage | Failure, options: argparse.Namespace) -> ReadPage | Failure:
    """Drop the channels of a page of which nothing but its height and width is needed."""
    if isinstance(outcome, Failure) or options.visualize or options.format in BINARY_FORMATS:
        return outcome
    return replace(outcome, page=replace(outcome.page, image=outcome.page.image[..., :0]))


def in_workers(
    load: Callable[[PageLog], Read[Result]],
    entries: Iterable[Entry],
    workers: int,
    log: LogPrinter,
    *,
    group: int = PAGES_PER_TASK,
    verbose: bool,
) -> Generator[Result | Failure, None, None]:
    """Read pages in several processes, and yield their outcomes in order.

    Args:
        load: loads the networks in each process, and gives what reads pages; it can be pickled.
        entries: the pages.
        workers: the number of processes.
        log: prints the log messages about the pages.
        group: how many pages a process gets at once.
        verbose: whether more than warnings is printed.

    Raises:
        CommandError: the networks cannot be loaded, or are of another kind.
    """
    threads = max(1, core_budget() // workers)
    pool: Pool[Task, TaskResult[Result]] = Pool(workers, threads, _reading, load, verbose)
    with pool:
        for result in _in_order(pool, _tasks(iter(entries), group), AHEAD * workers):
            for message in result.messages:
                log.page = message.page
                logging.getLogger(message.logger).log(message.level, "%s", message.text)
            log.page = ""
            if result.error is not None:
                raise result.error
            yield from result.outcomes


def _tasks(entries: Iterator[Entry], size: int) -> Iterator[Task]:
    """Yield pages in groups of some that are read together."""
    first = 0
    while group := tuple(islice(entries, size)):
        yield Task(first, group)
        first += len(group)


def _in_order(
    pool: Pool[Task, TaskResult[Result]], tasks: Iterator[Task], ahead: int
) -> Iterator[TaskResult[Result]]:
    """Yield the results of tasks in their order; of a task that was split, one for each page.

    Args:
        pool: computes them.
        tasks: the tasks.
        ahead: how many may be begun beyond the first that is not done.
    """
    retries: deque[Task] = deque()
    results: dict[
        int, tuple[int, TaskResult[Result]]
    ] = {}  # by first page: how many pages, and result
    begun: deque[int] = deque()  # the first page of each task that is not yielded yet
    following, is_at_end = 0, False
    while True:
        while not pool.is_full and (retries or (len(begun) < ahead and not is_at_end)):
            task = retries.popleft() if retries else next(tasks, None)
            if task is None:
                is_at_end = True
                break
            if not task.is_retry:
                begun.append(task.first)
            pool.submit(task)
        if not pool.tasks:
            return
        for outcome in pool.wait():
            task = outcome.task
            if outcome.result is not None:
                results[task.first] = len(task.entries), outcome.result
            elif not task.is_retry:
                retries += [
                    Task(task.first + place, (entry,), is_retry=True)
                    for place, entry in enumerate(task.entries)
                ]
            else:
                results[task.first] = 1, TaskResult([_died(task.entries[0], outcome)])
        while following in results:
            count, result = results.pop(following)
            yield result
            following += count
            while begun and begun[0] < following:
                begun.popleft()


def _died(entry: Entry, outcome: Outcome[Task, TaskResult[Result]]) -> Failure:
    """Return the failure of a page with which two processes died."""
    if isinstance(entry, Failure):
        return entry
    return Failure(
        entry.source, entry.number, f"{name_of(entry)}: the process that read it {outcome.error}"
    )


@contextmanager
def _reading(
    load: Callable[[PageLog], Read[Result]], verbose: bool
) -> Iterator[Callable[[Task], TaskResult[Result]]]:
    """Set up a worker process: load the networks, and give the function that reads pages."""
    with collected_log(verbose=verbose) as log:
        yield _task_reader(load, log)


def _task_reader(
    load: Callable[[PageLog], Read[Result]], log: LogCollector
) -> Callable[[Task], TaskResult[Result]]:
    """Load the networks, and return the function that reads pages, or says why it cannot."""
    error: CommandError | None = None
    try:
        read_entries = load(log)
    except CommandError as failed:
        error = failed

    def read(task: Task) -> TaskResult[Result]:
        if error is not None:
            return TaskResult(error=error)
        try:
            outcomes = list(read_entries(task.entries))
        except CommandError as failed:
            return TaskResult(error=failed)
        finally:
            messages = log.take()
        return TaskResult(outcomes, messages)

    return read
