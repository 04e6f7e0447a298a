"""Positions at which an image is sampled: compared for themselves, and the same on both sides."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import architectures
from architectures import Model
from architectures.transforms.tps_spatial_transformer import ThinPlate
from converter.alignment.trace import trace
from converter.parity.comparison import LIMIT, Comparison
from converter.references.hooks import observe
from converter.references.network import NetworkReference
from converter.references.positions import POSITIONS, plates
from converter.references.program import ProgramReference
from converter.sources.ir import Operation, Program, TensorSpec
from tests.support.small_networks import CRNN

TRANSFORMS = {
    "TPS": {"name": "TPS", "num_fiducial": 6, "loc_lr": 0.1, "model_name": "small"},
    "STN_ON": {
        "name": "STN_ON",
        "tps_inputsize": [32, 64],
        "tps_outputsize": [32, 64],
        "num_control_points": 6,
        "tps_margins": [0.05, 0.05],
        "stn_activation": "none",
    },
}
IMAGE = np.random.default_rng(0).uniform(-1, 1, (2, 3, 32, 64)).astype(np.float32)
Judge = Callable[[Model, Model], list[Comparison]]


@pytest.fixture(scope="module", params=TRANSFORMS)
def network(request) -> Model:
    torch.manual_seed(1)
    architecture = {**CRNN, "Transform": TRANSFORMS[request.param]}
    network = architectures.build(architecture, class_counts={"ctc": 7}).eval()
    for name, tensor in network.named_parameters():
        if ".fc." in name and "transform" in name:
            tensor.data.zero_()  # a free plate, as before training: it stays inside the image
        elif tensor.dim() > 1 and "transform" not in name:  # so that the image matters
            tensor.data.normal_(std=2 / tensor[0].numel() ** 0.5)
    return network


def in_other_digits(module: nn.Module, _inputs: object, positions: Tensor) -> Tensor:
    """What another library of linear algebra makes of a plate."""
    assert isinstance(module, ThinPlate)
    room = module.rounding * positions.abs().max()
    return positions + room * (2 * torch.rand_like(positions) - 1)


@contextmanager
def elsewhere(network: Model):
    torch.manual_seed(2)
    hooks = [
        network.get_submodule(name).register_forward_hook(in_other_digits)
        for name in plates(network)
    ]
    yield
    for hook in hooks:
        hook.remove()


class Elsewhere:
    """The process of a reference, in which another network runs with other digits."""

    def __init__(self, network: Model) -> None:
        self.network = network

    def load_program(self, _program: Program, _weights: Path, _wanted: Sequence[str]) -> None:
        pass

    def load_network(self, *_: Any) -> dict[str, float]:
        norms = (nn.BatchNorm1d, nn.BatchNorm2d, nn.LayerNorm)
        return {n: m.eps for n, m in self.network.named_modules() if isinstance(m, norms)}

    def run(
        self, inputs: Mapping[str, np.ndarray], names: Sequence[str] | None = None
    ) -> dict[str, np.ndarray]:
        (image,) = inputs.values()
        with elsewhere(self.network):
            if names is None:
                traced = trace(self.network, torch.from_numpy(image))
                sampling = next(o for o in traced.operations if o.kind == "grid_sample")
                values = [sampling.inputs["1"][0], *traced.outputs.values()]
                return {str(n): traced.values[name].numpy() for n, name in enumerate(values)}
            owners = {owner: plate for plate, owner in plates(self.network).items()}
            found = observe(self.network, image, [owners.get(name, name) for name in names])
        return {next((o for o, p in owners.items() if p == n), n): a for n, a in found.items()}


def by_program(theirs: Model, ours: Model) -> list[Comparison]:
    sampling = Operation("grid_sample", {"x": ("x",), "grid": ("grid",)}, ("bent",), {})
    specs = (TensorSpec("x", (-1, 3, 32, 64), "float32"),)
    program = Program("pir", (sampling,), {}, specs, ("out",), b"")
    reference = ProgramReference(Elsewhere(theirs), program, Path(), {}, "rec")
    return reference.compare(ours, IMAGE, LIMIT)


def by_network(theirs: Model, ours: Model, tmp_path: Path) -> list[Comparison]:
    (tmp_path / "ppocr/modeling/architectures").mkdir(parents=True)
    (tmp_path / "ppocr/modeling/architectures/base_model.py").touch()
    reference = NetworkReference(Elsewhere(theirs), tmp_path, ours.architecture, {}, "rec")
    return reference.compare(ours, IMAGE, LIMIT)


@pytest.fixture(params=["program", "network"])
def judge(request, tmp_path) -> Judge:
    if request.param == "program":
        return by_program
    return lambda theirs, ours: by_network(theirs, ours, tmp_path)


def faults(comparisons: list[Comparison]) -> list[str]:
    return [comparison.probe for comparison in comparisons if comparison.fault]


def test_what_follows_is_computed_at_the_positions_of_the_reference(judge, network):
    found = judge(network, network)
    assert not faults(found)
    (positions,) = (each for each in found if each.probe == POSITIONS)
    assert 1e-6 < positions.difference < LIMIT / 2
    others = [each.difference for each in found if each.probe not in (POSITIONS, "transform")]
    assert max(others) == 0


@pytest.mark.parametrize("network", ["TPS"], indirect=True)
def test_without_that_rounding_is_beyond_the_limit(network):
    with torch.inference_mode():
        ours = network(torch.from_numpy(IMAGE))
        with elsewhere(network):
            theirs = network(torch.from_numpy(IMAGE))
    assert (theirs - ours).abs().max() / theirs.abs().max() > LIMIT


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
def test_a_wrong_weight_shows(judge, network, before):
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    wrong = architectures.build(network.architecture, class_counts={"ctc": 7}).eval()
    name = next(
        name
        for name in state
        if name.endswith("fc2.bias" if before else "fc.weight") and "grid" not in name
    )
    state[name][0] += 0.01
    wrong.load_state_dict(state)
    found = faults(judge(network, wrong))
    assert found
    assert (POSITIONS in found) == before
