"""Layers that become one operation compute the same."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from architectures import build, fuse
from architectures.backbones.rec_lcnetv3 import LCNetV3Block, Row
from architectures.backbones.rec_lcnetv4 import JoinedBlock, LCNetV4Block
from architectures.heads.rec_att_head import AttentionCell, JoinedAttentionCell
from architectures.joining import join_
from architectures.layers import onednn
from architectures.layers.affine import JoinedAffine
from architectures.layers.conv import ACTIVATIONS, ConvBatchNorm, ConvBNAct
from architectures.layers.onednn import (
    ActivatedConv1d,
    ActivatedConv2d,
    ActivatedLinear,
    has_onednn,
)
from architectures.necks.csp_pan import CSPPAN, JoinedCSPLayer
from architectures.reparameterize import _deploy, fold_, overwrite_
from tests.architectures.test_reparameterize import difference, outputs, randomised
from tests.support.small_networks import NETWORKS

SIZES = (2, 4, 11, 9), (1, 4, 64, 96), (5, 4, 3, 3)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_results_stay(name):
    architecture, (height, width) = NETWORKS[name]
    torch.manual_seed(0)
    x = torch.rand(1, 3, height, width) * 2 - 1
    model = fuse(randomised(build(architecture)).float())
    joined = copy.deepcopy(model)
    join_(joined)
    with torch.inference_mode():
        assert difference(outputs(model, x), outputs(joined, x)) < 1e-4


@pytest.mark.parametrize("act", ["relu", "hardswish", "swish", "gelu", None])
@pytest.mark.parametrize("block", [ConvBNAct, ConvBatchNorm])
def test_activations(block, act):
    layers = nn.Sequential(block(4, 6, 3, stride=2, act=act)).eval()
    fold_(layers)
    maps = [torch.randn(size).to(memory_format=torch.channels_last) for size in SIZES]
    with torch.inference_mode():
        expected = list(map(layers, maps))
        join_(layers)
        for x, results in zip(maps, expected, strict=True):  # weights are ordered for the first
            assert torch.allclose(layers(x), results, atol=1e-6)
    kinds = [type(module) for module in layers.modules() if not list(module.children())]
    assert kinds.count(ActivatedConv2d) == has_onednn()
    assert has_onednn() <= (ACTIVATIONS.get(act) not in kinds)


@pytest.mark.parametrize("approximate", ["none", "tanh"])
def test_activations_within_a_sequence(approximate):
    convs = nn.Conv2d(4, 6, 3), nn.Conv2d(6, 6, 3, groups=2), nn.Conv2d(6, 3, 3, padding="same")
    layers = nn.Sequential(convs[0], nn.GELU(approximate), convs[1], nn.Sigmoid(), convs[2])
    x = torch.randn(2, 4, 9, 7) * 3
    with torch.inference_mode():
        expected = layers(x)
        join_(holder := nn.Sequential(layers))
        assert torch.allclose(holder(x), expected, atol=1e-6)
    if has_onednn():
        kinds = [ActivatedConv2d, nn.Identity, ActivatedConv2d, nn.Sigmoid, nn.Conv2d]
        assert [type(layer) for layer in holder[0]] == kinds


@pytest.mark.parametrize(("se", "stride"), [(False, 1), (True, 1), (False, 2)])
def test_blocks_of_two_layers(se, stride):
    torch.manual_seed(0)
    block = LCNetV3Block(Row(3, 8, 16, 1, 1, se), stride, 1.0, 2)
    for parameter in block.parameters():
        nn.init.normal_(parameter, 0.3)
    layers = nn.Sequential(block).eval()
    _deploy(layers)
    fold_(layers)
    maps = [torch.randn(size) for size in ((1, 16, 6, 8), (3, 16, 12, 4))]
    with torch.inference_mode():
        expected, before = list(map(layers, maps)), [x.clone() for x in maps]
        overwrite_(layers)
        join_(layers)
        for x, results, copied in zip(maps, expected, before, strict=True):
            assert torch.allclose(layers(x), results, rtol=1e-4, atol=1e-4)
            assert torch.equal(x, copied)
    kinds = [type(layer) for layer in layers[0]]
    assert kinds.count(JoinedAffine) == 1 + se


@pytest.mark.parametrize("se", [False, True])
def test_blocks_that_are_added_to_their_input(se):
    torch.manual_seed(0)
    blocks = nn.Sequential(LCNetV4Block(8, 8, 1, se), LCNetV4Block(8, 6, (2, 1), se)).eval()
    blocks(torch.randn(1, 8, 5, 6))
    fold_(blocks)
    maps = [torch.randn(size) for size in ((1, 8, 5, 6), (3, 8, 12, 4))]
    with torch.inference_mode():
        expected, before = list(map(blocks, maps)), [x.clone() for x in maps]
        join_(blocks)
        for x, results, copied in zip(maps, expected, before, strict=True):
            assert torch.allclose(blocks(x), results, atol=1e-5)
            assert torch.equal(x, copied)
    assert [type(block) for block in blocks] == [
        JoinedBlock if has_onednn() else LCNetV4Block,
        LCNetV4Block,
    ]


def test_a_normalisation_that_is_not_folded_stays_before_its_activation():
    layers = nn.Sequential(ConvBNAct(4, 6, 3, act="relu"), LCNetV4Block(6, 6, 1, se=False)).eval()
    x = torch.randn(1, 4, 5, 5)
    with torch.inference_mode():
        expected = layers(x)
        join_(layers)
        assert torch.allclose(layers(x), expected, atol=1e-5)
    assert any(isinstance(module, nn.ReLU) for module in layers.modules())


class Added(ConvBNAct):
    """Does more than the block that it inherits from."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) + x


