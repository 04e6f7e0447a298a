"""Pages that several processes read: the same results and failures as with one, in order."""

from __future__ import annotations

import argparse
import os
import pickle

import pytest

from pipelines.cli import page_workers
from pipelines.cli.log_printer import printed_log
from pipelines.cli.page_workers import count_workers, read_in_workers
from pipelines.errors import SourceError
from pipelines.io.files import find_files, read_pages
from pipelines.page_reading import PagesReader, ReadPage
from tests.support import pdf_files
from tests.support.cli_runs import write_page
from tests.support.level_readers import DEADLY, UNREADABLE, WARNED, LevelReader, refuse
from tests.support.pool_here import PoolHere


def options_of(folder, **values):
    defaults = {
        "died": folder / "died",
        "dpi": 72,
        "together": 2,
        "verbose": False,
        "visualize": False,
        "format": "json",
        "formats": {"json": lambda: None},  # which cannot be sent to a process
        "device": "cpu",
        "workers": None,
        "per_worker": 8,
        "worker_memory": page_workers.MEMORY_PER_WORKER,
    }
    return argparse.Namespace(**{**defaults, **values})


def described(outcomes):
    return [
        (each.page.source.name, each.page.number, each.page.image.shape[:2], each.items[0].text)
        if isinstance(each, ReadPage)
        else each.message
        for each in outcomes
    ]


@pytest.fixture
def scans(tmp_path):
    levels = [1, DEADLY, 3, UNREADABLE, 5, 6, WARNED, 8]
    for number, level in enumerate(levels):
        write_page(tmp_path / f"scans/{number}.png", level)
    (tmp_path / "scans/4b.pdf").write_bytes(pdf_files.pages((72, 72), (72, 36), (36, 72)))
    (tmp_path / "scans/5b.png").write_bytes(b"no image")
    return find_files([tmp_path / "scans"])[0]


def test_order_failures_and_messages_are_those_of_one_process(scans, tmp_path, capsys):
    options = options_of(tmp_path)
    safe = [file for file in scans if file.name != "1.png"]
    with printed_log("ocr", verbose=False) as log:
        reader = PagesReader(LevelReader(options), 2, log, verbose=False)
        expected = described(reader.read(read_pages(safe, 72)))
        warned = capsys.readouterr().err
        found = list(read_in_workers(LevelReader, options, scans, 2, log))
    lines = described(found)
    killed = [line for line in lines if "1.png" in line]
    assert killed == [f"{scans[1]}: the process that read it ended by signal SIGKILL"]
    assert [line for line in lines if line not in killed] == expected
    assert lines.index(killed[0]) == 1
    assert len(expected) == 11
    assert capsys.readouterr().err == warned
    assert warned.startswith(f"ocr: {scans[0].parent / '6.png'}: rather grey")
    assert len(pickle.dumps(found[0])) < 5000  # without the pixels


def test_networks_that_cannot_be_loaded_stop_the_command(scans, tmp_path, monkeypatch):
    monkeypatch.setattr(page_workers, "Pool", PoolHere)
    with printed_log("ocr", verbose=False) as log:
        outcomes = read_in_workers(refuse, options_of(tmp_path), scans, 2, log)
        with pytest.raises(SourceError, match="no such file"):
            next(outcomes)


def test_the_number_of_processes(scans, tmp_path, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("cores.threads.available_cores", lambda: 4)
    monkeypatch.setattr(page_workers, "available_memory", lambda: 3.5e9)
    options = options_of(tmp_path)
    assert count_workers(options, scans) == 1  # 9 files, of which one has 3 pages
    images = [file for file in scans if file.suffix == ".png"]
    assert count_workers(options, images * 2) == 2
    assert count_workers(options, images * 9) == 3  # as the memory allows
    assert count_workers(options_of(tmp_path, per_worker=100), images * 9) == 1
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert count_workers(options, images * 9) == 2
    assert count_workers(options_of(tmp_path, device="cuda"), images * 9) == 1
    assert count_workers(options_of(tmp_path, workers=7), images) == 7
    assert os.environ["OMP_NUM_THREADS"] == "2"
