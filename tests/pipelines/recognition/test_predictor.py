"""From the columns of probabilities to characters, and from lines to readings."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from pipelines.recognition.postprocess import ctc_decode
from pipelines.recognition.predictor import Recognizer


def blank_line(width, height=48, grey=255):
    return np.full((height, width, 3), grey, np.uint8)


def columns(text, characters, probability=0.75):
    """Probabilities whose best classes spell `text`, "-" being the blank."""
    rows = np.full((len(text), 1 + len(characters)), 0.01, np.float32)
    for row, character in zip(rows, text, strict=True):
        row[0 if character == "-" else 1 + characters.index(character)] = probability
    return rows


@pytest.mark.parametrize(
    ("spelt", "text"),
    [
        ("abc", "abc"),
        ("aabbcc", "abc"),
        ("a-a", "aa"),
        ("--a--a a--", "aa a"),
        ("aa-ab-bb", "aabb"),
        ("a", "a"),
        ("---", ""),
        ("-", ""),
    ],
)
def test_ctc_by_hand(spelt, text):
    reading = ctc_decode(columns(spelt, "abc "), "abc ")
    assert reading.text == text
    assert reading.score == pytest.approx(0.75 if text else 0)


def test_scores_and_columns_of_characters():
    rows = columns("aa-b-", "ab")
    rows[0, 1], rows[1, 1], rows[3, 2], rows[4, 0] = 0.5, 0.9, 0.75, 0.99
    reading = ctc_decode(rows, "ab", width_ratio=0.5)
    assert reading.score == 0.625
    assert [(c.text, c.score, c.column) for c in reading.characters] == [
        ("a", 0.5, 0), ("b", 0.75, 3),
    ]  # fmt: skip
    assert reading.columns == 2.5


@given(
    arrays.arrays(
        np.float32, st.tuples(st.integers(1, 30), st.just(5)), elements=st.floats(0, 1, width=32)
    )
)
def test_ctc_against_an_oracle(rows):
    text, kept, previous = "", [], 0
    for row in rows.tolist():
        best = row.index(max(row))
        if best not in (0, previous):
            text += "-wxyz"[best]
            kept.append(row[best])
        previous = best
    reading = ctc_decode(rows, "wxyz")
    assert reading.text == text
    assert [character.score for character in reading.characters] == kept
    assert reading.score == pytest.approx(np.mean(kept) if kept else 0, abs=1e-6)


def test_the_alphabet_may_hold_longer_strings():
    assert ctc_decode(columns("ab", "ab"), ["ch", " "]).text == "ch "


def test_what_is_read_from_the_right():
    reading = ctc_decode(columns("1.5 xyz", "1.5 xyz"), "1.5 \u0621\u0622\u0623",
                         right_to_left=True)  # fmt: skip
    assert reading.text == "\u0623\u0622\u06211.5 "
    assert [character.column for character in reading.characters] == [6, 5, 4, 0, 1, 2, 3]


def test_results_come_in_the_order_of_the_lines():
    lines = [blank_line(width, grey=width // 10) for width in (400, 100, 900, 300, 200, 50, 600)]
    shapes = []

    def grey_level(batch):
        shapes.append(batch.shape)
        levels = np.round((batch[:, 0, 0, 0] + 1) / 2 * 255).astype(int)
        answer = np.zeros((len(batch), 4, 101), np.float32)
        answer[np.arange(len(batch)), :, levels] = 0.5
        return answer

    characters = [f"<{level}>" for level in range(1, 101)]
    results = Recognizer(grey_level, characters)(lines)
    assert [reading.text for reading in results] == [f"<{w}>" for w in (40, 10, 90, 30, 20, 5, 60)]
    assert {reading.score for reading in results} == {0.5}
    assert shapes == [(6, 3, 48, 600), (1, 3, 48, 900)]
    assert [round(reading.columns, 9) for reading in results] == [
        round(4 * width / (900 if width == 900 else 600), 9)
        for width in (400, 100, 900, 300, 200, 50, 600)
    ]


def seen_by(lines, **changes):
    """The batches that a recogniser's network is given."""
    batches = []

    def network(batch):
        batches.append(batch)
        return np.zeros((len(batch), 40, 3), np.float32)

    assert {reading.text for reading in Recognizer(network, "ab", **changes)(lines)} <= {""}
    return batches


