"""A checkout as the reference, on a small one: its layout is PaddleOCR's, its network is a toy."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from architectures import Model, fuse
from converter.diagnosis.check import check
from converter.errors import ReferenceUnavailable
from converter.references.network import NetworkReference
from converter.references.paddle.session import PaddleSession
from tests.support.small_checkout import ARCHITECTURE, WEIGHTS, mirror, write_checkout


@pytest.fixture
def network() -> Model:
    return mirror()


@pytest.fixture(scope="module")
def checkout(tmp_path_factory) -> Path:
    return write_checkout(tmp_path_factory.mktemp("PaddleOCR"))


@pytest.fixture(scope="module")
def session() -> Iterator[PaddleSession]:
    with PaddleSession() as session:
        yield session


@pytest.fixture
def reference(session, checkout) -> NetworkReference:
    return NetworkReference(session, checkout, ARCHITECTURE, WEIGHTS, "cls")


BATCHES = [
    np.random.default_rng(0).uniform(-1, 1, (2, 3, 8, size)).astype(np.float32) for size in (8, 12)
]


@pytest.mark.parametrize("form", ["train", "fused"])
def test_an_honest_network_passes(reference, network, form):
    report = check(reference, fuse(network, form), BATCHES)
    assert report.passed, report.worst
    assert report.reference == "network"
    probes = [comparison.probe for comparison in report.comparisons]
    expected = ["backbone", "logits (head.fc)", "output", "decisions (classes)", "epsilons"]
    assert probes == expected * 2
    assert reference.layers(fuse(network, form), BATCHES[0]).first(1e-6) is None


@pytest.mark.parametrize("mixed", [False, True])
def test_weights_of_amp_training(session, checkout, network, mixed):
    """Paddle's network gets them as PaddleOCR loads them: in the types of its own tensors."""
    halves = {
        name: array if mixed and ".bn." in name else array.astype(np.float16)
        for name, array in WEIGHTS.items()
    }
    values = {name: torch.from_numpy(array.astype(np.float32)) for name, array in halves.items()}
    ours = network.state_dict()
    for name, value in values.items():
        theirs = name.replace("_mean", "running_mean").replace("_variance", "running_var")
        ours[theirs].copy_(value.T if name == "head.fc.weight" else value)
    report = check(
        NetworkReference(session, checkout, ARCHITECTURE, halves, "cls"), network, BATCHES
    )
    assert report.passed, report.worst


@pytest.mark.parametrize(
    ("layer", "tensor"),
    [("backbone.conv", "weight"), ("backbone.bn", "running_mean"), ("head.fc", "bias")],
)
def test_a_mistake_is_named(reference, network, layer, tensor):
    wrong = copy.deepcopy(network)
    getattr(wrong.get_submodule(layer), tensor).data[0] += 0.5
    report = check(reference, wrong, BATCHES)
    assert not report.passed
    assert report.first_difference.startswith(f"{layer}: the largest difference is ")


def test_an_epsilon_that_hides_in_the_rounding_is_named(session, checkout, network):
    wrong = copy.deepcopy(network)
    wrong.backbone.bn.eps *= 1.1
    reference = NetworkReference(session, checkout, ARCHITECTURE, WEIGHTS, "cls", wrong)
    for form in ("train", "fused"):
        report = check(reference, fuse(wrong, form), BATCHES)
        assert not report.passed
        assert report.worst.probe == "epsilons"
        told = "the epsilon of backbone.bn is 1e-05 in Paddle, 1.1e-05 in PyTorch"
        assert report.worst.fault == told


def test_a_normalisation_that_paddle_does_not_have(reference, network):
    network.backbone.other = nn.BatchNorm2d(2)
    report = check(reference, network, BATCHES)
    assert report.worst.fault == "the epsilon of backbone.other is nan in Paddle, 1e-05 in PyTorch"


def test_logits_that_paddle_does_not_have(reference, network):
    network.head.logits_layers = ("projection",)
    with pytest.raises(ReferenceUnavailable, match=r"no layer head\.projection"):
        check(reference, network, BATCHES)


def test_a_mistake_in_a_fused_network_is_named_where_it_can_be_seen(reference, network):
    wrong = fuse(network)
    wrong.backbone.conv.weight.data[0] += 0.5
    report = check(reference, wrong, BATCHES)
    assert report.first_difference.startswith("backbone.bn: ")


def test_weights_that_the_checkout_does_not_have(session, checkout):
    weights = {**WEIGHTS, "neck.weight": np.zeros(3, np.float32)}
    with pytest.raises(ReferenceUnavailable, match=r"has no neck\.weight"):
        NetworkReference(session, checkout, ARCHITECTURE, weights, "cls")


def test_a_network_that_the_checkout_cannot_build(session, checkout):
    with pytest.raises(ReferenceUnavailable, match="KeyError: 'Backbone'"):
        NetworkReference(session, checkout, {"Head": {}}, WEIGHTS, "cls")


def test_no_checkout(session, tmp_path):
    with pytest.raises(ReferenceUnavailable, match="is no PaddleOCR checkout"):
        NetworkReference(session, tmp_path, ARCHITECTURE, WEIGHTS, "cls")
