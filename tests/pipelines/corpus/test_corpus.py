"""A corpus on processes that are killed: nothing is lost or doubled, and runs go on."""

from __future__ import annotations

import json

import pyarrow.parquet as pq

from pipelines.corpus import run as corpus
from pipelines.corpus.engines import LocalEngine
from pipelines.corpus.stages import examining, reading
from tests.support.cli_runs import write_page
from tests.support.corpora import Here, contents, read, scans

__all__ = ["scans"]  # a fixture


class HereThenWorker(LocalEngine):
    """Looks into the sources in this process, and reads their pages in another."""

    def map(self, prepare, arguments, tasks):
        engine = Here() if prepare is examining else super()
        return engine.map(prepare, arguments, tasks)


class Losing(Here):
    """Computes tasks in this process, but loses those with a source of a name."""

    def __init__(self, name):
        self._name = name

    def map(self, prepare, arguments, tasks):
        if prepare is reading:
            tasks = [
                pages
                for pages in tasks
                if all(self._name not in page.source.name for page in pages)
            ]
        return super().map(prepare, arguments, tasks)


def test_what_is_killed_is_read_again_and_what_is_read_is_not(scans, tmp_path, monkeypatch):
    monkeypatch.setattr(corpus, "PAGES_PER_TASK", 1)  # so that few processes are started
    summary = read(scans, tmp_path / "out", HereThenWorker(1, 1), tmp_path)
    assert (tmp_path / "died").exists()
    assert (summary.pages, summary.read) == (16, 9)
    assert read(scans, tmp_path / "again", Here(), tmp_path).read == 9
    assert contents(tmp_path / "out") == contents(tmp_path / "again")

    (rows,) = (pq.read_table(tmp_path / "out/pages-00000.parquet").to_pylist(),)
    name = str(scans)
    assert [row["source"].removeprefix(name)[1:] for row in rows] == (
        [f"{number}.png" for number in range(6)]
        + ["below/copy.png"]
        + ["book.pdf"] * 3
        + ["no.png", "rows.parquet#0"]
        + ["rows.parquet#1"] * 3
        + ["rows.parquet#2"]
    )
    assert [rows[place]["text"] for place in (0, 1, 6)] == ["level 1", "level 2", "level 2"]
    assert rows[1]["sha256"] == rows[6]["sha256"]
    assert rows[2]["error"] == f"{name}/2.png: too grey"
    assert (rows[3]["text"], rows[4]["warnings"]) == ("level 110", ["rather grey"])
    assert (rows[3]["width"], rows[3]["height"], rows[3]["scores"]) == (60, 40, [0.75])
    assert rows[3]["boxes"] == [[[0, 0], [60, 0], [60, 40], [0, 40]]]
    assert [(row["page"], row["pages"]) for row in rows[7:10]] == [(1, 3), (2, 3), (3, 3)]
    assert "not an image" in rows[10]["error"]
    assert "the row is empty" in rows[15]["error"]
    lines = (tmp_path / "out/pages-00000.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(lines[0])["lines"] == [
        {"text": "level 1", "score": 0.75, "box": [[0, 0], [60, 0], [60, 40], [0, 40]]}
    ]
    failures = json.loads((tmp_path / "out/failures.json").read_text(encoding="utf-8"))
    assert failures == list(summary.failures)
    assert len(failures) == 3

    write_page(scans / "6.png", 7)  # more to read, less to list
    (scans / "below/copy.png").unlink()
    summary = read(scans, tmp_path / "out", Here(), tmp_path)
    assert (summary.pages, summary.read) == (16, 1)


def test_a_page_that_is_lost_twice_is_listed_and_tried_again_by_the_next_run(tmp_path):
    pages = [write_page(tmp_path / f"scans/{number}.png", number % 3) for number in range(5)]
    summary = read(tmp_path / "scans", tmp_path / "out", Losing("1.png"), tmp_path)
    assert (summary.pages, summary.read) == (5, 2)
    assert summary.failures == [
        {"source": str(page), "page": 1, "error": f"{page}, page 1: {corpus.LOST}"}
        for page in (pages[1], pages[4])  # of the same content
    ]
    summary = read(tmp_path / "scans", tmp_path / "out", Here(), tmp_path)
    assert (summary.read, summary.failures) == (1, [])
