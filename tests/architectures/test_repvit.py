"""RepViT as a backbone: what the recorded networks do not show."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from architectures.backbones.rec_repvit import (
    Conv2D_BN,
    RepSVTR,
    RepSVTR_det,
    RepVGGDW,
    SEModule,
)
from architectures.reparameterize import BATCH_NORMS, Deployable, fold_as_exported_


@pytest.fixture
def backbone():
    with torch.device("meta"):
        return RepSVTR_det().eval()


def test_maps_and_names_are_those_of_paddleocr(backbone):
    state = backbone.state_dict()
    assert state["features.0.2.c.weight"].shape == (48, 24, 3, 3)
    assert state["features.4.token_mixer.0.conv.bn.running_var"].shape == (96,)
    assert state["features.3.token_mixer.2.c.weight"].shape == (96, 48, 1, 1)
    assert state["features.13.channel_mixer.m.2.bn.weight"].shape == (384,)
    with torch.device("meta"):
        maps = backbone(torch.zeros(1, 3, 64, 96))
    assert backbone.out_channels == [48, 96, 192, 384]
    assert [m.shape[1:] for m in maps] == [(48, 16, 24), (96, 8, 12), (192, 4, 6), (384, 2, 3)]


def test_as_a_recogniser_it_leaves_a_row():
    with torch.device("meta"):
        backbone = RepSVTR().eval()
        assert backbone(torch.zeros(1, 3, 48, 64)).shape == (1, 384, 1, 8)
    assert backbone.out_channels == 384
    strides = [
        block.token_mixer[0].c.stride for block in (backbone.features[4], backbone.features[11])
    ]
    assert strides == [(2, 1), (2, 1)]
    assert {m.eps for m in backbone.modules() if isinstance(m, BATCH_NORMS)} == {1e-5}


def test_norms_have_paddles_eps(backbone):
    norms = [m for m in backbone.modules() if isinstance(m, BATCH_NORMS)]
    assert len(norms) == 2 + 10 * 4 + 3 * 4
    assert {norm.eps for norm in norms} == {1e-5}


def test_channel_weights_have_a_quarter_of_the_channels(backbone):
    weighed = [m for m in backbone.modules() if isinstance(m, SEModule)]
    assert [m.fc1.out_channels for m in weighed] == [16, 24, 48, 48, 96]


def test_the_export_has_no_normalisation_left(backbone):
    mixers = [block.token_mixer for block in backbone.features[1:]]
    for mixer in mixers:
        if isinstance(mixer[0], RepVGGDW):
            assert isinstance(mixer[0], Deployable)
            mixer[0] = mixer[0].deployed()
    fold_as_exported_(backbone)
    assert not [m for m in backbone.modules() if isinstance(m, BATCH_NORMS)]
    assert all(m.c.bias is not None for m in backbone.modules() if isinstance(m, Conv2D_BN))


def test_the_identity_is_a_branch_of_its_own():
    """All else at zero, the layer gives its input, normalised."""
    layer = RepVGGDW(4).eval()
    x = torch.randn(1, 4, 5, 6)
    with torch.no_grad():
        for tensor in (layer.conv.c.weight, layer.conv1.weight, layer.conv1.get_parameter("bias")):
            nn.init.zeros_(tensor)
        expected = layer.bn(x)
        torch.testing.assert_close(layer(x), expected)
        torch.testing.assert_close(layer.deployed()(x), expected)
