"""The benchmarks: what they measure, how they compute ratios, what they leave out."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from types import SimpleNamespace

import benchmark
import cv2
import numpy as np
import pytest
from benchmarks import conversion, pipeline, structure, structure_sides
from benchmarks import runtimes as sides

import pipelines
from converter.errors import SourceError, UsageError
from tests.support.pages import NAMES, bar_page, find_bars, name_colour

# A conversion


def a_round(torch=1.0, paddle=1.0, convert=2.0, alone=1.1, peak=300):
    return {
        "import torch": conversion.Sample(torch, 200 * conversion.MB),
        "import paddle": conversion.Sample(paddle, 500 * conversion.MB),
        "convert": conversion.Sample(convert, peak * conversion.MB),
        "convert, no reference": conversion.Sample(alone, 250 * conversion.MB),
    }


@pytest.mark.parametrize(
    ("rounds", "code"),
    [
        ([a_round()], 0),
        ([a_round(convert=4.0)], 0),
        ([a_round(convert=4.1)], 1),
        ([a_round(alone=1.29)], 0),
        ([a_round(alone=1.31)], 1),
        ([a_round(peak=430)], 0),
        ([a_round(peak=431)], 1),
        ([a_round(), a_round(convert=9.0), a_round()], 0),  # one busy moment
        ([a_round(), a_round(convert=9.0), a_round(convert=9.0)], 1),
        ([a_round(torch=9.0, paddle=9.0, convert=30.0, alone=10.0)], 0),  # all slow alike
    ],
)
def test_limits_of_a_conversion(rounds, code, capsys):
    assert conversion.report(rounds, conversion.convert_limits(10 * conversion.MB)) == code
    assert ("MISSED" in capsys.readouterr().out) == bool(code)


def test_the_table_has_medians_and_the_spread(capsys):
    rounds = [a_round(convert=2.0), a_round(convert=2.5), a_round(convert=6.0)]
    conversion.report(rounds, conversion.convert_limits(10 * conversion.MB))
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["convert", "2.50", "s", "2.00", "s", "6.00", "s", "300", "MB"] in lines
    assert next(line for line in lines if line[:2] == ["convert", "/"])[-5:] == [
        "1.25", "1.00", "3.00", "2.00", "ok",
    ]  # fmt: skip


def test_a_process_is_measured_without_its_children():
    large = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'b\"x\" * 200_000_000'])"
    small, parent = (
        conversion.measure(conversion.Command("any", code)) for code in ("import subprocess", large)
    )
    assert 0 < small.peak < 100 * conversion.MB
    assert parent.peak < small.peak + 50 * conversion.MB
    assert 0 < small.seconds < 20
    held = conversion.measure(conversion.Command("any", "b'x' * 200_000_000"))
    assert held.peak > small.peak + 150 * conversion.MB


def test_a_command_that_fails_is_an_error():
    command = conversion.Command("any", "import sys; sys.exit(sys.argv[1])", ("no such model",))
    with pytest.raises(UsageError, match="`any` ended with code 1: no such model"):
        conversion.measure(command)


def test_commands_take_turns_after_a_round_that_does_not_count(monkeypatch):
    order = []

    def measure(command):
        order.append(command.name)
        return conversion.Sample(len(order), 0)

    monkeypatch.setattr(conversion, "measure", measure)
    commands = [conversion.Command(name, "") for name in "ab"]
    rounds = conversion.take_turns(commands, 2)
    assert order == ["a", "b"] * 3
    assert [[samples[name].seconds for name in "ab"] for samples in rounds] == [[3, 4], [5, 6]]


def test_decoders_take_turns(capsys):
    assert benchmark.main(["decode", "--only", "CT", "--rounds", "2"]) in (0, 1)
    (row,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("CT")]
    _, lines, milliseconds, ratio, _ = row.split()
    assert int(lines) > 5
    assert float(milliseconds) > 0
    assert float(ratio) > 0


def test_an_unknown_decoder(capsys):
    assert benchmark.main(["decode", "--only", "none"]) == 2
    assert "no decoder none; there are DB quad, DB poly, EAST" in capsys.readouterr().err


def test_benchmark_errors(tmp_path, capsys):
    assert benchmark.main(["convert", "--model", "any"]) == 2
    assert "--paddle-dir is missing" in capsys.readouterr().err
    for arguments in ([], ["convert", "--rounds", "0"]):
        with pytest.raises(SystemExit):
            benchmark.main(arguments)
    (tmp_path / "a").write_bytes(b"123")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "c").write_bytes(b"4567")
    assert conversion.size_of(tmp_path) == 7
    assert conversion.size_of(tmp_path / "a") == 3


# The pipeline


def seconds(**by_side):
    """What each side took for any stage, in two rounds or more."""
    return {
        stage: {name.replace("_", "-"): list(values) for name, values in by_side.items()}
        for stage in sides.STAGES
    }


def a_report(taken, **changes):
    ratios = {
        stage: {
            name: pipeline.spread(pipeline.ratios(values, by_side["pytorch"]))
            for name, values in by_side.items()
        }
        for stage, by_side in taken.items()
    }
    targets = {
        target.name: pipeline.spread(values) | {"limit": target.most}
        for target, values in pipeline.reached(taken)
    }
    return {
        "threads": 2,
        "rounds": 2,
        "clock": "wall",
        "items": dict.fromkeys(sides.STAGES, 3),
        "versions": {name: {"torch": "2.13"} for name in taken["page"]},
        "skipped": {},
        "seconds": taken,
        "results": {stage: dict.fromkeys(by_side, 0.5) for stage, by_side in taken.items()},
        "ratios": ratios,
        "targets": targets,
    } | changes


def test_medians_and_quartiles():
    assert pipeline.spread([3.0]) == {"median": 3, "lower": 3, "upper": 3}
    assert pipeline.spread([5, 1, 2, 4, 3]) == {"median": 3, "lower": 2, "upper": 4}


def test_ratios_are_taken_within_a_round():
    taken = seconds(pytorch=[1.0, 10.0, 2.0], onnxruntime=[2.0, 20.0, 1.0])
    lines = [line.split() for line in pipeline.table(a_report(taken))]
    assert ["onnxruntime", "2000", "ms", "2.00", "1.25-2.00", "0.5"] in lines
    assert ["page:", "pytorch", "/", "onnxruntime", "0.50", "0.50-1.25", "1.00", "ok"] in lines


@pytest.mark.parametrize(
    ("ours", "compiled", "missed"),
    [
        (1.0, 0.9, []),
        (1.01, 1.0, ["page: pytorch / onnxruntime"]),
        (1.0, 1.1, ["detector: pytorch-compiled / onnxruntime",
                    "recogniser: pytorch-compiled / onnxruntime"]),
    ],
)  # fmt: skip
def test_targets(ours, compiled, missed):
    taken = seconds(pytorch=[ours] * 2, pytorch_compiled=[compiled] * 2, onnxruntime=[1.0] * 2)
    lines = pipeline.table(a_report(taken))
    assert [line.split("  ")[0] for line in lines if line.endswith("MISSED")] == missed


def test_a_target_needs_both_sides():
    targets = [target.name for target, _ in pipeline.reached(seconds(pytorch=[1], paddle=[1]))]
    assert targets == []
    both = pipeline.reached(seconds(pytorch=[1], rapidocr_pytorch=[5]))
    assert [target.stage for target, _ in both] == list(sides.STAGES)


def test_another_result_is_pointed_out():
    taken = seconds(pytorch=[1.0], paddle=[1.0])
    results = {stage: {"pytorch": 0.5, "paddle": 0.51} for stage in sides.STAGES}
    lines = pipeline.table(a_report(taken, results=results))
    assert sum(line.endswith("DIFFERS") for line in lines) == len(sides.NETWORKS)


def test_what_is_left_out_is_listed():
    taken = seconds(pytorch=[1.0])
    lines = pipeline.table(a_report(taken, skipped={"paddle": "No module: pip install it"}))
    assert lines[-1] == "paddle is left out: No module: pip install it"


class Fake:
    """A side whose every item takes as long as was asked before."""

    asked: list[tuple[str, str, int]] = []

    def __init__(self, name):
        self.name = name

    def send(self, request):
        self.asked.append((self.name, request["stage"], request["item"]))

    def receive(self):
        return {"seconds": len(self.asked), "result": 4.0}


def test_sides_take_turns_at_each_item(monkeypatch):
    monkeypatch.setattr(Fake, "asked", [])
    counts = {"detector": 2, "recogniser": 1, "page": 1}
    taken, results = pipeline.take_turns({name: Fake(name) for name in "ab"}, counts, 1)
    a_round = [(name, stage, item) for stage in sides.STAGES
               for item in range(counts[stage]) for name in "ab"]  # fmt: skip
    assert Fake.asked == a_round * (pipeline.WARM_UP + 1)
    first = len(a_round) * pipeline.WARM_UP + 1
    assert taken["detector"] == {"a": [first + first + 2], "b": [first + 1 + first + 3]}
    assert results["page"] == {"a": 4.0, "b": 4.0}


@pytest.fixture
def weights(tmp_path):
    """Cards that tell of released models, without weights."""
    options = []
    for task, name in (("det", "ch_PP-OCRv4_det"), ("rec", "ch_PP-OCRv4_rec")):
        (tmp_path / f"{task}.pth").touch()
        card = {"name": name, "form": "deploy"}
        (tmp_path / f"{task}.json").write_text(json.dumps(card))
        options += [f"--{task}", str(tmp_path / f"{task}.pth")]
    return options


@pytest.mark.parametrize(
    "arguments", [["--skip", "anything"], ["--skip", "pytorch"], ["--threads", "two"]]
)
def test_wrong_arguments(arguments, weights):
    with pytest.raises(SystemExit):
        benchmark.main(["pipeline", *weights, *arguments])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--threads", "0"], "--threads is 1 at least"),
        (["--images", "no.png"], "no.png: there is no such file"),
        (["--det", "no.pth"], "no.pth: there is no such file"),
    ],
)
def test_what_cannot_be_measured(arguments, message, weights, capsys):
    assert benchmark.main(["pipeline", *weights, *arguments]) == 2
    assert message in capsys.readouterr().err


def test_a_detector_alone(weights, capsys):
    assert benchmark.main(["pipeline", *weights[:2]]) == 2
    assert "--det and --rec are given together" in capsys.readouterr().err


def a_job(tmp_path, **cards):
    paths = {}
    for task, card in cards.items():
        paths[task] = str(tmp_path / f"{task}.pth")
        (tmp_path / f"{task}.json").write_text(json.dumps(card))
    programs = dict.fromkeys(paths, str(tmp_path))
    return sides.Job(1, paths, programs, programs, (), {}, "process_time", str(tmp_path))


def test_sides_that_have_other_networks_are_left_out(tmp_path):
    known = {"name": "ch_PP-OCRv4_det", "form": "deploy"}
    assert pipeline.not_the_same(a_job(tmp_path, det=known)).keys() == {"rapidocr-onnx"}
    small = {"name": "PP-OCRv6_small_det", "form": "deploy"}
    others = {"paddle", "onnxruntime", "rapidocr-pytorch"}
    assert pipeline.not_the_same(a_job(tmp_path, det=small)).keys() == others
    own = pipeline.not_the_same(a_job(tmp_path, det=known, rec={"name": "mine", "form": "train"}))
    assert own == {
        **dict.fromkeys(others, "has no mine"),
        "rapidocr-onnx": "has no ch_PP-OCRv4_det, mine",
    }


def test_a_side_that_is_not_installed_says_so(tmp_path, monkeypatch):
    (tmp_path / "onnxruntime.py").write_text("raise ImportError('there is none')")
    monkeypatch.syspath_prepend(tmp_path)
    with pipeline.Child("onnxruntime", a_job(tmp_path)) as child:
        assert child.receive() == {"missing": "there is none"}


def test_a_side_that_fails_is_an_error(tmp_path, monkeypatch):
    (tmp_path / "onnxruntime.py").write_text("raise SystemExit('out of order')")
    monkeypatch.syspath_prepend(tmp_path)
    with (
        pipeline.Child("onnxruntime", a_job(tmp_path)) as child,
        pytest.raises(UsageError, match="`onnxruntime` ended with code 1: out of order"),
    ):
        child.receive()


@pytest.mark.parametrize(("stage", "expected"), [("recogniser", 0.75), ("page", 7)])
def test_one_measurement(stage, expected):
    rows = np.array([[[0.1, 0.5], [1.0, 0.0]]], np.float32)
    side = sides.Side({"recogniser": lambda batch: batch}, lambda _page: 7, ())
    measured = sides.measure(side, stage, rows, "perf_counter")
    assert measured["result"] == expected
    assert 0 <= measured["seconds"] < 5


def test_networks_are_measured_with_what_the_pipeline_gives_them(tmp_path, monkeypatch):
    page = bar_page()
    cv2.imwrite(str(tmp_path / "page.png"), page)
    job = replace(a_job(tmp_path), images=(str(tmp_path / "page.png"),) * 2)
    reader = pipelines.OCR
    monkeypatch.setattr(
        pipelines, "OCR", lambda **_: reader(find_bars, name_colour, characters=NAMES)
    )
    assert sides.record(job) == {"detector": 2, "recogniser": 2, "page": 2}
    arrays = np.load(job.arrays)
    np.testing.assert_array_equal(arrays["page1"], page)
    assert arrays["detector0"].shape[:2] == (1, 3)
    side = sides.pytorch(job)
    lines = sides.measure(side, "page", arrays["page0"], job.clock)["result"]
    assert lines == len(arrays["recogniser0"]) > 0
    heat = find_bars(arrays["detector0"]).max(-1).mean()
    assert sides.measure(side, "detector", arrays["detector0"], job.clock)["result"] == heat


# Networks of document structure


def structure_rows(ours, others, result=1.0):
    rows = {"pytorch": structure.Row(ours, 1.0, 2)}
    return rows | {name: structure.Row(taken, result, 2) for name, taken in others.items()}


@pytest.mark.parametrize(
    ("ours", "onnxruntime", "missed"),
    [([1.0, 2.0, 1.0], [1.1, 2.2, 0.9], False), ([1.0, 2.0, 1.0], [0.9, 1.8, 1.2], True)],
)
def test_targets_of_document_structure(ours, onnxruntime, missed, capsys):
    rows = {"table": structure_rows(ours, {"onnxruntime": onnxruntime}, result=1.01)}
    options = SimpleNamespace(threads=1, rounds=3, clock="cpu")
    assert structure.print_tables(rows, options, {"onnxruntime": "1"}, {}) == missed
    printed = capsys.readouterr().out
    assert ("MISSED" in printed) == missed
    assert "DIFFERS" in printed  # 1 % apart


def test_networks_of_document_structure(tmp_path):
    parser = argparse.ArgumentParser()
    structure.add_options(parser)
    weights = tmp_path / "x.pth"
    for words, message in [
        ([], "give one of --layout, --table, --detector"),
        (["--table", str(weights)], "there is no such file"),
        (["--table-onnx", "x.onnx"], "need --table"),
    ]:
        with pytest.raises((UsageError, SourceError), match=message):
            structure.networks_of(parser.parse_args(words))
    weights.touch()
    (files,) = structure.networks_of(parser.parse_args(["--table", str(weights)])).values()
    assert (files.weights, files.program, files.onnx) == (str(weights), None, None)


def test_a_side_of_document_structure(tmp_path, monkeypatch):
    (tmp_path / "page.png").write_bytes(cv2.imencode(".png", np.zeros((40, 30, 3), np.uint8))[1])
    network = Layout()
    monkeypatch.setattr("pipelines.predictor.as_network", lambda *_, **__: network)
    monkeypatch.setattr(structure_sides, "configure_threads", lambda _: None)  # it lasts
    files = structure_sides.Files("x.pth", str(tmp_path / "page.png"))
    job = structure_sides.Job(1, "process_time", str(tmp_path), {"layout": files})
    assert structure_sides.record(job) == {"layout": 1}
    with np.load(job.arrays) as arrays:
        assert arrays["layout"].shape == (1, 3, 800, 608)
    monkeypatch.setattr("pipelines.runtime.TorchNetwork", lambda _: network)
    (boxes, logits) = structure_sides.pytorch(files, job)(np.zeros((1, 3, 8, 8), np.float32))
    assert structure_sides.fingerprint([boxes, logits]) == pytest.approx(2.0 + 3.0)
    assert structure_sides.onnxruntime.__name__ in structure_sides.SIDES


class Layout:
    """RT-DETR that finds one box."""

    card = {"task": "layout", "labels": ["table"]}

    def __call__(self, _):
        return {"boxes": np.full((1, 1, 4), 0.5, "f"), "logits": np.full((1, 1, 1), 3, "f")}
