"""PPHGNet, first version and second: structure, and folding in small variants."""

from __future__ import annotations

import copy

import pytest
import torch
from test_fuse import calibrated, difference, randomised
from torch import Tensor, nn

from architectures.backbones import rec_hgnet
from architectures.fuse import fold_

SMALLER = rec_hgnet.Variant(
    stem=(4, 4, 8),
    layers=2,
    stages=tuple(
        stage._replace(mid_channels=4, out_channels=8 * (i + 1))
        for i, stage in enumerate(rec_hgnet.SMALL.stages)
    ),
)
NETWORKS = {
    "det": lambda: rec_hgnet.PPHGNet(3, SMALLER, det=True),
    "rec": lambda: rec_hgnet.PPHGNet(3, SMALLER, det=False),
}


def maps(network: nn.Module, x: Tensor) -> list[Tensor]:
    with torch.no_grad():
        result = network(x)
    return [result] if isinstance(result, Tensor) else list(result)


@pytest.fixture(params=NETWORKS)
def backbone(request: pytest.FixtureRequest) -> nn.Module:
    torch.manual_seed(0)
    return NETWORKS[request.param]().eval()


def test_folding_changes_nothing(backbone):
    x = torch.rand(2, 3, 96, 64, dtype=torch.float64) * 2 - 1
    before = calibrated(randomised(backbone), x)
    folded = copy.deepcopy(before)
    fold_(folded)
    assert not [m for m in folded.modules() if isinstance(m, nn.BatchNorm2d)]
    assert difference(maps(before, x), maps(folded, x)) < 1e-11


def test_norms_have_paddles_eps(backbone):
    norms = [m for m in backbone.modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(norms) > 20
    assert {norm.eps for norm in norms} == {1e-5}


@pytest.mark.parametrize("name", ["det"])
def test_detection_gives_maps_of_all_sizes(name):
    network = NETWORKS[name]().eval()
    found = maps(network, torch.zeros(1, 3, 64, 96))
    assert [tuple(m.shape[1:]) for m in found] == [
        (channels, 64 // s, 96 // s)
        for channels, s in zip(network.out_channels, (4, 8, 16, 32), strict=True)
    ]


@pytest.mark.parametrize("name", ["rec"])
def test_recognition_gives_one_row(name):
    network = NETWORKS[name]().eval()
    (found,) = maps(network, torch.zeros(1, 3, 48, 160))
    assert found.shape == (1, network.out_channels, 1, 20)


def test_only_later_blocks_of_a_stage_add_their_input(backbone):
    assert [[b.identity for b in stage.blocks] for stage in backbone.stages] == [
        [False],
        [False],
        [False, True],
        [False],
    ]
