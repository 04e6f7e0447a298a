"""`python -m pipelines recognize`, `formula` and `upscale`, with networks that know the answer."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from pipelines import FormulaReader, Upscaler
from pipelines.recognition.predictor import Recognizer
from schemas.processing import SettingsError
from schemas.special_tokens import CLASSES
from tests.support.cli_runs import files, folder, run

__all__ = ["folder", "run"]  # fixtures

SYMBOLS = ["eos", "sos", "\\frac", "x", "y"]
TOKENIZER = {
    "version": "1.0", "added_tokens": [
        {"id": k, "content": name, "special": True, "single_word": False, "lstrip": False,
         "rstrip": False, "normalized": False} for k, name in enumerate(("<s>", "<pad>", "</s>"))],
    "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True,
                "use_regex": True},
    "model": {"type": "BPE", "vocab": {"<s>": 0, "<pad>": 1, "</s>": 2, "x": 3, "Ġ+": 4},
              "merges": []},
}  # fmt: skip


class Network:
    """Returns what it is made with; `card` is what its weights say."""

    def __init__(self, answers, extra_inputs=(), **card):
        self.answers, self.extra_inputs, self.card = answers, extra_inputs, card

    def __call__(self, batch, **given):
        self.given = {"image": batch, **given}
        return self.answers


def spelled(name, classes, count):
    """Scores, 0.75 for each of the classes in turn."""
    scores = np.full((1, len(classes), CLASSES[name].scores(count)), 0.1, np.float32)
    scores[0, range(len(classes)), classes] = 0.75
    return scores


@pytest.fixture
def command(run, monkeypatch, tmp_path):
    """Run a command with a network on an image of 100 x 40 pixels."""
    image = np.full((40, 100, 3), 255, np.uint8)
    image[10:30, 20:80] = (200, 100, 0)
    cv2.imwrite(str(tmp_path / "line.png"), image)

    def command(name, network, *words):
        monkeypatch.setattr("pipelines.predictor.as_network", lambda *_, **__: network)
        return run(name, tmp_path / "line.png", "--weights", "x.pth", *words)

    return command


def card(decoder="SARLabelDecode", **pipeline):
    pipeline = {"decoder": decoder, **pipeline}
    return {"task": "rec", "pipeline": pipeline, "dictionary": {"characters": ["a", "b"]}}


def sar():
    scores = spelled("SARLabelDecode", [0, 1, 3, 0], 2)
    settings = {"resize": "SARRecResizeImg", "width": 48, "max_width": 160}
    return Network(scores, ("valid_ratio",), **card(**settings))


def test_a_line(command):
    network = sar()
    done = command("recognize", network)
    assert (done.code, done.out, done.err) == (0, "ab\n", "")
    assert network.given["image"].shape == (1, 3, 48, 160)
    assert network.given["valid_ratio"].tolist() == [0.75]


def test_a_line_with_its_score_and_place(command):
    (page,) = json.loads(command("recognize", sar(), "--format", "json").out)["pages"]
    frame = [[0, 0], [100, 0], [100, 40], [0, 40]]
    assert page["lines"] == [{"text": "ab", "score": 0.75, "box": frame}]
    assert command("recognize", sar(), "--min-score", "0.8").out == ""


def test_a_line_of_other_classes(command):
    network = Network(np.zeros((1, 3, 9), np.float32), **card("ABINetLabelDecode"))
    done = command("recognize", network)
    assert done.code == 2
    assert "9 classes, but 2 characters and the </s> make 3" in done.err


def formula(**pipeline):
    tokens = np.array([[0, 3, 4, 3, 2, 4]])
    return Network(
        tokens, task="formula", pipeline=pipeline, dictionary={"tokenizer": TOKENIZER}
    )  # fmt: skip


def test_a_formula(command):
    network = formula(height=64, width=96)
    done = command("formula", network)
    assert (done.code, done.out, done.err) == (0, "x+x\n", "")
    assert network.given["image"].shape == (1, 1, 64, 96)
    (page,) = json.loads(command("formula", network, "--format", "json").out)["pages"]
    assert [line["text"] for line in page["lines"]] == ["x+x"]


def test_a_formula_by_hand(command):
    network = Network(
        {"prediction": np.eye(5)[None, [2, 3, 4, 0]], "counts": np.zeros((1, 5))},
        ("image_mask",),
        task="formula",
        pipeline={"decoder": "CANLabelDecode", "resize": "GrayImageChannelFormat"},
        dictionary={"characters": SYMBOLS},
    )
    assert command("formula", network).out == "\\frac x y\n"
    assert network.given["image"].shape == network.given["image_mask"].shape == (1, 1, 40, 100)


def test_a_page_without_a_formula(command, tmp_path):
    network = formula(decoder="LaTeXOCRDecode", resize="MinMaxResize")
    cv2.imwrite(str(tmp_path / "line.png"), np.full((9, 9, 3), 255, np.uint8))
    done = command("formula", network)
    assert done.code == 3
    assert "line.png: the image has one colour, so there is no formula in it" in done.err


def test_a_larger_line(command, folder):
    network = Network({"sr_img": np.full((1, 3, 32, 128), 2.0)}, task="sr")
    done = command("upscale", network, "--out", folder / "out")
    assert (done.code, done.out, done.err) == (0, "", "")
    assert files(folder / "out") == ["line.png"]
    drawn = cv2.imread(str(folder / "out" / "line.png"))
    assert drawn.shape == (32, 128, 3)
    assert (drawn == 255).all()
    assert "give the folder for them with --out DIR" in command("upscale", network).err


@pytest.mark.parametrize(
    ("make", "network", "message"),
    [
        (FormulaReader, Network(None, task="rec"), "is not a network that reads formulas"),
        (FormulaReader, Network(None, task="formula"), "has no dictionary, which"),
        (Recognizer, Network(None, **card("CANLabelDecode")), "decoder is 'CANLabelDecode', expec"),
        (Upscaler, Network(None, task="det"), "is not a network of super-resolution"),
        (lambda network: FormulaReader(network, height=0), formula(), "height is 0, expected a wh"),
        (lambda network: FormulaReader(network, sides=0), formula(), "there is no setting sides"),
        (FormulaReader, Network(None, task="formula", dictionary={"tokenizer": {"model": 1}}),
         "the dictionary is no tokenizer"),
    ],
)  # fmt: skip
def test_what_does_not_fit(make, network, message):
    with pytest.raises(SettingsError, match=message):
        make(network)


def test_results_that_do_not_fit():
    image = np.arange(300, dtype=np.uint8).reshape(10, 10, 3)
    network = formula()
    network.answers = np.zeros((2, 5), int)
    with pytest.raises(ValueError, match=r"shape \(2, 5\), expected one formula in 2 dimensions"):
        FormulaReader(network)(image)
    with pytest.raises(ValueError, match=r"no sr_img of shape \(1, 3, 32, 128\)"):
        Upscaler(Network(np.zeros((1, 3, 32, 128))))(image)


def test_libraries_that_are_missing(monkeypatch):
    monkeypatch.setattr("pipelines.formula.postprocess.find_spec", lambda name: name == "ftfy")
    with pytest.raises(SettingsError, match=r"need tokenizers; pip install .*\[formula\]"):
        FormulaReader(formula())


def test_right_to_left_replaces_what_the_weights_state(command):
    first, second = "\u0627", "\u0628"  # of the Arabic script; Latin letters keep their order

    def read(stated, *words):
        known = card("CTCLabelDecode", right_to_left=stated)
        known["dictionary"] = {"characters": [first, second]}
        scores = spelled("CTCLabelDecode", [1, 2], 2)
        return command("recognize", Network(scores, **known), *words).out.strip()

    assert read(False) == read(True, "--no-right-to-left") == first + second
    assert read(True) == read(False, "--right-to-left") == second + first
