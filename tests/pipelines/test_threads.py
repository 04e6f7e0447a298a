"""Networks and pipelines that several threads use at once give what one thread gets."""

from __future__ import annotations

from collections.abc import Callable
from threading import Barrier, Thread
from typing import Any

import numpy as np
import pytest
import torch

from architectures import build
from pipelines import OCR
from pipelines.runtime import TorchNetwork
from tests.support.pages import NAMES, bar_page, find_bars, name_colour
from tests.support.small_networks import NETWORKS

THREADS = 4


def at_once(call: Callable[[], Any]) -> list[Any]:
    """Call a function in several threads at the same moment, and return the results."""
    barrier, results = Barrier(THREADS), []

    def run() -> None:
        barrier.wait()
        results.append(call())

    threads = [Thread(target=run) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


@pytest.mark.parametrize("name", ["det v4", "rec v4", "svtr", "crnn", "rare", "satrn", "abinet"])
def test_a_network_whose_first_calls_are_at_once(name):
    architecture, (height, width) = NETWORKS[name]
    torch.manual_seed(0)
    model = build(architecture)
    images = np.random.default_rng(0).random((2, 3, height, width), np.float32)
    expected = TorchNetwork(model)(images)
    network = TorchNetwork(model)  # whose weights no call has ordered yet
    results = at_once(lambda: network(images))
    assert len(results) == THREADS
    for result in results:
        np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-6)


def test_a_pipeline():
    read = OCR(find_bars, name_colour, characters=NAMES)
    results = at_once(lambda: [line.text for line in read(bar_page())])
    assert results == [["green", "red", "blue"]] * THREADS
