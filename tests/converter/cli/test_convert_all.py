"""The command convert-all, from a folder of downloads to the table and the report."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

import architectures
from converter.catalog import cards as catalog
from converter.cli.convert_all import table
from converter.cli.main import main
from converter.reports.write import read_report
from tests.support.checkpoints import CLS, DET, save, weights
from tests.support.many_results import result
from tests.support.paths import ROOT
from tests.support.processes import NamedProcess

CLASSIFIER, DETECTOR = "ch_ppocr_mobile_v2.0_cls", "ch_PP-OCRv2_det"


@pytest.fixture
def root(tmp_path) -> Path:
    """A detector and a classifier as they are downloaded, and something else."""
    root = tmp_path / "downloads"
    (root / "ch_PP-OCRv2_det_distill_train").mkdir(parents=True)
    save(root / "ch_PP-OCRv2_det_distill_train/best_accuracy.pdparams", weights(DET))
    file = save(tmp_path / "best_accuracy.pdparams", weights(CLS))
    with tarfile.open(root / f"{CLASSIFIER}_train.tar", "w") as archive:
        archive.add(file, f"{CLASSIFIER}_train/best_accuracy.pdparams")
    file.rename(root / "my_own.pdparams")
    return root


@pytest.fixture
def command(capsys, monkeypatch, tmp_path):
    """Run the command in this process; its workers are processes of their own."""
    monkeypatch.delenv("PADDLEOCR", raising=False)
    before = signal.getsignal(signal.SIGTERM)

    def command(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        options = ["--out", tmp_path / "new/out", *arguments]
        return main(["convert-all", *map(str, options)]), *capsys.readouterr()

    yield command
    signal.signal(signal.SIGTERM, before)


def test_a_folder_of_downloads(command, root, tmp_path):
    code, said, complaints = command("--paddle-root", root, "--fuse", "--jobs", 2)
    assert (code, complaints) == (0, "")
    lines = said.splitlines()
    assert lines[0].split() == ["model", "status", "reference", "worst", "difference", "time"]
    assert [line.split()[:3] for line in lines[2:4]] == [
        [DETECTOR, "passed", "recorded"],
        [CLASSIFIER, "passed", "recorded"],
    ]
    assert "2 converted, 0 failed" in lines
    assert f"  {root}: not recognised; name it with --map NAME={root}" in lines
    out = tmp_path / "new/out"
    assert {file.name for file in out.iterdir()} == {
        "report", *(f"{name}{end}" for name in (CLASSIFIER, DETECTOR) for end in (".pth", ".json")),
    }  # fmt: skip
    assert architectures.load(out / f"{CLASSIFIER}.pth").form == "fused"
    assert [r.name for r in read_report(out / "report/parity.json")] == [DETECTOR, CLASSIFIER]

    other = ("--map", f"{DETECTOR}={root}/my_own.pdparams")
    code, said, _ = command("--paddle-root", root, "--fuse", *other)
    assert code == 4
    assert f"\n{DETECTOR}: " in said
    assert "1 converted, 1 failed" in said
    assert "not recognised" not in said
    rows = {line.split()[0]: line for line in said.splitlines()[2:4]}
    assert rows[CLASSIFIER].endswith("up to date")
    assert "failed" in rows[DETECTOR]


def test_a_checkpoint_with_its_export(command, root, export, tmp_path):
    """The names of the one, the proof of the other: these are not the same weights."""
    shutil.copytree(export, root / f"{CLASSIFIER}_infer")
    code, said, _ = command("--paddle-root", root, "--only", "cls")
    assert code == 5
    assert f"{CLASSIFIER}: Paddle and PyTorch disagree at backbone" in said
    assert "If they are not of one training, convert only one of them (--map NAME=PATH)" in said
    export_alone = ("--map", f"{CLASSIFIER}={root}/{CLASSIFIER}_infer")
    code, said, _ = command("--paddle-root", root, "--only", "cls", *export_alone)
    assert code == 0
    (result,) = read_report(tmp_path / "new/out/report/parity.json")
    assert result.reference == "program"


def test_what_is_refused_or_ambiguous(command, root):
    slim, reason = next(iter(catalog.refused().items()))
    (root / f"{slim}_infer.tar").touch()
    (root / "PP-DocBee-2B_infer.tar").touch()
    shutil.copytree(root / "ch_PP-OCRv2_det_distill_train", root / f"b/{DETECTOR}_train")
    code, said, _ = command("--paddle-root", root)
    assert code == 2
    assert f"  {slim}: {reason}" in said
    assert "  PP-DocBee-2B: a vision-language model, which becomes a folder" in said
    assert f"{DETECTOR}: found more than once" in said
    assert "1 converted, 1 failed" in said


def test_nothing_to_convert(command, tmp_path):
    (tmp_path / "none").mkdir()
    code, said, complaints = command("--paddle-root", tmp_path / "none")
    assert (code, said) == (2, "")
    assert complaints.startswith("converter convert-all: there is no model to convert in ")
    code, _, complaints = command()
    assert (code, "--paddle-root is missing" in complaints) == (2, True)
    code, _, complaints = command("--paddle-root", tmp_path / "nowhere")
    assert (code, "is not a folder" in complaints) == (3, True)
    code, _, complaints = command("--map", "x=y")
    assert (code, "the path of x in --map, does not exist" in complaints) == (3, True)


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--jobs", "0", "should be a number of processes, not 0"),
        ("--only", "(", "is no regular expression"),
        ("--map", "name", "should read NAME=PATH, not name"),
        ("--download", "all", "invalid choice: 'all'"),
    ],
)
def test_options_that_are_none(command, capsys, option, value, message):
    with pytest.raises(SystemExit, match="2"):
        command(option, value)
    assert message in capsys.readouterr().err


def test_downloads(command, root, server, tmp_path, monkeypatch):
    server.content = (root / f"{CLASSIFIER}_train.tar").read_bytes()
    row = {"release": "test", "train": server.url}
    monkeypatch.setitem(catalog._index()[CLASSIFIER][1]["models"], CLASSIFIER, row)
    arguments = ("--only", CLASSIFIER, "--download", "--cache", tmp_path / "cache")
    code, said, _ = command(*arguments)
    assert (code, "1 converted, 0 failed" in said) == (0, True)
    assert (tmp_path / f"cache/{CLASSIFIER}/model_infer.tar").is_file()
    assert "up to date" in command(*arguments)[1]
    assert len(server.asked) == 1
    shutil.rmtree(tmp_path / "cache")
    server.status = 404
    code, said, _ = command(*arguments)
    assert (code, "0 converted, 1 failed" in said) == (3, True)
    assert f"{CLASSIFIER}: {server.url} is not available (404 Not Found)" in said
    there = command("--paddle-root", root, "--only", CLASSIFIER, "--download")
    assert (there[0], len(server.asked)) == (0, 2)  # what is there is not downloaded


def test_interrupted(root, export, paddle_is, tmp_path):
    """The export is last, being the smallest; its Paddle process hangs."""
    paddle, out = NamedProcess(), tmp_path / "out"
    paddle_is(paddle.source)
    (root / f"{CLASSIFIER}_train.tar").unlink()
    shutil.copytree(export, root / f"{CLASSIFIER}_infer")
    child = subprocess.Popen(
        [sys.executable, "scripts/convert_all.py", "--paddle-root", root, "--out", out],
        cwd=ROOT, env=os.environ | {"PYTHONPATH": f"{ROOT}:{os.environ['PYTHONPATH']}"},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        started = paddle.wait(child)
        os.killpg(child.pid, signal.SIGINT)  # as a terminal does
        said, complaints = child.communicate(timeout=60)
    finally:
        child.kill()
    assert child.returncode == 130
    assert (
        complaints
        == "converter convert-all: interrupted; 1 models are left, run it again to continue\n"
    )
    assert f"{DETECTOR}  passed" in said
    assert [result.name for result in read_report(out / "report/parity.json")] == [DETECTOR]
    assert {file.name for file in out.iterdir()} == {
        f"{DETECTOR}.pth",
        f"{DETECTOR}.json",
        "report",
    }
    with pytest.raises(ProcessLookupError):
        os.kill(started, 0)


def test_warnings_are_printed_with_the_models_name():
    warning = "dictionary table.txt: its first line begins with a byte order mark"
    lines = table([result("some_rec", warnings=(warning,)), result("some_det")])
    assert f"some_rec: warning: {warning}" in lines
    assert not any("some_det: warning" in line for line in lines)
