"""The example scripts run as the documentation says, with released weights and a small network."""

from __future__ import annotations

import json
import subprocess
import sys

import cv2
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


def test_fine_tune(tmp_path, convert):
    trained = fine_tuned(tmp_path, characters="abcxyz")
    weights = tmp_path / "rec.pth"
    source = ("--config", trained / "train.yml", "--paddle-dir", trained / "best_accuracy.pdparams")
    done = convert("own", *source, "--out", weights, "--reference", "none")
    assert done.code == 0, done.err
    image = np.random.default_rng(0).integers(0, 255, (32, 100, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "line.png"), image)
    (tmp_path / "labels.txt").write_text("line.png\tabz\nline.png\tabz\n", encoding="utf-8")

    out = tmp_path / "tuned.pth"
    options = ("--epochs", 4, "--learning-rate", 1e-3)
    printed = run("fine_tune.py", weights, tmp_path / "labels.txt", "--out", out, *options)
    losses = [float(row.rpartition(" ")[2]) for row in printed.splitlines()[:-1]]
    assert len(losses) == 4
    assert losses[-1] < 0.9 * losses[0]

    before, after = (architectures.load(file).state_dict() for file in (weights, out))
    assert not np.allclose(before["head.fc.weight"].numpy(), after["head.fc.weight"].numpy())
    card = json.loads(out.with_suffix(".json").read_text(encoding="utf-8"))
    assert (card["status"], card["parity"]) == ("UNVERIFIED", None)
    origin = json.loads(weights.with_suffix(".json").read_text(encoding="utf-8"))
    assert [entry["sha256"] for entry in card["derived_from"]] == [origin["weights"]["sha256"]]
    assert Recognizer(out)([image])
