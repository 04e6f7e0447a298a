"""Networks for inference alone, whose layers write over what they are given."""

import copy

import pytest
import torch

from architectures import build, fuse
from architectures.layers.affine import LearnableAffine
from architectures.reparameterize import overwrite_
from tests.architectures.test_reparameterize import difference, outputs, randomised
from tests.support.small_networks import NETWORKS


@pytest.mark.parametrize("name", NETWORKS)
def test_the_results_stay(name):
    architecture, (height, width) = NETWORKS[name]
    torch.manual_seed(0)
    x = torch.rand(1, 3, height, width) * 2 - 1
    model = fuse(randomised(build(architecture)).float())
    overwriting = copy.deepcopy(model)
    overwrite_(overwriting)
    given = x.clone()
    with torch.inference_mode():
        expected = outputs(model, x)
        assert all(output.float().std() > 0 for output in expected)
        assert difference(expected, outputs(overwriting, x)) < 1e-5
    assert torch.equal(x, given)


def test_only_then_layers_write_over_what_they_are_given():
    layers = torch.nn.Sequential(LearnableAffine(), torch.nn.ReLU())
    with torch.no_grad():
        layers[0].bias.fill_(-1)
        x = torch.tensor([[0.5, 2.0]])
        assert layers(x) is not x
        overwrite_(layers)
        assert layers(x) is x
    assert x.tolist() == [[0.0, 1.0]]
