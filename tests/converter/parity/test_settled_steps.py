"""Decoders' results are compared as far as rounding lets two runs agree."""

from __future__ import annotations

import numpy as np
import pytest

from converter.parity.jitter import JITTER
from converter.parity.steps import settled, started_alike, step_logits, step_noise

GENERATOR = np.random.default_rng(0)
IMAGE = GENERATOR.uniform(-1, 1, (2, 3, 4, 4)).astype(np.float32)
STEPS = GENERATOR.uniform(-1, 1, (2, 5, 7)).astype(np.float32)
LIMIT = 1e-3
LARGEST = float(np.abs(STEPS).max())


def growing(image: np.ndarray) -> dict[str, np.ndarray]:
    """Every step is ten times as sensitive to the image as the one before."""
    change = float((image.astype(np.float64) - IMAGE).mean())
    powers = 10.0 ** np.arange(STEPS.shape[1])
    return {"scores": STEPS + change * powers[:, np.newaxis]}


def test_noise_is_that_of_each_step():
    grown = step_noise(growing, IMAGE, growing(IMAGE))["scores"]
    assert 0 < grown[1] < JITTER * 10
    np.testing.assert_allclose(grown[3:] / grown[2:-1], 10, rtol=0.2)


@pytest.mark.parametrize("shorter", [2, 0])
def test_steps_that_a_run_does_not_reach(shorter):
    def run(image):
        if image is IMAGE:
            return {"scores": STEPS}
        return {"scores": STEPS[:, :shorter]} if shorter else {}

    grown = step_noise(run, IMAGE, {"scores": STEPS})["scores"]
    assert list(np.isinf(grown)) == [step >= shorter for step in range(5)]


def test_logits_of_steps_show_a_class_that_is_not_probable():
    logits = STEPS.astype(np.float64)
    logits[..., 0] -= 8
    moved = logits.copy()
    moved[..., 0] *= 1.01

    def softmax(x):
        powers = np.exp(x)
        return (powers / powers.sum(2, keepdims=True)).astype(np.float32)

    right, wrong = softmax(logits), softmax(moved)
    assert np.abs(right - wrong).max() < 1e-4
    logits -= logits.mean(2, keepdims=True)
    np.testing.assert_allclose(step_logits(right), logits, atol=1e-5)
    assert np.abs(step_logits(right) - step_logits(wrong)).max() > 1e-2 * np.abs(logits).max() / 2


def test_a_first_step_far_off_is_no_rounding():
    assert started_alike(STEPS, STEPS + LIMIT * LARGEST, LIMIT)
    moved = STEPS.copy()
    moved[:, 1:] += 1
    assert started_alike(STEPS, moved, LIMIT)
    assert not started_alike(STEPS, STEPS + 100 * LIMIT * LARGEST, LIMIT)
    assert not started_alike(STEPS, STEPS[:, :, :3], LIMIT)


def kept(grown: list[float], ours: np.ndarray = STEPS) -> tuple[np.ndarray, np.ndarray]:
    return settled(STEPS, ours, np.array(grown), LIMIT)


def test_steps_that_rounding_decides_are_left_out():
    bound = LIMIT * LARGEST
    theirs, ours = kept([0, bound / 2, 2 * bound, bound / 2, np.inf])
    np.testing.assert_array_equal(theirs, STEPS[:, [0, 1, 3]])
    np.testing.assert_array_equal(ours, theirs)


def test_the_first_step_is_always_compared():
    theirs, ours = kept([np.inf] * 5, STEPS + np.float32(0.5))
    assert theirs.shape == (2, 1, 7)
    np.testing.assert_allclose(ours - theirs, 0.5, rtol=1e-5)


def test_noise_is_subtracted_step_by_step():
    bound = LIMIT * LARGEST
    grown = np.array([0, 0.9, 0.1, 0, 0]) * bound
    theirs, ours = kept(list(grown), STEPS + np.float32(bound))
    left = np.abs(ours.astype(np.float64) - theirs).max(axis=(0, 2)) / bound
    np.testing.assert_allclose(left, [1, 0.1, 0.9, 1, 1], atol=1e-3)


def test_a_step_more_in_the_export_and_other_shapes():
    longer = np.concatenate([STEPS, STEPS[:, :1]], 1)
    theirs, ours = settled(longer, STEPS, np.zeros(5), LIMIT)
    assert theirs.shape == ours.shape == STEPS.shape
    theirs, ours = settled(STEPS[:, :3], STEPS, np.zeros(5), LIMIT)
    assert theirs.shape != ours.shape  # which the comparison reports
