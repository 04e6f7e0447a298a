"""A run over a corpus: find the sources, read the pages that are missing, write the results.

Work that was lost with a process or a machine is handed out once more, page by page. A page that is
lost twice is listed as failed, and tried again by the next run.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from cores.workers import Prepare
from pipelines.corpus.engines import Engine
from pipelines.corpus.rows import Row, failed_row
from pipelines.corpus.sources import Source
from pipelines.corpus.stages import SOURCE, Examined, Load, PageTask, examining, reading
from pipelines.corpus.store import Key, Store

PAGES_PER_TASK = 16
"""How many pages are handed out at once, and read again if the process is lost."""
SOURCES_PER_TASK = 64
LOST = "the process or machine that read it was lost, twice"

EXAMINED = "sources"

K = TypeVar("K", bound=Hashable)
Item = TypeVar("Item")
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Summary:
    """What a run did.

    Attributes:
        pages: the number of rows of the results.
        read: how many pages were read now; the others were read before.
        failures: the pages and sources that could not be read: source, page and error.
    """

    pages: int
    read: int
    failures: Sequence[Mapping[str, Any]]


def run_corpus(
    sources: Sequence[Source],
    engine: Engine,
    store: Store,
    load: Load,
    options: argparse.Namespace,
    progress: Callable[[int, int], None],
) -> Summary:
    """Read the pages of sources that were not read yet, and write the results of all.

    Args:
        sources: the images and PDFs.
        engine: computes the tasks.
        store: the folder of the run.
        load: loads the networks.
        options: of the command; with `dpi`, the resolution of PDF pages.
        progress: called with the number of pages that are read, and of all.

    Raises:
        CommandError: the networks cannot be loaded, or the results not be written.
    """
    store.create()
    examined = _examine(sources, engine, store, options.dpi)
    kept = store.read_pages()
    missing: dict[Key, PageTask] = {}
    for source in sources:
        known = examined[source]
        for number in range(1, known.pages + 1):
            task = PageTask(source, known.sha256, number, known.pages)
            if task.key not in kept:
                missing.setdefault(task.key, task)
    failed: dict[Key, str] = {}
    read = 0
    progress(0, len(missing))
    for answer in _twice(
        engine, reading, (load, options, store), missing, PAGES_PER_TASK, lambda each: each.kept
    ):
        if answer.error is not None:
            raise answer.error
        failed |= answer.failed
        read += len(answer.kept)
        progress(read, len(missing))
    kept = store.read_pages()
    failures: list[dict[str, Any]] = []
    rows = _rows(sources, examined, kept, store, failed, failures)
    pages = store.finish(rows, failures)
    return Summary(pages, read, failures)


def _examine(
    sources: Sequence[Source], engine: Engine, store: Store, dpi: float
) -> dict[Source, Examined]:
    """Return what is known of each source; looks into those that are new or were modified."""
    known: dict[tuple[object, ...], Examined] = {}
    for url, size, modified, row, column, sha256, pages in store.load(EXAMINED) or ():
        known[url, size, modified, row, column] = Examined(sha256, pages)
    found = {source: known[_state(source)] for source in sources if _state(source) in known}
    new = {source: source for source in sources if source not in found}
    for answer in _twice(engine, examining, (dpi,), new, SOURCES_PER_TASK, dict.keys):
        found |= answer
    # An unreadable file may be readable the next time.
    stated = [
        [*_state(source), each.sha256, each.pages] for source, each in found.items() if each.pages
    ]
    if new:
        store.save(EXAMINED, stated)
    lost = {source: Examined("", 0, f"{source.name}: {LOST}") for source in sources}
    return lost | found


def _state(source: Source) -> tuple[object, ...]:
    """Return what changes with the content of a source."""
    return source.url, source.size, source.modified, source.row, source.column


def _twice(
    engine: Engine,
    prepare: Prepare[Any, Answer],
    arguments: Sequence[Any],
    items: Mapping[K, Item],
    together: int,
    done: Callable[[Answer], Any],
) -> Iterator[Answer]:
    """Hand items out in groups, and those that were not done once more, each alone.

    Args:
        engine: computes the groups.
        prepare: sets a process up.
        arguments: of `prepare`.
        items: the items by what names them.
        together: the number of items in a group.
        done: returns the names of those that an answer says are done.

    Yields:
        The answers.
    """
    rest = dict(items)
    for size in (together, 1):
        left = list(rest.values())
        groups = [left[start : start + size] for start in range(0, len(left), size)]
        if not groups:
            return
        for answer in engine.map(prepare, arguments, groups):
            for key in done(answer):
                rest.pop(key, None)
            yield answer


def _rows(
    sources: Sequence[Source],
    examined: Mapping[Source, Examined],
    kept: Mapping[Key, tuple[str, int]],
    store: Store,
    failed: Mapping[Key, str],
    failures: list[dict[str, Any]],
) -> Iterator[Row]:
    """Yield the rows of all pages in the order of the sources, and collect what failed."""
    for source in sources:
        known = examined[source]
        rows: list[Row] = []
        if not known.pages:
            rows.append(failed_row(known.sha256 or None, None, 0, str(known.error)))
        for number in range(1, known.pages + 1):
            key = known.sha256, number
            if key in kept:
                row = store.row(kept[key])
                error = row["error"] and row["error"].replace(SOURCE, source.name)
                rows.append({**row, "error": error})
            else:
                error = failed.get(key, f"{source.name}, page {number}: {LOST}")
                rows.append(failed_row(known.sha256, number, known.pages, error))
        for row in rows:
            if row["error"] is not None:
                failures.append({"source": source.name, "page": row["page"], "error": row["error"]})
            yield {"source": source.name, **row}
