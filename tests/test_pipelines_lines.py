"""Cropping, reading order, batches of lines, direction, recognition."""

import itertools

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from pipelines.classification import Classifier
from pipelines.cropping import crop, reading_order
from pipelines.lines import by_width, stack
from pipelines.recognition import Recognizer, ctc_decode


def box_at(left, top, width=100, height=20):
    return np.array(
        [[left, top], [left + width, top], [left + width, top + height], [left, top + height]],
        np.float32,
    )


def corners(boxes):
    return [tuple(map(int, box[0])) for box in boxes]


# Cropping


def gradient(height=300, width=400):
    """An image whose blue counts columns and whose green counts rows, half a level a pixel."""
    y, x = np.mgrid[0:height, 0:width] / 2
    return np.dstack([x, y, np.zeros_like(x)]).round().astype(np.uint8)


def test_an_upright_crop_is_a_slice():
    image = np.random.RandomState(0).randint(0, 256, (300, 400, 3)).astype(np.uint8)
    np.testing.assert_array_equal(crop(image, box_at(50, 60)), image[60:80, 50:150])


@pytest.mark.parametrize("degrees", [-30, -10, 10, 30])
def test_a_rotated_crop_is_straight(degrees):
    page = np.full((300, 400, 3), 255, np.uint8)
    page[140:160, 100:300] = (0, 0, 255)
    page[140:160, 100:200] = (255, 0, 0)
    turn = cv2.getRotationMatrix2D((200, 150), degrees, 1)
    turned = cv2.warpAffine(page, turn, (400, 300), borderValue=(255, 255, 255))
    box = (box_at(100, 140, 200, 20) @ turn[:, :2].T + turn[:, 2]).astype(np.float32)
    line = crop(turned, box)
    assert abs(line.shape[0] - 20) <= 1
    assert abs(line.shape[1] - 200) <= 1
    assert np.abs(line[3:17, 3:96].astype(int) - (255, 0, 0)).max() < 40
    assert np.abs(line[3:17, 104:196].astype(int) - (0, 0, 255)).max() < 40


def test_unequal_sides_give_the_longer():
    box = np.array([[50, 50], [150, 50], [170, 80], [50, 70]], np.float32)
    assert crop(gradient(), box).shape == (36, 120, 3)


@pytest.mark.parametrize(("height", "shape"), [(149, (149, 100)), (150, (100, 150))])
def test_tall_crops_are_turned_to_the_left(height, shape):
    image = gradient()
    line = crop(image, box_at(20, 30, 100, height))
    assert line.shape[:2] == shape
    assert line.flags.c_contiguous
    slice_ = image[30 : 30 + height, 20:120]
    np.testing.assert_array_equal(line, slice_ if height < 150 else np.rot90(slice_))


# Reading order


def test_reading_order_from_top_to_bottom_then_left_to_right():
    boxes = [box_at(300, 101), box_at(10, 200), box_at(10, 109), box_at(150, 105), box_at(5, 5)]
    expected = [(5, 5), (10, 109), (150, 105), (300, 101), (10, 200)]
    for shuffled in itertools.permutations(boxes):
        assert corners(reading_order(np.array(shuffled))) == expected


def test_ten_pixels_apart_are_two_lines():
    assert corners(reading_order(np.array([box_at(300, 100), box_at(10, 109)])))[0] == (10, 109)
    assert corners(reading_order(np.array([box_at(300, 100), box_at(10, 110)])))[0] == (300, 100)


def test_no_boxes_have_an_order_too():
    assert reading_order([]) == []


# Batches


def blank_line(width, height=48, grey=255):
    return np.full((height, width, 3), grey, np.uint8)


def test_batches_of_six_from_narrow_to_wide():
    widths = [400, 100, 900, 300, 200, 800, 700, 600, 500, 1000, 1100, 50, 60]
    batches = [[widths[i] for i in b] for b in by_width([blank_line(w) for w in widths])]
    assert batches == [
        [50, 60, 100, 200, 300, 400],
        [500, 600, 700, 800, 900, 1000],
        [1100],
    ]
    assert list(by_width([])) == []


def test_the_ratio_counts_not_the_width():
    (batch,) = by_width([blank_line(100, 10), blank_line(300, 100)])
    assert list(batch) == [1, 0]


def test_lines_are_scaled_and_padded_with_zeros():
    batch = stack([blank_line(50, 24), blank_line(500), blank_line(31, grey=51)], 320)
    assert batch.shape == (3, 3, 48, 320)
    assert batch.dtype == np.float32
    assert (batch[0, :, :, :100] == 1).all()
    assert (batch[0, :, :, 100:] == 0).all()
    assert (batch[1] == 1).all()
    np.testing.assert_allclose(batch[2, :, :, :31], (0.2 - 0.5) / 0.5, rtol=1e-6)
    assert (batch[2, :, :, 31:] == 0).all()


