"""The comparison: what passes, what fails, and what the report says."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from converter.adapters.running import run_network
from converter.diagnosis.check import check
from converter.errors import ParityError
from converter.parity.comparison import (
    DECADES,
    INNER,
    LIMIT,
    Comparison,
    compare,
    compare_decisions,
)
from converter.parity.layerwise import FullTensor, Pair, SideBySide
from converter.parity.report import ParityReport, require

SHAPE = (1, 3, 32, 32)
VALUES = np.linspace(-2, 1, 60, dtype=np.float32).reshape(3, 20)


def compared(expected, actual, **options) -> Comparison:
    return compare("probe", np.asarray(expected), np.asarray(actual), input_shape=SHAPE, **options)


def altered(array: np.ndarray, place, value: float) -> np.ndarray:
    copy = array.copy()
    copy[place] = value
    return copy


def test_identical_arrays_pass():
    found = compared(VALUES, VALUES.copy())
    assert (found.difference, found.fault, found.largest) == (0.0, "", 2.0)
    assert (found.shape, found.input_shape) == ((3, 20), SHAPE)


def test_the_measure_is_relative_to_the_largest_value():
    found = compared(VALUES, altered(VALUES, (1, 7), VALUES[1, 7] + 1e-3), limit=1e-3)
    assert found.difference == pytest.approx(5e-4, rel=1e-3)
    assert found.where == (1, 7)
    assert found.fault == ""


@pytest.mark.parametrize(("gap", "passes"), [(1.8e-4, True), (2.2e-4, False)])
def test_the_limit(gap, passes):
    found = compared(VALUES, altered(VALUES, (2, 3), VALUES[2, 3] + gap))
    assert (found.fault == "") is passes
    if not passes:
        assert "1.10e-04 of the reference's maximum, at (2, 3)" in found.fault
        assert "the limit is 1e-04" in found.fault


@pytest.mark.parametrize("scale", [1e-20, 1e20])
def test_the_scale_does_not_matter(scale):
    scaled = VALUES.astype(np.float64) * scale
    assert compared(scaled, scaled * (1 + 1e-3)).fault
    assert not compared(scaled, scaled * (1 + 1e-5)).fault


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_nan_and_infinity_fail_on_either_side(value):
    broken = altered(VALUES, (0, 0), value)
    assert compared(VALUES, broken).fault == "PyTorch gives NaN or infinity where Paddle does not"
    assert compared(broken, VALUES).fault == "Paddle gives NaN or infinity"
    assert compared(broken, broken).fault == "Paddle gives NaN or infinity"
    assert compared(VALUES, broken, limit=math.inf).fault


@pytest.mark.parametrize("constant", [np.zeros((2, 2)), np.full((2, 2), 0.3), np.zeros((0, 4))])
def test_a_constant_proves_nothing(constant):
    found = compared(constant, constant.copy())
    assert found.fault == "Paddle gives a constant, which proves nothing"
    assert found.difference == math.inf


def test_a_constant_may_pass_where_others_prove():
    def loose(expected, actual):
        a, b = np.float32(expected), np.float32(actual)
        return compare("probe", a, b, input_shape=(1,), constant_passes=True).fault

    assert not loose([0, 0], [0, 0])
    assert not loose([2, 2], [2, 2])
    assert not loose([], [])
    assert loose([0, 0], [0, 1e-6])
    assert loose([2, 2], [2, 3])
    assert loose([2, 2], [2, np.nan])


def test_a_single_value_is_no_constant():
    assert not compared([0.5], [0.5]).fault
    assert compared([0.5], [0.4]).fault
    assert compared([0.0], [0.0]).fault  # there is nothing to measure by


def test_another_shape_fails_before_anything_broadcasts():
    found = compared(VALUES, VALUES[:1])
    assert found.fault == "Paddle gives (3, 20), PyTorch (1, 20)"


def test_a_sample_is_measured_by_the_maximum_of_the_whole():
    found = compared(VALUES, VALUES + 1e-3, largest=20.0)
    assert (found.difference, found.largest) == (pytest.approx(5e-5, rel=1e-3), 20.0)
    assert not found.fault
    assert compared(VALUES, VALUES, largest=math.nan).fault


def test_the_histogram_counts_the_elements_by_decade():
    gaps = np.array([0, 0, 1e-12, 3e-9, 3e-6, 4e-6, 0.05, 0.3])
    expected = np.where(np.arange(gaps.size) == 1, 2.0, 0.5)
    found = compared(expected, expected + 2 * gaps)
    assert found.histogram == (3, 1, 0, 0, 2, 0, 0, 0, 1, 1)
    assert len(found.histogram) == len(DECADES) + 1
    assert found.fault


def test_a_histogram_needs_elements():
    assert compared(VALUES, VALUES).histogram == (VALUES.size, *[0] * 9)
    assert compared([0.0], [1.0]).histogram == (0,) * 9 + (1,)
    for other in (VALUES[:1], altered(VALUES, (0, 0), math.nan)):
        assert compared(VALUES, other).histogram == ()
    assert decided("cls", [[0.9, 0.1]], [[0.9, 0.1]]).histogram == ()


# Decisions.


def decided(task, expected, actual) -> Comparison:
    return compare_decisions(
        task,
        np.asarray(expected, np.float32),
        np.asarray(actual, np.float32),
        input_shape=SHAPE,
        threshold=0.3,
    )


PROBABILITIES = np.array([[[0.7, 0.2, 0.1], [0.1, 0.8, 0.1]]], np.float32)


def test_the_same_text():
    found = decided("rec", PROBABILITIES, PROBABILITIES - 0.01)
    assert (found.probe, found.fault, found.difference) == ("decisions (text)", "", 0.0)


def test_another_character():
    found = decided("rec", PROBABILITIES, altered(PROBABILITIES, (0, 1, 2), 0.9))
    assert found.fault == "Paddle decides 1 in place 1 of item 0, PyTorch 2"
    assert found.difference == math.inf


def test_another_class():
    found = decided("cls", [[0.9, 0.1], [0.2, 0.8]], [[0.9, 0.1], [0.6, 0.4]])
    assert found.probe == "decisions (classes)"
    assert found.fault == "Paddle decides 1 for item 1, PyTorch 0"


@pytest.mark.parametrize("task", ["cls", "rec"])
@pytest.mark.parametrize(("gap", "passes"), [(1.9, True), (2.1, False), (math.nan, False)])
def test_two_classes_within_rounding_may_be_decided_either_way(task, gap, passes):
    rounding = LIMIT * 0.5
    expected = np.array([[0.5, 0.5 - rounding / 2, 0.1]])
    ours = np.array([[0.5 - gap * rounding, 0.5, 0.1]])
    if task == "rec":
        expected, ours = expected[None], ours[None]
    assert (decided(task, expected, ours).fault == "") is passes


def test_a_third_class_is_wrong_though_the_first_two_are_on_a_par():
    expected = [[0.4, 0.4 - 1e-6, 0.2]]
    assert decided("cls", expected, [[0.2, 0.2, 0.6]]).fault


@pytest.mark.parametrize(
    ("theirs", "ours", "passes"),
    [
        (0.5, 0.501, True),  # 127 both
        (128 / 255 - 1e-5, 128 / 255 + 1e-5, True),  # 127 and 128, on the edge
        (0.5, 0.505, False),
        (1.0, 0.99995, True),
        (1.2, 1.0, True),  # both are white
        (-0.5, 0.0, True),  # both are black
        (0.0, 0.01, False),
    ],
)
def test_pixels_are_those_of_8_bits(theirs, ours, passes):
    expected = np.full((1, 3, 2, 2), 0.25, np.float32)
    one, other = (altered(expected, (0, 2, 1, 0), value) for value in (theirs, ours))
    found = decided("sr", one, other)
    assert found.probe == "decisions (pixels)"
    assert (found.fault == "") is passes
    if not passes:
        assert "in place 10 of item 0" in found.fault


def box_map(*boxes, value=0.9) -> np.ndarray:
    maps = np.full((1, 1, 32, 32), 0.01, np.float32)
    for left, top, width, height in boxes:
        maps[0, 0, top : top + height, left : left + width] = value
    return maps


def test_the_same_boxes():
    maps = box_map((2, 2, 8, 4), (12, 20, 10, 5))
    assert decided("det", maps, np.where(maps > 0.3, 0.6, 0.1)).fault == ""


@pytest.mark.parametrize("other", [(2, 2, 8, 4), (2, 2, 9, 4)])
def test_other_boxes(other):
    expected = box_map((2, 2, 8, 4), (12, 20, 10, 5))
    found = decided("det", expected, box_map(other))
    assert found.probe == "decisions (boxes)"
    assert "Paddle decides [(2, 2, 8, 4), (12, 20, 10, 5)] for item 0" in found.fault


def test_a_box_elsewhere_is_named():
    found = decided("det", box_map((2, 2, 8, 4)), box_map((2, 2, 8, 5)))
    assert found.fault == "Paddle decides (2, 2, 8, 4) in place 0 of item 0, PyTorch (2, 2, 8, 5)"


@pytest.mark.parametrize(("value", "passes"), [(0.3005, True), (0.2995, True), (0.303, False)])
def test_a_pixel_on_the_threshold_may_fall_either_way(value, passes):
    expected = box_map((2, 2, 8, 4))
    on_edge = altered(expected, (0, 0, 2, 10), value)
    fallen = altered(expected, (0, 0, 2, 10), 0.6 - value)
    assert (decided("det", on_edge, fallen).fault == "") is passes


def test_decisions_of_another_shape():
    found = decided("rec", PROBABILITIES, PROBABILITIES[:, :1])
    assert found.fault == "Paddle gives (1, 2, 3), PyTorch (1, 1, 3)"


# The report.


class Fixed:
    """A reference that compares what it is told to, and counts how often it is asked."""

    kind = "program"

    def __init__(self, *faults: str) -> None:
        self.faults, self.asked = list(faults), 0

    def compare(self, _network, batch, limit):
        fault = self.faults.pop(0)
        gap = math.inf if fault else limit / 2
        return [
            Comparison("neck", batch.shape, (1,), limit, 1.0, INNER * limit),
            Comparison("logits", batch.shape, (1,), gap, 1.0, limit, (0,), fault),
        ]

    def layers(self, network, batch):
        self.asked += 1
        pair = Pair("neck", f"layer {batch.shape}", FullTensor(batch), None)
        return SideBySide(network, batch, (pair,), {"output": batch}, run_network)


BATCHES = [np.zeros((1, 3, 8, 8), np.float32), np.zeros((1, 3, 8, 16), np.float32)]


def test_a_report_that_passed():
    reference = Fixed("", "")
    report = check(reference, None, BATCHES, versions={"torch": "2"})
    assert report.passed
    assert reference.asked == 0
    assert report.worst.probe == "logits"  # nearest to its own limit
    require(report)
    content = report.to_dict()
    assert json.loads(json.dumps(content, allow_nan=False)) == json.loads(json.dumps(content))
    assert content["status"] == "passed"
    assert content["worst_difference"] == LIMIT / 2
    assert content["first_difference"] is None
    assert content["versions"] == {"torch": "2"}
    assert [c["input_shape"] for c in content["comparisons"]][::2] == [(1, 3, 8, 8), (1, 3, 8, 16)]


def test_a_report_that_failed():
    reference = Fixed("", "wrong")
    report = check(reference, None, BATCHES)
    assert not report.passed
    assert reference.asked == 1
    with pytest.raises(ParityError) as caught:
        require(report)
    assert str(caught.value) == (
        "Paddle and PyTorch disagree at logits for an input of (1, 3, 8, 16): wrong\n"
        "the first layer that differs is layer (1, 3, 8, 16): our network has no such layer\n"
        "Nothing was written. `python -m converter diagnose`, with the same options, shows more."
    )
    assert caught.value.report is report
    content = report.to_dict()
    assert json.dumps(content, allow_nan=False)
    assert (content["status"], content["worst_difference"]) == ("failed", None)
    told = "layer (1, 3, 8, 16): our network has no such layer"
    assert content["first_difference"] == told


def test_the_first_difference_is_looked_for_once():
    reference = Fixed("wrong", "wrong")
    check(reference, None, BATCHES)
    assert reference.asked == 1


def test_comparing_nothing_is_no_proof():
    report = ParityReport("recorded", ())
    assert not report.passed
    with pytest.raises(ParityError, match="compared nothing"):
        require(report)
    content = report.to_dict()
    assert (content["status"], content["comparisons"]) == ("failed", [])
    assert content["worst_difference"] is None
