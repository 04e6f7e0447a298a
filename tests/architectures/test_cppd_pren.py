"""CPPD and PREN, which read all characters at once: mistakes that their records tell."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from architectures.backbones.rec_efficientb3_pren import RESULTS, EfficientNetb3_PREN, SameConv2d
from architectures.heads.rec_cppd_head import Attention, CPPDHead
from architectures.necks.pren_fpn import PRENFPN
from tests.support.mistakes import no_bias, wrong_sign
from tests.support.recorded_mistakes import prove_mistaken

CPPD, PREN = "rec__rec_svtrnet_cppd_tiny_en", "rec__rec_efficientb3_fpn_pren"


def no_places(head: nn.Module) -> None:
    head.get_parameter("char_pos_embed").zero_()


def no_places_of_the_image(head: nn.Module) -> None:
    head.get_parameter("vis_pos_embed").zero_()


def scaled(layer: nn.Module) -> None:
    """What a scaled attention would compute."""
    layer.weight.mul_(32**-0.5)


def padded_alike(layer: nn.Module) -> None:
    """The usual padding, as wide on all sides."""
    assert isinstance(layer, SameConv2d)
    layer.forward = lambda x: F.conv2d(
        x, layer.weight, None, layer.stride, layer.kernel_size[0] // 2, groups=layer.groups
    )


def no_sigmoid(layer: nn.Module) -> None:
    layer.last = nn.Identity()


@pytest.mark.parametrize(
    ("name", "layer", "mistake", "seen"),
    [
        (CPPD, "head.pos_node_embed.embedding", wrong_sign, "head.pos_node_embed.embedding"),
        (CPPD, "head", no_places, "head.pos_node_decoder.0.mixer.q"),
        (CPPD, "head", no_places_of_the_image, "head.char_node_decoder.0.mixer.q"),
        (CPPD, "head.edge_decoder.p", scaled, "head.edge_decoder.p"),
        (CPPD, "head.edge_decoder.cv", "head.edge_decoder.pv", "head.edge_decoder.cv"),
        (PREN, "backbone._conv_stem", padded_alike, "backbone._conv_stem"),
        (PREN, "backbone.3-1._se_expand", no_bias, "backbone.3-1._se_expand"),
        (PREN, "neck.agg_w2.conv_n", no_sigmoid, "neck.gcn_weight.conv_n"),
        (PREN, "neck.gcn_pool.conv_n", no_bias, "neck.gcn_pool.conv_n"),
        (PREN, "neck.gcn_pool.linear", "neck.gcn_weight.linear", "neck.gcn_pool.linear"),
    ],
)
def test_a_mistake_is_seen_in_the_record(monkeypatch, name, layer, mistake, seen):
    report = prove_mistaken(monkeypatch, name, layer, mistake)
    assert not report.passed
    assert report.first_difference.startswith(f"{seen}: ")


def test_norms_have_paddles_eps():
    head, backbone = CPPDHead(None, 64, 7), EfficientNetb3_PREN()
    layers = [m.eps for m in head.modules() if isinstance(m, nn.LayerNorm)]
    batches = [m.eps for m in backbone.modules() if isinstance(m, nn.BatchNorm2d)]
    assert set(layers) == {1e-6}
    assert set(batches) == {1e-5}


def test_a_place_sees_the_image_and_no_other_place():
    torch.manual_seed(0)
    attention = Attention(32, 1)
    places, image = torch.randn(2, 4, 32), torch.randn(2, 6, 32)
    other = places.clone()
    other[:, 1] += 1
    changed = (attention(places, image) - attention(other, image)).abs().amax((0, 2)) > 1e-6
    assert changed.tolist() == [False, True, False, False]


@pytest.mark.parametrize(("size", "kernel", "stride"), [(8, 3, 2), (7, 3, 2), (9, 5, 2), (6, 5, 1)])
def test_same_padding(size, kernel, stride):
    conv = SameConv2d(1, 1, kernel, stride, bias=False)
    assert conv(torch.zeros(1, 1, size, size)).shape[2:] == ((size + stride - 1) // stride,) * 2


def test_the_maps_are_those_of_three_blocks():
    backbone = EfficientNetb3_PREN()
    assert [backbone.block_names[index] for index in RESULTS] == ["2-2", "4-4", "6-1"]
    with torch.no_grad():
        maps = backbone.eval()(torch.zeros(1, 3, 64, 64))
    assert [tuple(m.shape[1:]) for m in maps] == [(48, 8, 8), (136, 4, 4), (384, 2, 2)]
    assert backbone.out_channels == [48, 136, 384]


@pytest.mark.parametrize(("channels", "width"), [([8, 8], 6), ([8, 8, 8], 7)])
def test_maps_that_do_not_fit(channels, width):
    with pytest.raises(ValueError, match="three maps and a d_model that three divides"):
        PRENFPN(channels, 2, width, 4)
