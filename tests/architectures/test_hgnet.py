"""PPHGNet, first version and second: structure, and folding in small variants."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from architectures.backbones import rec_hgnet, rec_pphgnetv2
from architectures.reparameterize import fold_
from tests.architectures.test_reparameterize import calibrated, difference, randomised

SMALLER = rec_hgnet.Variant(
    stem=(4, 4, 8),
    layers=2,
    stages=tuple(
        stage._replace(mid_channels=4, out_channels=8 * (i + 1))
        for i, stage in enumerate(rec_hgnet.SMALL.stages)
    ),
)
SMALLER_V2 = rec_pphgnetv2.Variant(
    stem=(4, 8),
    layers=2,
    stages=tuple(
        stage._replace(mid_channels=4, out_channels=8 * (i + 1))
        for i, stage in enumerate(rec_pphgnetv2.B4.stages)
    ),
)
NETWORKS = {
    "det": lambda: rec_hgnet.PPHGNet(3, SMALLER, det=True),
    "rec": lambda: rec_hgnet.PPHGNet(3, SMALLER, det=False),
    "det v2": lambda: rec_pphgnetv2.PPHGNetV2(3, SMALLER_V2, det=True, text_rec=False),
    "rec v2": lambda: rec_pphgnetv2.PPHGNetV2(3, SMALLER_V2, det=False, text_rec=True),
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


@pytest.mark.parametrize("name", ["det", "det v2"])
def test_detection_gives_maps_of_all_sizes(name):
    network = NETWORKS[name]().eval()
    found = maps(network, torch.zeros(1, 3, 64, 96))
    assert [tuple(m.shape[1:]) for m in found] == [
        (channels, 64 // s, 96 // s)
        for channels, s in zip(network.out_channels, (4, 8, 16, 32), strict=True)
    ]


@pytest.mark.parametrize("name", ["rec", "rec v2"])
def test_recognition_gives_one_row(name):
    network = NETWORKS[name]().eval()
    (found,) = maps(network, torch.zeros(1, 3, 48, 160))
    assert found.shape == (1, network.out_channels, 1, 20)


def test_only_later_blocks_of_a_stage_add_their_input(backbone):
    flags = [[block.identity for block in stage.blocks] for stage in backbone.stages]
    third = [False, True, True][: len(flags[2])]
    assert flags == [[False], [False], third, [False]]


def test_second_version_pads_its_stem_after_the_map():
    stem = rec_pphgnetv2.StemBlock(3, 4, 8, text_rec=True)
    for layer in (stem.stem2a, stem.stem2b):
        assert (layer.conv.kernel_size, layer.conv.padding) == ((2, 2), (0, 0))
    padded = rec_pphgnetv2.pad_after(torch.ones(1, 1, 2, 2))
    assert padded[0, 0].tolist() == [[1, 1, 0], [1, 1, 0], [0, 0, 0]]


@pytest.mark.parametrize("both", [True, False])
def test_second_version_is_for_detection_or_recognition(both):
    with pytest.raises(ValueError, match="with det: true or with text_rec: true"):
        rec_pphgnetv2.PPHGNetV2_B4(det=both, text_rec=both)
