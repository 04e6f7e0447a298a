"""Every exit code but 0: what is said, and that nothing is written."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable

import pytest

import architectures
from converter.conversion import steps as run
from tests.support.checkpoints import CLS, DET, fine_tuned, save, weights
from tests.support.paths import ROOT
from tests.support.processes import NamedProcess

CLASSIFIER = "ch_ppocr_mobile_v2.0_cls"
LITE = "en_number_mobile_v2.0_rec"


@pytest.fixture
def refused(convert, tmp_path) -> Callable[..., str]:
    """Run the command line, expect an exit code and nothing written; return what was said."""
    out = tmp_path / "refused"
    out.mkdir()

    def refused(code: int, *arguments: object) -> str:
        done = convert(*arguments, *([] if "--out" in arguments else ["--out", out / "x.pth"]))
        assert done.code == code, done
        assert done.out == ""
        assert "Traceback" not in done.err
        assert list(out.iterdir()) == []
        return done.err

    return refused


# 2: usage.


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "NAME is missing; see --help"),
        ([CLASSIFIER], "--paddle-dir is missing"),
        (["x", "--paddle-dir", "."], "there is no model 'x'"),
        (["ch_PP-OCRv4_rek", "--paddle-dir", "."], "the nearest are ch_PP-OCRv4_rec, "),
        ([CLASSIFIER, "--paddle-dir", ".", "--out", "x.bin"], "should end in .pth or .safetensors"),
        ([CLASSIFIER, "--paddle-dir", ".", "--out", "none/x.pth"], "create it first"),
        ([CLASSIFIER, "--paddle-dir", ".", "--dict", "x.txt"], "--dict has no place here"),
        ([LITE, "--paddle-dir", ".", "--dict", "none.txt"], "cannot read the dictionary none.txt"),
        ([LITE, "--paddle-dir", ".", "--config", "none.yml"], "cannot read none.yml"),
        ([CLASSIFIER, "--paddle-dir", ".", "--report", "none/r.json"], "does not exist; create it"),
        ([CLASSIFIER, "--paddle-dir", ".", "--out", "x.pth", "--report", "x.json"],
         "would replace the artefact's own file"),
    ],
)  # fmt: skip
def test_usage(refused, arguments, message):
    error = refused(2, *arguments)
    assert error.startswith("converter: ")
    assert message in error


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--tolerance", "0", "should be a number between 0 and 1, not 0"),
        ("--tolerance", "1", "should be a number between 0 and 1, not 1"),
        ("--tolerance", "-1e-4", "expected one argument"),
        ("--tolerance", "nan", "should be a number between 0 and 1, not nan"),
        ("--tolerance", "tight", "should be a number between 0 and 1, not tight"),
        ("--format", "onnx", "invalid choice: 'onnx'"),
        ("--reference", "luck", "invalid choice: 'luck'"),
        ("--unknown", "1", "unrecognized arguments: --unknown 1"),
    ],
)
def test_options_that_are_none(refused, option, value, message):
    assert message in refused(2, CLASSIFIER, "--paddle-dir", ".", option, value)


def test_a_dictionary_that_does_not_fit(refused, tmp_path):
    folder = fine_tuned(tmp_path, "abcdef")
    error = refused(2, LITE, "--paddle-dir", folder)
    assert "with the blank 96 classes, with a space too 97; the weights have 8" in error
    assert "--dict" in error


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"Backbone": {"name": "ViT"}}, "my_own cannot be built: unknown Backbone 'ViT'"),
        ({"Neck": {"name": "SequenceEncoder", "encoder_type": "rnn", "hidden": 48}},
         "my_own cannot be built: SequenceEncoder does not take hidden; "),
        ({"Neck": {"name": "SequenceEncoder", "encoder_type": "rnn", "hidden_size": "48"}},
         "my_own cannot be built: "),
        ({"Head": {"name": "AttentionHead"}}, "no mapping is known"),
    ],
)  # fmt: skip
def test_a_network_that_is_not_known(refused, tmp_path, sections, message):
    folder = fine_tuned(tmp_path, **sections)
    arguments = ("--config", folder / "train.yml", "--paddle-dir", folder)
    assert message in refused(2, "my_own", *arguments)


# 3: sources.


def test_sources_that_cannot_be_read(refused, classifier, tmp_path):
    arguments = (CLASSIFIER, "--paddle-dir")
    assert "does not exist" in refused(3, *arguments, tmp_path / "none")
    (tmp_path / "empty").mkdir()
    assert "holds no Paddle model; found nothing" in refused(3, *arguments, tmp_path / "empty")
    data = classifier.read_bytes()
    classifier.write_bytes(data[: len(data) // 2])
    assert str(classifier) in refused(3, *arguments, classifier)


def test_a_pickle_that_would_run_something(refused, tmp_path):
    class Evil:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path}/ran",)

    file = save(tmp_path / "evil.pdparams", weights(CLS) | {"head.fc.bias": Evil()})
    assert "system" in refused(3, CLASSIFIER, "--paddle-dir", file)
    assert not (tmp_path / "ran").exists()


# 4: plans.


def test_weights_of_another_model(refused, real_models, tmp_path):
    file = save(tmp_path / "best_accuracy.pdparams", weights(DET))
    error = refused(4, CLASSIFIER, "--paddle-dir", file)
    assert "has no head.fc.bias" in error
    error = refused(4, "ch_PP-OCRv2_det", "--paddle-dir", real_models / "ch_PP-OCRv4_det_infer")
    assert "program and network are different networks" in error


def test_a_tensor_too_few_and_one_too_many(refused, tmp_path):
    tensors = weights(CLS)
    tensors["head.extra.weight"] = tensors.pop("head.fc.weight")
    error = refused(4, CLASSIFIER, "--paddle-dir", save(tmp_path / "x.pdparams", tensors))
    assert "head.fc.weight" in error
    assert "head.extra.weight" in error


# 5: parity.


def test_weights_that_are_not_the_programs(convert, export, classifier, tmp_path):
    """Names and network come from the checkpoint; the program beside it is of another model."""
    folder, out = tmp_path / "both", tmp_path / "x.pth"
    shutil.copytree(export, folder)
    shutil.copy(classifier, folder)
    report = tmp_path / "report.json"
    arguments = (CLASSIFIER, "--paddle-dir", folder, "--out", out, "--report", report)
    done = convert(*arguments)
    assert (done.code, done.out) == (5, "")
    assert "Paddle and PyTorch disagree at backbone" in done.err
    assert "the first layer that differs is conv backbone.conv1.conv (conv2d_0.w_0" in done.err
    assert "\nlikely cause: unknown: none of " in done.err
    assert "\nNothing was written. `python -m converter diagnose`" in done.err
    assert not out.exists()
    content = json.loads(report.read_text())
    assert (content["status"], content["model"]) == ("failed", CLASSIFIER)
    assert content["first_difference"].startswith("conv backbone.conv1.conv ")
    assert "Traceback" not in done.err
    assert "Traceback" in convert(*arguments, "-v").err


def test_a_tolerance_that_nothing_meets(refused, classifier):
    error = refused(5, CLASSIFIER, "--paddle-dir", classifier, "--tolerance", "1e-9")
    assert "the limit is 1e-09" in error


# 6: references.


def test_references_that_are_not_there(refused, classifier, export, tmp_path):
    arguments = (CLASSIFIER, "--paddle-dir", classifier, "--reference")
    assert "holds no exported program" in refused(6, *arguments, "program")
    assert "give the PaddleOCR checkout with --paddleocr" in refused(6, *arguments, "network")
    error = refused(6, *arguments, "network", "--paddleocr", tmp_path)
    assert "is no PaddleOCR checkout" in error
    network = ("--reference", "network", "--paddleocr", tmp_path)
    assert "holds no checkpoint" in refused(6, CLASSIFIER, "--paddle-dir", export, *network)


@pytest.mark.parametrize("option", [True, False])
def test_a_checkout_by_option_or_by_environment(refused, monkeypatch, classifier, tmp_path, option):
    if not option:
        monkeypatch.setenv("PADDLEOCR", str(tmp_path / "elsewhere"))
    arguments = ("--paddleocr", tmp_path / "elsewhere") if option else ()
    error = refused(6, CLASSIFIER, "--paddle-dir", classifier, *arguments)
    assert f"{tmp_path}/elsewhere is no PaddleOCR checkout" in error


def test_no_record_of_another_network(refused, tmp_path):
    strides = {"name": "MobileNetV3", "scale": 0.5, "model_name": "small",
               "small_stride": [1, 2, 2, 1]}  # fmt: skip
    folder = fine_tuned(tmp_path, Backbone=strides)
    error = refused(6, "my_own", "--config", folder / "train.yml", "--paddle-dir", folder)
    assert "nothing to compare my_own with" in error
    assert "--reference none" in error


def test_paddle_is_missing(refused, export, paddle_is):
    paddle_is("raise ImportError('No module named paddle')")
    error = refused(6, CLASSIFIER, "--paddle-dir", export)
    assert "install paddlepaddle" in error
    assert "--reference recorded" in error


def test_an_export_without_paddle(convert, export, paddle_is, tmp_path):
    """By the record, as that message advises."""
    paddle_is("raise ImportError")
    out = tmp_path / "x.pth"
    done = convert(CLASSIFIER, "--paddle-dir", export, "--out", out, "--reference", "recorded")
    assert done.code == 0
    assert architectures.load(out).form == "deploy"


# 130: interrupted.


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted(export, paddle_is, tmp_path, number):
    out, paddle = tmp_path / "out", NamedProcess()
    out.mkdir()
    paddle_is(paddle.source)
    arguments = [CLASSIFIER, "--paddle-dir", export, "--out", out / "x.pth"]
    child = subprocess.Popen(
        [sys.executable, "-m", "converter", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        started = paddle.wait(child)
        child.send_signal(number)
        said = child.communicate(timeout=60)
    finally:
        child.kill()
    assert said == ("", "converter: interrupted, nothing was written\n")
    assert child.returncode == 130
    assert list(out.iterdir()) == []
    with pytest.raises(ProcessLookupError):
        os.kill(started, 0)


def test_interrupted_while_writing(convert, classifier, tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "write_artefact", interrupt)
    done = convert(CLASSIFIER, "--paddle-dir", classifier, "--out", tmp_path / "x.pth")
    assert (done.code, done.err) == (130, "converter: interrupted, nothing was written\n")