def test_blocks_of_one_layer_are_that_layer():
    layers = nn.Sequential(ConvBNAct(3, 4, 1, act="relu"), Added(4, 4, 1)).eval()
    fold_(layers)
    x = torch.randn(1, 3, 5, 6)
    with torch.inference_mode():
        expected = layers(x)
        join_(layers)
        assert torch.allclose(layers(x), expected, atol=1e-6)
    assert [type(layer) for layer in layers][1:] == [Added]
    assert isinstance(layers[0], ActivatedConv2d) or not has_onednn()


def test_linear_layers():
    layers = nn.Sequential(
        nn.Sequential(nn.Linear(5, 7), nn.Linear(7, 3, bias=False), nn.Linear(3, 4), nn.Sigmoid())
    )
    x = torch.randn(2, 5)
    with torch.inference_mode():
        expected = layers(x)
        join_(layers)
        assert torch.allclose(layers(x), expected, atol=1e-6)
    assert [type(layer) for layer in layers[0]] == [
        ActivatedLinear if has_onednn() else nn.Linear,
        nn.Sigmoid,
    ]


@pytest.mark.parametrize("lstm", [False, True])
def test_cells(lstm):
    torch.manual_seed(0)
    layers = nn.Sequential(AttentionCell(5, 3, 4, lstm=lstm))
    features, last = torch.randn(2, 6, 5), torch.tensor([3, 0])

    def steps() -> list[torch.Tensor]:
        state, keys = layers[0].start(features)
        state = layers[0](state, features, keys, last)
        return [*state, *layers[0](state, features, keys, last.flip(0))]

    with torch.inference_mode():
        expected = steps()
        join_(layers)
        for one, other in zip(expected, steps(), strict=True):
            assert torch.allclose(one, other, atol=1e-6)
    assert isinstance(layers[0], AttentionCell if lstm else JoinedAttentionCell)


def test_maps_side_by_side():
    torch.manual_seed(0)
    model = nn.Sequential(CSPPAN([4, 6, 8], 8, num_features=4)).eval()
    fold_(model)
    maps = [torch.rand(2, c, h, w) for c, h, w in ((4, 13, 9), (6, 7, 5), (8, 4, 3))]
    with torch.inference_mode():
        expected = model(maps)
        join_(model)
        for one, other in zip(expected, model(maps), strict=True):
            assert torch.allclose(one, other, atol=1e-5)
    blocks = [*model[0].top_down_blocks, *model[0].bottom_up_blocks]
    assert all(isinstance(block, JoinedCSPLayer) == has_onednn() for block in blocks)


def test_maps_side_by_side_with_normalisation_are_joined():
    model = nn.Sequential(CSPPAN([4, 6, 8], 8)).eval()
    join_(model)
    assert not any(isinstance(module, JoinedCSPLayer) for module in model.modules())


@pytest.mark.parametrize("activation", [nn.Identity(), nn.GELU(), nn.ReLU(), nn.SiLU()])
@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_linear_layers_of_many_rows_have_ordered_weights(activation, kind):
    torch.manual_seed(0)
    bias = not isinstance(activation, nn.ReLU)
    layers = nn.Sequential(nn.Linear(120, 360, bias), activation, nn.Dropout()).eval().to(kind)
    few, many = torch.randn(3, 120).to(kind), torch.randn(6, 40, 120).to(kind)
    with torch.inference_mode():
        expected = [layers(x) for x in (few[:0], few, many)]
        join_(layers)
        assert isinstance(layers[0], ActivatedLinear) == has_onednn()
        for x, result in zip((few[:0], few), expected[:2], strict=True):
            assert torch.equal(layers(x), result)
        assert getattr(layers[0], "_ordered", None) is None
        tolerance = 1e-5 if kind is torch.float32 else 2e-2
        for x in (many, many.transpose(0, 1).contiguous().transpose(0, 1)):
            assert torch.allclose(layers(x), expected[2], atol=tolerance)
        assert (getattr(layers[0], "_ordered", None) is not None) == has_onednn()


@pytest.mark.parametrize("options", [{"padding": 2, "groups": 6}, {"stride": 2, "dilation": 2}])
def test_convolutions_of_sequences(options):
    layers = nn.Sequential(nn.Conv1d(6, 12, 5, **options), nn.Hardswish()).eval()
    x = torch.randn(2, 30, 6).transpose(1, 2)
    with torch.inference_mode():
        expected = layers(x)
        join_(layers)
        for same in (x, x.contiguous()):
            assert torch.allclose(layers(same), expected, atol=1e-6)
    assert isinstance(layers[0], ActivatedConv1d) == has_onednn()


def test_weights_are_ordered_once_for_a_shape(monkeypatch):
    layer = ActivatedConv2d(conv := nn.Conv2d(96, 24, 3, padding=1))
    maps = [torch.randn(1, 96, size, size) for size in (4, 64, 4, 64)]
    with torch.inference_mode():
        for x in maps:
            assert torch.allclose(layer(x), conv(x), atol=1e-4)
    orders = {id(layer.ordered_weight(x.shape)) for x in maps}
    assert len(orders) <= 2
    for one, same in zip(maps[:2], maps[2:], strict=True):
        assert layer.ordered_weight(one.shape) is layer.ordered_weight(same.shape)
    monkeypatch.setattr(onednn, "MOST_SHAPES", 3)
    before = layer.ordered_weight(maps[0].shape)
    for width in range(1, 9):
        layer.ordered_weight(torch.Size((1, 96, 4, width)))
    assert layer.ordered_weight(maps[0].shape) is before  # the same order is not made twice
