"""Rounding that grows from layer to layer: what is spared, and what goes on being a fault."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from converter.parity import noise
from converter.parity.comparison import LIMIT
from converter.parity.jitter import JITTER
from converter.parity.layerwise import SampledTensor
from converter.parity.noise import Noise
from converter.references.recorded.compare import compare_output
from schemas.record import OutputRow

ARRAY = np.random.default_rng(1).standard_normal((2, 3, 5, 7)).astype(np.float32)


def row(array: np.ndarray) -> np.ndarray:
    places = np.linspace(0, array.size - 1, 8).astype(int)
    return np.array([array.mean(), array.std(), np.abs(array).max(), *array.ravel()[places]])


def fault(actual: np.ndarray, spare: Noise | None) -> str:
    return SampledTensor(ARRAY.shape, row(ARRAY), spare).compare("layer", actual, (1,), LIMIT).fault


def test_a_change_of_the_size_of_the_noise_is_no_fault():
    change = 0.1 * np.sign(np.random.default_rng(2).standard_normal(ARRAY.shape))
    assert fault(ARRAY + change, None)
    assert not fault(ARRAY + change, Noise(0.11, 0.11))
    assert fault(ARRAY + change, Noise(0.09, 0.11))


def test_mean_and_deviation_are_spared_less_than_values():
    assert not fault(ARRAY + 0.1, Noise(0.5, 0.11))
    assert fault(ARRAY + 0.1, Noise(0.5, 0.05))
    assert fault(ARRAY * 1.2, Noise(0.9, 0.05))


def test_noise_far_within_the_limit_spares_nothing():
    limit = LIMIT * float(np.abs(ARRAY).max())
    moved = ARRAY + 1.3 * limit
    assert fault(moved, Noise(0.49 * limit, 0.49 * limit))
    assert not fault(moved, Noise(0.51 * limit, 0.51 * limit))


def test_what_is_not_a_number_is_never_spared():
    assert fault(np.full_like(ARRAY, np.nan), Noise(9.0, 9.0))


def test_what_a_record_states_decides():
    assert noise.is_noisy(nn.Identity(), {"a": 1e-6, "b": 2e-4}, LIMIT)
    assert not noise.is_noisy(nn.Identity(), {"a": 1e-6, "b": 9e-5}, LIMIT)
    assert not noise.is_noisy(nn.Identity(), {}, LIMIT)


def test_noise_is_measured_on_every_output():
    batch = np.random.default_rng(3).standard_normal((1, 3, 64, 64)).astype(np.float32)

    def run(image: np.ndarray) -> dict[str, np.ndarray]:
        return {"calm": image, "wild": 1e4 * image}

    found = noise.measure(nn.Identity(), run, batch, run(batch))
    # Rounding to single precision adds up to 2e-7 of its own.
    np.testing.assert_allclose(found["calm"].values, JITTER, rtol=0.25)
    np.testing.assert_allclose(found["wild"].values, 1e4 * JITTER, rtol=0.25)
    rms = 1e4 * JITTER / 3**0.5  # of many independent values
    np.testing.assert_allclose(found["wild"].moments, rms / 4, rtol=0.05)


def test_moments_of_few_values_are_spared_what_was_seen():
    def run(image: np.ndarray) -> dict[str, np.ndarray]:
        return {"one": image[:, :1, :1, :1], "all": image}

    batch = np.random.default_rng(3).standard_normal((1, 3, 64, 64)).astype(np.float32)
    found = noise.measure(nn.Identity(), run, batch, run(batch))
    assert found["one"].moments == found["one"].values > 0  # one value is its own mean
    assert found["all"].moments < found["all"].values / 4


def test_whole_arrays_are_spared_their_noise_and_no_more():
    batch = ARRAY

    def run(image: np.ndarray) -> dict[str, np.ndarray]:
        return {"calm": image, "wild": 1e4 * image}

    actual = run(batch)
    near = {"calm": actual["calm"] + 2e-6, "wild": actual["wild"] + 5e-3}
    found = noise.subtract_noise(nn.Identity(), run, batch, actual, near, 1e-7)
    np.testing.assert_array_equal(found["wild"], near["wild"])
    far = noise.subtract_noise(
        nn.Identity(), run, batch, actual, {"wild": actual["wild"] + 1.0}, 1e-7
    )
    assert np.abs(far["wild"] - actual["wild"]).max() < 0.02
    # Within the limit nothing is spared, and what is not known stays.
    kept = noise.subtract_noise(nn.Identity(), run, batch, actual, {"wild": near["wild"]}, 1.0)
    assert all(kept[name] is actual[name] for name in actual)


class Subtracts(nn.Module):
    """Loses digits."""

    rounding = 1e-3

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + 4.0


def test_a_module_that_loses_digits_is_moved_by_what_it_states():
    network = nn.Sequential(nn.Identity(), Subtracts())

    def run(image: np.ndarray) -> dict[str, np.ndarray]:
        return {"output": network(torch.from_numpy(image)).numpy()}

    batch = np.zeros((1, 3, 64, 64), np.float32)
    assert noise.is_noisy(network, {}, LIMIT)
    found = noise.measure(network, run, batch, run(batch))
    np.testing.assert_allclose(found["output"].values, 4e-3, rtol=0.05)
    assert (run(batch)["output"] == 4.0).all()  # and by nothing afterwards


def classes_of(theirs: np.ndarray, ours: np.ndarray, noise: Noise | None) -> str:
    arrays = {"out": theirs.ravel(), "out@argmax": theirs.argmax(-1)}
    mean, std = float(theirs.mean()), float(theirs.std())
    row = OutputRow("out", (1, 2, 3), "float32", mean, std, 0.7, 1)
    _, classes = compare_output(arrays, row, ours, noise, LIMIT, (1, 3, 8, 8))
    return classes.fault


SCORES = np.array([[[0.50, 0.49, 0.01], [0.1, 0.7, 0.2]]], np.float32)


@pytest.mark.parametrize(("room", "fault"), [(0.03, ""), (0.01, "1 classes differ")])
def test_classes_may_change_places_where_noise_closes_the_gap(room, fault):
    ours = SCORES + np.array([-0.02, 0.02, 0.0], np.float32)
    assert classes_of(SCORES, ours, Noise(room, room)) == fault


@pytest.mark.parametrize(
    ("gap", "fault"), [(1.9, ""), (2.1, "1 classes differ"), (np.nan, "1 classes differ")]
)
def test_classes_of_a_record_may_change_places_within_the_limit(gap, fault):
    ours = SCORES.copy()
    ours[0, 0, :2] = 0.5 - gap * LIMIT * 0.7, 0.5
    assert classes_of(SCORES, ours, None) == fault
