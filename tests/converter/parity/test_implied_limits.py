"""Results that are known functions of logits: what the logits' limit allows them, and no more."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from architectures import Model, build
from architectures.activations import Activation
from converter.parity.comparison import INNER, LIMIT, Comparison
from converter.parity.implied_limits import ROUNDING, implied_limit
from converter.references.converted import ConvertedReference
from converter.references.hooks import observe, results_of
from converter.references.recorded.network import build_recorded, networks
from converter.references.recorded.record import read_record
from tests.support.paths import RECORDS
from tests.support.small_networks import NETWORKS

RANDOM = np.random.default_rng(5)
SIGMOID = Activation("sigmoid", ("a",))
SOFTMAX = Activation("softmax", ("a",), axis=2)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return torch.from_numpy(x).double().sigmoid().numpy()


def softmax(x: np.ndarray, axis: int) -> np.ndarray:
    return torch.from_numpy(x).double().softmax(axis).numpy()


def room(x: np.ndarray) -> float:
    return LIMIT * float(np.abs(x).max())


def test_a_sigmoid_is_allowed_what_moved_logits_give():
    x = np.append(RANDOM.normal(0, 5, 99), -4300.0).reshape(1, 1, 10, 10).astype(np.float32)
    allowed = implied_limit(SIGMOID, {"a": x}, sigmoid(x), LIMIT)
    up, down = (np.abs(sigmoid(x + move) - sigmoid(x)) for move in (room(x), -room(x)))
    np.testing.assert_allclose(allowed, np.maximum(up, down) + ROUNDING, rtol=1e-6)
    assert allowed.max() > 0.1  # where it is steep
    assert allowed.ravel()[-1] == ROUNDING  # where it is flat


def test_a_softmax_is_allowed_what_its_worst_case_gives():
    x = RANDOM.normal(0, 30, (2, 5, 7)).astype(np.float32)
    p = softmax(x, 2)
    allowed = implied_limit(SOFTMAX, {"a": x}, p, LIMIT)
    for index in range(7):
        for sign in (1, -1):
            moved = x.astype(np.float64) - sign * room(x)
            moved[..., index] += 2 * sign * room(x)
            gap = np.abs(softmax(moved, 2) - p)[..., index]
            assert (gap <= allowed[..., index]).all()
    # The larger of the two is reached, up to rounding.
    up = x.astype(np.float64) - room(x)
    up[..., 0] += 2 * room(x)
    down = x.astype(np.float64) + room(x)
    down[..., 0] -= 2 * room(x)
    reached = np.maximum(*(np.abs(softmax(moved, 2) - p)[..., 0] for moved in (up, down)))
    np.testing.assert_allclose(allowed[..., 0], reached + ROUNDING, rtol=1e-6, atol=1e-12)


def test_a_mean_of_two_is_allowed_the_mean():
    a, b = RANDOM.normal(0, 9, (2, 1, 1, 4, 4)).astype(np.float32)
    both = Activation("sigmoid", ("a", "b"))
    mean = (sigmoid(a) + sigmoid(b)) / 2
    allowed = implied_limit(both, {"a": a, "b": b}, mean, LIMIT)
    single = [implied_limit(SIGMOID, {"a": x}, sigmoid(x), LIMIT) for x in (a, b)]
    np.testing.assert_allclose(allowed, np.mean(single, 0))


@pytest.mark.parametrize(
    ("activation", "result"),
    [
        (SIGMOID, lambda x: x),  # none where a sigmoid is declared
        (SIGMOID, lambda x: softmax(x, 2)),
        (SOFTMAX, lambda x: softmax(x, 1)),
        (SOFTMAX, sigmoid),
        (SIGMOID, lambda x: 2 * sigmoid(x)),
        (SIGMOID, lambda x: np.full(x.shape, np.nan)),
        (Activation("sigmoid", ("a", "b")), sigmoid),  # `b` was not compared
    ],
)
def test_a_declaration_that_does_not_fit_the_reference_allows_nothing(activation, result):
    x = RANDOM.normal(0, 3, (2, 5, 7)).astype(np.float32)
    assert implied_limit(activation, {"a": x}, result(x), LIMIT) is None


# Small real networks.


def small(name: str) -> Model:
    torch.manual_seed(1)
    return build(NETWORKS[name][0]).eval()


def calibrated(network: Model, batch: np.ndarray) -> Model:
    """Take the statistics of each BatchNorm from a batch, so that the signal does not fade."""
    for part in network.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.momentum = 1.0
    with torch.no_grad():
        network.train()(torch.from_numpy(batch))
    return network.eval()


def seeded(name: str) -> tuple[Model, np.ndarray]:
    """Return a network whose logits lie around 0 and reach 4,300, as seeded weights may do."""
    height, width = NETWORKS[name][1]
    batch = np.random.default_rng(0).standard_normal((4, 3, height, width)).astype(np.float32)
    network = calibrated(small(name), batch)
    for layer in network.logits_layers:
        logits = observe(network, batch, [layer])[layer]
        centre = float(np.median(logits))
        factor = 4300 / float(np.abs(logits - centre).max())
        affine: Any = network.get_submodule(layer)
        with torch.no_grad():
            affine.weight.mul_(factor)
            affine.bias.sub_(centre).mul_(factor)
    return network, batch


def compared(network: Model, changed: Model, batch: np.ndarray) -> dict[str, Comparison]:
    task = str(network.architecture["model_type"])
    found = ConvertedReference(network, task).compare(changed, batch, LIMIT)
    return {comparison.probe: comparison for comparison in found}


def with_logits_moved(network: Model, batch: np.ndarray, share: float) -> Model:
    """Return the network with its last logits moved by `share` of what they may differ by."""
    changed = copy.deepcopy(network)
    layer = network.logits_layers[-1]
    logits = observe(network, batch, [layer])[layer]
    bias = changed.get_submodule(layer).bias
    with torch.no_grad():
        signs = torch.where(torch.arange(len(bias)) % 2 == 0, 1.0, -1.0)
        bias.add_(signs * share * LIMIT * float(np.abs(logits).max()))
    return changed


NAMES = ["det v2", "det large kernels", "cls", "rec v4"]


@pytest.mark.parametrize("name", NAMES)
def test_results_are_allowed_what_their_logits_are(name):
    network, batch = seeded(name)
    found = compared(network, with_logits_moved(network, batch, 0.9), batch)
    assert not any(comparison.fault for comparison in found.values()), found


@pytest.mark.parametrize("name", ["det v2", "det large kernels"])
def test_that_is_more_than_the_ordinary_limit_where_a_sigmoid_is_steep(name):
    network, batch = seeded(name)
    changed = with_logits_moved(network, batch, 0.9)
    theirs, ours = (results_of(observe(n, batch, ()))["output"] for n in (network, changed))
    assert np.abs(theirs - ours).max() > INNER * LIMIT
    assert compared(network, changed, batch)["output"].limit > INNER * LIMIT


@pytest.mark.parametrize("name", NAMES)
def test_logits_beyond_their_limit_are_seen(name):
    network, batch = seeded(name)
    found = compared(network, with_logits_moved(network, batch, 1.5), batch)
    assert found[f"logits ({network.logits_layers[-1]})"].fault


def swapped_forward(change: Callable[[nn.Module, Tensor], Tensor]) -> Callable[[Model], Model]:
    """Return a function that makes a copy of a network whose head computes something else."""

    def make(network: Model) -> Model:
        changed = copy.deepcopy(network)
        head = changed.head
        while hasattr(head, "ctc_head"):
            head = head.ctc_head
        original = head.forward
        head.forward = lambda x: change(head, original(x))  # type: ignore[method-assign]
        return changed

    return make


def logit(p: Tensor) -> Tensor:
    return p.double().clamp(1e-12, 1 - 1e-12).logit().float()


WRONG: list[tuple[str, Callable[[nn.Module, Tensor], Tensor]]] = [
    ("det v2", lambda _, p: logit(p)),  # no sigmoid
    ("det v2", lambda _, p: p.sigmoid()),  # one too many
    ("det v2", lambda _, p: 1 - p),
    ("det v2", lambda _, p: (p + 1e-3 * (p < 1e-3)).clamp(0, 1)),  # off where it is flat
    ("det large kernels", lambda _, p: p * p),
    ("det large kernels", lambda _, p: (2 * p).clamp(0, 1)),  # the sum, not the mean
    ("cls", lambda _, p: logit(p).softmax(0)),  # over the wrong axis
    ("cls", lambda _, p: p.flip(1)),
    ("rec v4", lambda _, p: logit(p).softmax(1)),
    ("rec v4", lambda _, p: p.log()),
    ("rec v4", lambda _, p: p.roll(1, 2)),
]


@pytest.mark.parametrize(("name", "change"), WRONG)
def test_another_function_of_the_same_logits_is_seen(name, change):
    network, batch = seeded(name)
    found = compared(network, swapped_forward(change)(network), batch)
    assert not any(c.fault for probe, c in found.items() if probe.startswith("logits"))
    assert found["output"].fault


@pytest.mark.parametrize("name", NAMES)
def test_a_wrong_weight_is_seen(name):
    network, batch = seeded(name)
    changed = copy.deepcopy(network)
    with torch.no_grad():
        weight = changed.get_submodule(network.logits_layers[0]).weight
        weight.neg_()
    found = compared(network, changed, batch)
    assert found[f"logits ({network.logits_layers[0]})"].fault
    assert found["output"].fault


with torch.device("meta"):
    DECLARED = [name for name, (kind, _) in NETWORKS.items() if build(kind).activations]
RECORDED = [
    "det__det_r50_vd_sast_icdar15",
    "e2e__e2e_r50_vd_pg",
    "rec__rec_r50_fpn_srn",
    "rec__rec_svtrnet_cppd_tiny_en",
]


def from_record(name: str) -> tuple[Model, np.ndarray]:
    record = read_record(RECORDS / name)
    ((prefix, architecture),) = networks(record.facts.architecture)
    image, *_ = record.inputs().values()
    return build_recorded(record, prefix, architecture)[0], image


@pytest.mark.parametrize("name", [*DECLARED, *RECORDED])
def test_what_networks_declare_is_what_they_compute(name):
    if name in RECORDED:
        network, batch = from_record(name)
    else:
        network, size = small(name), NETWORKS[name][1]
        batch = np.random.default_rng(0).standard_normal((2, 3, *size)).astype(np.float32)
    found = observe(network, batch, network.logits_layers)
    results = {key.removeprefix("output."): array for key, array in results_of(found).items()}
    for result, activation in network.activations.items():
        assert set(activation.layers) <= set(network.logits_layers)
        assert implied_limit(activation, found, results[result], LIMIT) is not None, result


def test_every_head_that_declares_is_among_them():
    heads = {NETWORKS[name][0]["Head"]["name"] for name in DECLARED}
    assert heads >= {"DBHead", "PFHeadLocal", "CT_Head", "EASTHead"}
    assert heads >= {"ClsHead", "CTCHead", "MultiHead", "PRENHead"}
