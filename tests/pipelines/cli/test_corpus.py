"""`python -m pipelines corpus`, with a reader that needs no networks, in this process."""

from __future__ import annotations

import pytest

from pipelines.cli import corpus as command
from tests.support.cli_runs import run
from tests.support.corpora import Here, scans
from tests.support.level_readers import LevelReader

__all__ = ["run", "scans"]  # fixtures


@pytest.fixture
def read(run, scans, tmp_path, monkeypatch):
    """Read the small corpus."""
    monkeypatch.setattr(command, "WarmOCR", LevelReader)
    monkeypatch.setattr("pipelines.corpus.engines.LocalEngine", lambda *_: Here())
    for name in ("det", "rec"):
        (tmp_path / f"{name}.pth").write_bytes(b"weights")
        (tmp_path / f"{name}.json").write_text("{}")
    for name in ("book.pdf", "rows.parquet"):  # which take long
        (scans / name).unlink()
    weights = ("--det", tmp_path / "det.pth", "--rec", tmp_path / "rec.pth")
    return lambda *words: run("corpus", scans, "--out", tmp_path / "out", *weights, *words)


def test_a_run_and_another_with_other_weights(read, scans, tmp_path):
    done = read("--dpi", 72)
    assert done.code == 3
    assert done.out == f"8 pages are in {tmp_path / 'out'}, 6 of them were read now\n"
    first, *_, last = done.err.splitlines()
    assert first == f"corpus: {scans}/2.png: too grey"
    assert last.startswith("corpus: 2 could not be read; those of files are in ")
    assert " 0 of them were read now" in read("--dpi", 72, "--workers", 3).out
    assert " 6 of them" in read("--dpi", 72, "--min-score", 0.25).out
    (tmp_path / "rec.json").write_text('{"changed": true}')
    assert " 6 of them" in read("--dpi", 72).out
    assert len([*(tmp_path / "out/_work").glob("*/")]) == 3


def test_what_is_missing(read, tmp_path, monkeypatch):
    (tmp_path / "det.pth").unlink()
    done = read()
    assert (done.code, done.out) == (3, "")
    assert done.err == f"corpus: {tmp_path}/det.pth: cannot be read (No such file or directory)\n"
    (tmp_path / "out").write_bytes(b"")
    (tmp_path / "det.pth").touch()
    done = read()
    assert done.code == 2
    assert f"--out {tmp_path / 'out'} cannot be created" in done.err
    monkeypatch.setattr(command, "find_spec", lambda _: None)
    assert "pip install paddleocr-to-torch[corpus]" in read().err
