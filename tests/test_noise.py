"""Rounding that grows from layer to layer: what is spared, and what goes on being a fault."""

from __future__ import annotations

import numpy as np

from converter import noise
from converter.diagnosis.layers import Sampled
from converter.noise import Noise
from converter.parity import LIMIT

ARRAY = np.random.default_rng(1).standard_normal((2, 3, 5, 7)).astype(np.float32)


def row(array: np.ndarray) -> np.ndarray:
    places = np.linspace(0, array.size - 1, 8).astype(int)
    return np.array([array.mean(), array.std(), np.abs(array).max(), *array.ravel()[places]])


def fault(actual: np.ndarray, spare: Noise | None) -> str:
    return Sampled(ARRAY.shape, row(ARRAY), spare).compare("layer", actual, (1,), LIMIT).fault


def test_a_change_of_the_size_of_the_noise_is_no_fault():
    change = 0.1 * np.sign(np.random.default_rng(2).standard_normal(ARRAY.shape))
    assert fault(ARRAY + change, None)
    assert not fault(ARRAY + change, Noise(0.11, 0.11))
    assert fault(ARRAY + change, Noise(0.09, 0.11))


def test_mean_and_deviation_are_spared_less_than_values():
    assert not fault(ARRAY + 0.1, Noise(0.5, 0.11))
    assert fault(ARRAY + 0.1, Noise(0.5, 0.05))
    assert fault(ARRAY * 1.2, Noise(0.9, 0.05))


def test_noise_within_the_limit_spares_nothing():
    largest = float(np.abs(ARRAY).max())
    moved = ARRAY + 1.5 * LIMIT * largest
    assert fault(moved, Noise(0.99 * LIMIT * largest, 0.99 * LIMIT * largest))
    assert not fault(moved, Noise(1.01 * LIMIT * largest, 1.01 * LIMIT * largest))


def test_what_is_not_a_number_is_never_spared():
    assert fault(np.full_like(ARRAY, np.nan), Noise(9.0, 9.0))


def test_what_a_record_states_decides():
    assert noise.is_noisy({noise.STATED: {"a": 1e-6, "b": 2e-4}}, LIMIT)
    assert not noise.is_noisy({noise.STATED: {"a": 1e-6, "b": 9e-5}}, LIMIT)
    assert not noise.is_noisy({}, LIMIT)


def test_noise_is_measured_on_every_output():
    batch = np.random.default_rng(3).standard_normal((1, 3, 64, 64)).astype(np.float32)

    def run(image: np.ndarray) -> dict[str, np.ndarray]:
        return {"calm": image, "wild": 1e4 * image}

    found = noise.measure(run, batch, run(batch))
    # Rounding to single precision adds up to 2e-7 of its own.
    np.testing.assert_allclose(found["calm"].values, noise.JITTER, rtol=0.25)
    np.testing.assert_allclose(found["wild"].values, 1e4 * noise.JITTER, rtol=0.25)
    rms = 1e4 * noise.JITTER / 3**0.5  # of many independent values
    np.testing.assert_allclose(found["wild"].moments, rms / 4, rtol=0.05)


def test_moments_of_few_values_are_spared_what_was_seen():
    def run(image: np.ndarray) -> dict[str, np.ndarray]:
        return {"one": image[:, :1, :1, :1], "all": image}

    batch = np.random.default_rng(3).standard_normal((1, 3, 64, 64)).astype(np.float32)
    found = noise.measure(run, batch, run(batch))
    assert found["one"].moments == found["one"].values > 0  # one value is its own mean
    assert found["all"].moments < found["all"].values / 4


def test_whole_arrays_are_spared_their_noise_and_no_more():
    batch = ARRAY

    def run(image: np.ndarray) -> dict[str, np.ndarray]:
        return {"calm": image, "wild": 1e4 * image}

    actual = run(batch)
    near = {"calm": actual["calm"] + 2e-6, "wild": actual["wild"] + 5e-3}
    found = noise.spared(run, batch, actual, near, 1e-7)
    np.testing.assert_array_equal(found["wild"], near["wild"])
    far = noise.spared(run, batch, actual, {"wild": actual["wild"] + 1.0}, 1e-7)
    assert np.abs(far["wild"] - actual["wild"]).max() < 0.02
    # Within the limit nothing is spared, and what is not known stays.
    kept = noise.spared(run, batch, actual, {"wild": near["wild"]}, 1.0)
    assert all(kept[name] is actual[name] for name in actual)