def test_a_batch_is_at_least_320_wide():
    assert [batch.shape for batch in seen_by([blank_line(20)])] == [(1, 3, 48, 320)]
    assert [batch.shape for batch in seen_by([blank_line(20)], height=32)] == [(1, 3, 32, 320)]
    assert seen_by([]) == []


@pytest.mark.parametrize("shape", [(1, 1), (1, 30000), (30000, 1), (48, 4000)])
def test_lines_of_every_shape(shape):
    (batch,) = seen_by([blank_line(shape[1], shape[0])])
    assert batch.shape[:3] == (1, 3, 48)
    assert 320 <= batch.shape[3] <= 3200
    assert batch.max() == 1


def test_very_long_lines_are_squeezed():
    # As OCRReisizeNormImg of PaddleX 3.7.2 does, whose limit is 3200.
    line = np.repeat(np.arange(0, 250, dtype=np.uint8)[None, :, None], 3, 2).repeat(32, 1)[[0] * 48]
    assert line.shape == (48, 8000, 3)
    (batch,) = seen_by([line, blank_line(1600)])
    assert batch.shape == (2, 3, 48, 3200)
    middle, end = 125 / 127.5 - 1, 249 / 127.5 - 1
    np.testing.assert_allclose(batch[1, 0, 0, [0, 1600, 3199]], [-1, middle, end], atol=0.01)
    assert batch[0, 0, 0, 1599] == 1
    assert batch[0, 0, 0, 1600] == 0


def test_columns_of_a_squeezed_line():
    def network(batch):
        return np.zeros((len(batch), batch.shape[3] // 8, 3), np.float32)

    readings = Recognizer(network, "ab")([blank_line(8000), blank_line(1600)])
    assert [reading.columns for reading in readings] == pytest.approx([400, 200])


def test_a_dictionary_of_another_length():
    recognizer = Recognizer(lambda batch: np.zeros((len(batch), 40, 7), np.float32), "abc")
    with pytest.raises(ValueError, match="7 classes, but 3 characters and the blank make 4"):
        recognizer([blank_line(20)])


@pytest.mark.parametrize("shape", [(1, 4), (2, 40, 4), (1, 1, 32, 4)])
def test_a_recogniser_of_other_shape(shape):
    recognizer = Recognizer(lambda _: np.zeros(shape, np.float32), "abc")
    with pytest.raises(ValueError, match="CTC"):
        recognizer([blank_line(20)])


@pytest.mark.parametrize(
    "outputs",
    [
        {"ctc": np.zeros((1, 40, 4)), "sar": np.zeros((1, 40, 5))},
        np.zeros(5),
        np.zeros((26, 2, 4)),
    ],
)
@pytest.mark.parametrize("decoder", ["CTCLabelDecode", "VLLabelDecode"])
def test_outputs_of_other_networks(decoder, outputs):
    recognizer = Recognizer(lambda _: outputs, "abc", decoder=decoder)
    if decoder == "VLLabelDecode" and isinstance(outputs, dict):
        outputs = {**outputs, "ctc": np.zeros((40, 3, 4))}  # of three lines
    with pytest.raises(ValueError, match="is this a recognition network of"):
        recognizer([blank_line(20)])


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("decoder", ["CTCLabelDecode", "NRTRLabelDecode", "VLLabelDecode"])
def test_outputs_that_are_no_numbers(decoder, value):
    # The best class of NaN is the first one, the blank: the line would read as empty.
    outputs = np.zeros((1, 40, 4), np.float32)
    outputs[0, 3, 1] = value
    recognizer = Recognizer(lambda _: outputs, "abc", decoder=decoder)
    with pytest.raises(ValueError, match=r"the recogniser returned values that are not finite"):
        recognizer([blank_line(20)])
