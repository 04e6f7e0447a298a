"""A small corpus of grey pages, and runs over it."""

from __future__ import annotations

import argparse
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.corpus import run as corpus
from pipelines.corpus.sources import find_sources
from pipelines.corpus.store import Store
from tests.support import pdf_files
from tests.support.cli_runs import write_page
from tests.support.level_readers import DEADLY_ONCE, UNREADABLE, WARNED, LevelReader


class Here:
    """Computes tasks in this process."""

    def map(self, prepare, arguments, tasks):
        with prepare(*arguments) as compute:
            yield from map(compute, tasks)


@pytest.fixture
def scans(tmp_path):
    folder = tmp_path / "scans"
    for number, level in enumerate([1, 2, UNREADABLE, DEADLY_ONCE, WARNED, 6]):
        write_page(folder / f"{number}.png", level)
    (folder / "below").mkdir()
    shutil.copy(folder / "1.png", folder / "below/copy.png")
    (folder / "book.pdf").write_bytes(pdf_files.pages((72, 72), (72, 36), (36, 72)))
    (folder / "no.png").write_bytes(b"no image")
    contents = [(folder / name).read_bytes() for name in ("5.png", "book.pdf")]
    images = [{"bytes": content, "path": None} for content in (*contents, None)]
    pq.write_table(pa.table({"id": [7, 8, 9], "image": images}), folder / "rows.parquet")
    return folder


def read(scans, out, engine, tmp_path):
    options = argparse.Namespace(dpi=72, died=tmp_path / "died")
    sources, failures = find_sources([str(scans)])
    assert not failures
    shown = []
    store = Store(str(out), "settings")
    summary = corpus.run_corpus(
        sources, engine, store, LevelReader, options, lambda *counts: shown.append(counts)
    )
    assert shown[-1][0] == summary.read
    return summary


def contents(out):
    return {file.name: file.read_bytes() for file in out.iterdir() if file.is_file()}
