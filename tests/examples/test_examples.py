"""The example scripts run as the documentation says, with released weights and a small network."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import numpy as np
import pytest

import architectures
from pipelines.recognition.predictor import Recognizer
from tests.support.checkpoints import EXPORTS, fine_tuned
from tests.support.paths import ROOT

PAGE = ROOT / "pipelines" / "samples" / "page.png"


def run(script, *arguments):
    """Run an example in a process of its own and return what it prints."""
    command = [sys.executable, str(ROOT / "examples" / script), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def detector(real_models, tmp_path_factory):
    """The detector, converted by the example; what that prints is returned too."""
    out = tmp_path_factory.mktemp("detector") / "det.pth"
    folder = real_models / EXPORTS["ch_PP-OCRv4_det"]
    printed = run("convert_and_load.py", "ch_PP-OCRv4_det", folder, out, "--reference", "none")
    return out, printed


@pytest.fixture(scope="module")
def recogniser(real_models, tmp_path_factory):
    out = tmp_path_factory.mktemp("recogniser") / "rec.pth"
    folder = real_models / EXPORTS["ch_PP-OCRv4_rec"]
    run("convert_and_load.py", "ch_PP-OCRv4_rec", folder, out, "--reference", "none")
    return out


def test_convert_and_load(detector):
    _, printed = detector
    assert "ch_PP-OCRv4_det: UNVERIFIED, " in printed
    assert printed.endswith("input (1, 3, 320, 320), output (1, 1, 320, 320)\n")


def test_convert_and_load_ends_with_the_code_of_the_conversion(tmp_path):
    command = [sys.executable, str(ROOT / "examples" / "convert_and_load.py")]
    command += ["ch_PP-OCRv4_det", str(tmp_path / "missing"), str(tmp_path / "det.pth")]
    assert subprocess.run(command, cwd=ROOT, capture_output=True, check=False).returncode == 3


def test_read_page(detector, recogniser):
    printed = run("read_page.py", PAGE, "--det", detector[0], "--rec", recogniser)
    lines = [json.loads(row) for row in printed.splitlines()]
    assert "Riverside Library" in [line["text"] for line in lines]
    assert all(set(line) == {"text", "score", "box"} for line in lines)


def test_teach_character(tmp_path, convert):
    """Fine-tuning is a part of it."""
    trained = fine_tuned(tmp_path, characters="LibraryPesR")
    weights, out = tmp_path / "rec.pth", tmp_path / "taught"
    source = ("--config", trained / "train.yml", "--paddle-dir", trained / "best_accuracy.pdparams")
    done = convert("own", *source, "--out", weights, "--reference", "none")
    assert done.code == 0, done.err

    limits = ("--lines", 4, "--epochs", 2, "--learning-rate", 1e-2, "--to", "torchscript")
    printed = run("teach_character.py", weights, "©", "--out", out, *limits)
    losses = [float(row.split()[4].rstrip(",")) for row in re.findall("epoch .*", printed)]
    assert len(losses) == 2
    assert losses[-1] < 0.9 * losses[0]
    assert "0 of 8 held-out lines read" in printed
    assert "14 classes, 1 of them new: '©'" in printed

    wide, tuned = (architectures.load(out / name) for name in ("wide.pth", "tuned.pth"))
    assert wide.card.dictionary.characters == (*"LibraryPesR© ",)
    before, after = (network.head.fc.weight.detach() for network in (wide, tuned))
    assert not np.allclose(before, after)
    card = json.loads((out / "fused.json").read_text(encoding="utf-8"))
    assert (card["status"], card["form"], card["parity"]) == ("UNVERIFIED", "fused", None)
    names = [entry["file"] for entry in card["derived_from"]]
    assert names == ["tuned.pth", "wide.pth", "rec.pth"]
    image = np.random.default_rng(0).integers(0, 255, (32, 100, 3), np.uint8)
    assert Recognizer(out / "tuned.pth")([image])
    assert (out / "fused.torchscript.pt").is_file()
