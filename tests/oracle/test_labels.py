"""Reading what networks answer, against PaddleOCR's label decoders: the same texts and scores."""

from __future__ import annotations

import json
import math
import subprocess
import sys

import numpy as np
import pytest

from pipelines.recognition.postprocess import (
    DECODING_RULES,
    can_decode,
    decode_autoregressive,
    visionlan_decode,
)
from schemas.processing import TABLE_DECODERS
from schemas.special_tokens import CLASSES
from tests.oracle.paddleocr_source import load
from tests.support.paths import SUPPORT

# Of a text that is empty PaddleOCR takes the mean.
pytestmark = pytest.mark.filterwarnings("ignore:Mean of empty slice", "ignore:invalid value")

POSTPROCESS = "ppocr/postprocess/rec_postprocess.py"
TABLE = [*"0aZ .^-中é"]
STEPS, LINES = 12, 7
# How a network hands over its scores where it does not return them as they are.
WRAPPED = {
    "RFLLabelDecode": lambda scores: ([0], scores),
    "SRNLabelDecode": lambda scores: {"predict": scores.reshape(-1, scores.shape[2])},
    "SEEDLabelDecode": lambda scores: {
        "embedding_vectors": scores[:, 0],
        "rec_pred": scores.argmax(2),
        "rec_pred_scores": scores.max(2),
    },
    "NRTRLabelDecode": lambda scores: (scores.argmax(2), scores.max(2)),
}


def decoder(name, table, folder, **options):
    file = folder / "dict.txt"
    file.write_text("".join(f"{line}\n" for line in table), encoding="utf-8")
    kind = getattr(load("paddleocr", POSTPROCESS), name)
    return kind(str(file), use_space_char=False, **options)


def answers(name, seed, count=LINES):
    """Scores of few values, so that many are equal, and of steps that repeat."""
    random = np.random.RandomState(seed)
    layout = CLASSES[name]
    classes = layout.scores(len(TABLE))
    scores = random.randint(0, 5, (count, STEPS, classes)) / np.float32(5)
    if seed % 2:  # every class is the best somewhere, and none wins often
        scores += random.uniform(size=scores.shape).astype(np.float32)
    again = np.flatnonzero(random.uniform(size=STEPS) < 0.3)
    scores[:, again] = scores[:, again - 1]
    return scores.astype(np.float32)


def ours(theirs):
    """Several results, as our networks name them: by what PaddleOCR calls them, or in its order."""
    return dict(enumerate(theirs)) if isinstance(theirs, tuple) else theirs


def same(readings, expected):
    assert len(readings) == len(expected)
    for reading, (text, score) in zip(readings, expected, strict=True):
        assert reading.text == text
        assert reading.score == (0.0 if math.isnan(score) else score)


@pytest.mark.parametrize("name", DECODING_RULES)
def test_spelling(tmp_path, name):
    decode = decoder(name, TABLE, tmp_path, max_text_length=STEPS)
    lengths = set()
    for seed in range(30):
        given = WRAPPED.get(name, lambda scores: scores)(answers(name, seed))
        readings = decode_autoregressive(name, ours(given), LINES, TABLE)
        same(readings, decode(given))
        lengths |= {len(reading.text) for reading in readings}
    assert len(lengths) > 5


@pytest.mark.parametrize("name", [name for name in CLASSES if name not in TABLE_DECODERS])
def test_classes(tmp_path, name):
    assert list(CLASSES[name].names(TABLE)) == decoder(name, TABLE, tmp_path).character


@pytest.mark.parametrize("name", ["SARLabelDecode", "SATRNLabelDecode"])
def test_without_symbols(tmp_path, name):
    decode = decoder(name, TABLE, tmp_path, rm_symbol=True)
    for seed in range(20):
        scores = answers(name, seed)
        readings = decode_autoregressive(name, scores, LINES, TABLE, rm_symbol=True)
        same(readings, decode(scores))
        assert all("".join(c.text for c in r.characters) == r.text for r in readings)


def test_nrtr_that_spells_out_where_it_starts(tmp_path):
    decode = decoder("NRTRLabelDecode", TABLE, tmp_path)
    for first in (2, 3):
        classes = np.array([[first, 5, 6, 99, 3, 7], [0, 1, 5, 5, 3, 3]])
        scores = np.linspace(0, 1, 12, dtype=np.float32).reshape(2, 6)
        readings = decode_autoregressive(
            "NRTRLabelDecode", {"ids": classes, "scores": scores}, 2, TABLE
        )
        same(readings, decode((classes, scores)))


def test_a_text_that_is_empty():
    end = np.eye(1 + len(TABLE), dtype=np.float32)[None, [0, 0]]
    (reading,) = decode_autoregressive("CPPDLabelDecode", end, 1, TABLE)
    assert (reading.text, reading.score, reading.characters) == ("", 0.0, ())


def test_a_network_that_only_counts():
    with pytest.raises(ValueError, match="only counts the characters of a line"):
        decode_autoregressive("RFLLabelDecode", np.ones((2, 38), np.float32), 2, TABLE)


def test_visionlan(tmp_path):
    random = np.random.RandomState(0)
    shapes = [(12, 5), (2, 1), (26, 9)]
    cases = [random.normal(0, 3, (*s, 1 + len(TABLE))).astype(np.float32) for s in shapes]
    cases[0][:, 0, 0] = -9  # no end
    cases[0][0, 1, 0] = 20  # nothing but the end
    np.savez(tmp_path / "cases.npz", *cases)
    decoder("VLLabelDecode", TABLE, tmp_path)
    module = load("paddleocr", POSTPROCESS).__file__
    child = SUPPORT / "visionlan_child.py"
    done = subprocess.run(
        [sys.executable, child, tmp_path / "cases.npz", tmp_path / "dict.txt", module],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    for case, expected in zip(cases, json.loads(done.stdout.splitlines()[-1]), strict=True):
        for line, (text, score) in enumerate(expected):
            reading = visionlan_decode(case[:, line], TABLE)
            assert reading.text == text
            assert reading.score == pytest.approx(score, rel=1e-5)


def test_can(tmp_path):
    decode = decoder("CANLabelDecode", ["eos", "sos", "\\frac", "{", "x"], tmp_path)
    random = np.random.RandomState(0)
    for _ in range(20):
        scores = random.uniform(size=(3, 9, 5)).astype(np.float32)
        scores[0, :, 0] = -1  # no end
        expected = decode((scores, None, None, None))
        assert [can_decode(s, decode.character) for s in scores] == [text for text, _ in expected]