def test_another_height():
    batch = stack([blank_line(50, 16)], 320, height=32)
    assert batch.shape == (1, 3, 32, 320)
    assert (batch[0, :, :, :100] == 1).all()
    assert (batch[0, :, :, 100:] == 0).all()


def test_fractions_of_a_column_round_up():
    assert stack([blank_line(10, 47)], 192)[0, 0, 0].sum() == 11  # 10.2 columns


def test_channels_keep_their_order():
    line = blank_line(48)
    line[:] = (0, 255, 0)
    assert stack([line], 48)[0, :, 0, 0].tolist() == [-1, 1, -1]


# Direction


def direction_of(*rows):
    """A classifier that answers with the given rows, in the order in which it is asked."""
    answers = iter(rows)
    return lambda batch: np.array([next(answers) for _ in batch], np.float32)


def test_lines_upside_down_are_turned():
    line = np.random.RandomState(0).randint(0, 256, (48, 100, 3)).astype(np.uint8)
    before = line.copy()
    (turned,) = Classifier(direction_of((0.09, 0.91)))([line])
    np.testing.assert_array_equal(turned, line[::-1, ::-1])
    np.testing.assert_array_equal(line, before)


@pytest.mark.parametrize("scores", [(0.11, 0.89), (0.1, 0.9), (0.95, 0.05), (0.97, 0.93)])
def test_uncertain_or_upright_lines_stay(scores):
    line = np.random.RandomState(0).randint(0, 256, (48, 100, 3)).astype(np.uint8)
    (same,) = Classifier(direction_of(scores))([line])
    np.testing.assert_array_equal(same, line)


def test_the_right_line_of_several_is_turned():
    lines = [gradient(48, width) for width in (300, 100, 200)]
    lines[2] //= 2

    def dark_is_down(batch):
        assert batch.shape == (3, 3, 48, 192)
        dark = batch[:, 0, 0, 90:100].max(1) < -0.7
        return np.dstack([~dark, dark])[0].astype(np.float32)

    upright = Classifier(dark_is_down)(lines)
    np.testing.assert_array_equal(upright[2], lines[2][::-1, ::-1])
    for place in (0, 1):
        np.testing.assert_array_equal(upright[place], lines[place])


def test_a_classifier_of_other_shape():
    with pytest.raises(ValueError, match=r"\(1, 4\), expected \(1, 2\)"):
        Classifier(lambda _: np.zeros((1, 4), np.float32))([blank_line(100)])


# Recognition


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
    decoded, score = ctc_decode(columns(spelt, "abc "), "abc ")
    assert decoded == text
    assert score == pytest.approx(0.75 if text else 0)


def test_the_score_is_the_mean_over_the_kept_columns():
    rows = columns("aab-", "ab")
    rows[0, 1], rows[1, 1], rows[2, 2], rows[3, 0] = 0.5, 0.9, 0.7, 0.99
    assert ctc_decode(rows, "ab") == ("ab", pytest.approx(0.6))


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
    decoded, score = ctc_decode(rows, "wxyz")
    assert decoded == text
    assert score == pytest.approx(np.mean(kept) if kept else 0, abs=1e-6)


def test_the_alphabet_may_hold_longer_strings():
    assert ctc_decode(columns("ab", "ab"), ["ch", " "])[0] == "ch "


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
    assert [text for text, _ in results] == [f"<{w}>" for w in (40, 10, 90, 30, 20, 5, 60)]
    assert {score for _, score in results} == {0.5}
    assert shapes == [(6, 3, 48, 600), (1, 3, 48, 900)]


def test_a_batch_is_at_least_320_wide():
    def network(batch):
        assert batch.shape == (1, 3, 48, 320)
        return np.zeros((1, 40, 3), np.float32)

    assert Recognizer(network, "ab")([blank_line(20)]) == [("", 0.0)]
    assert Recognizer(network, "ab")([]) == []


def test_a_dictionary_of_another_length():
    recognizer = Recognizer(lambda batch: np.zeros((len(batch), 40, 7), np.float32), "abc")
    with pytest.raises(ValueError, match="7 classes, but 3 characters and the blank make 4"):
        recognizer([blank_line(20)])


@pytest.mark.parametrize("shape", [(1, 4), (2, 40, 4), (1, 1, 32, 4)])
def test_a_recogniser_of_other_shape(shape):
    recognizer = Recognizer(lambda _: np.zeros(shape, np.float32), "abc")
    with pytest.raises(ValueError, match="CTC"):
        recognizer([blank_line(20)])
