"""The networks of PP-OCRv6: structure, traps, errors. The records prove their values."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from architectures import Model, build, fuse
from architectures.backbones.rec_lcnetv4 import LCNetV4Block, PPLCNetV4
from architectures.layers.squeeze_excite import SqueezeExcite
from architectures.necks.lk_pan import LKPAN
from architectures.necks.rep_lk import DilatedReparamBlock
from architectures.reparameterize import fold_as_exported_
from converter.catalog.cards import card

NAMES = [
    f"PP-OCRv6_{size}_{task}" for task in ("det", "rec") for size in ("tiny", "small", "medium")
]


@pytest.fixture(scope="module", params=NAMES)
def network(request: pytest.FixtureRequest) -> Model:
    """Built without values: structure is all that is asked here."""
    release = card(request.param)
    with torch.device("meta"):
        return build(release.architecture, class_counts=dict.fromkeys(release.class_counts, 7))


def state(name: str, form: str = "train") -> dict[str, Tensor]:
    release = card(name)
    counts = dict.fromkeys(release.class_counts, 7)
    with torch.device("meta"):
        return build(release.architecture, class_counts=counts, form=form).state_dict()


@pytest.mark.parametrize(
    ("name", "tensor", "shape"),
    [
        ("PP-OCRv6_tiny_det", "backbone.stem.stem2a.conv.weight", (8, 16, 2, 2)),
        ("PP-OCRv6_small_det", "backbone.blocks_s3.3.token_mixer.se.conv1.bias", (48,)),
        ("PP-OCRv6_small_det", "neck.inp_conv_dw.0.dil_conv_k3_3.weight", (96, 1, 3, 3)),
        ("PP-OCRv6_small_det", "head.aux_thresh_p2.conv1.weight", (24, 96, 3, 3)),
        ("PP-OCRv6_medium_det", "neck.pan_lat_conv.3.dw.dil_bn_k5_2.running_var", (64,)),
        ("PP-OCRv6_medium_det", "neck.incl4.q_layer_1x3.weight", (32, 32, 1, 3)),
        ("PP-OCRv6_tiny_rec", "backbone.conv1.2.bn.running_mean", (48,)),
        ("PP-OCRv6_tiny_rec", "head.ctc_head.guide_layer.0.weight", (160, 1, 5)),
        ("PP-OCRv6_small_rec", "head.ctc_encoder.encoder.local_conv.0.weight", (120, 1, 1, 7)),
        ("PP-OCRv6_medium_rec", "head.ctc_encoder.encoder.svtr_block.1.mlp.fc1.bias", (768,)),
    ],
)
def test_names_are_those_of_paddleocr(name, tensor, shape):
    assert state(name)[tensor].shape == shape


@pytest.mark.parametrize("name", NAMES)
def test_deployed_networks_have_neither_branches_nor_training_heads(name):
    left = state(name, "deploy")
    branches = ("rep_dw.conv", "rep_dw.bn", "dil_", "lk_origin", "origin_bn", "aux_", "thresh")
    assert not [tensor for tensor in left if any(part in tensor for part in branches)]
    merged = [tensor for tensor in left if tensor.endswith("rep_dw.reparam_conv.bias")]
    blocks = [tensor for tensor in state(name) if tensor.endswith("rep_dw.conv1.weight")]
    assert len(merged) == len(blocks) > 0


@pytest.mark.parametrize("name", NAMES)
def test_exports_fold_all_of_the_backbone_but_the_plain_stem(name):
    release = card(name)
    counts = dict.fromkeys(release.class_counts, 7)
    with torch.device("meta"):
        network = build(release.architecture, class_counts=counts, form="deploy")
    fold_as_exported_(network)
    left = [n for n, m in network.backbone.named_modules() if isinstance(m, nn.BatchNorm2d)]
    assert left == (["conv1.0.bn", "conv1.2.bn"] if name == "PP-OCRv6_tiny_rec" else [])


def test_epsilons_are_those_of_paddleocr(network):
    for name, module in network.named_modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            assert module.eps == 1e-5
        if isinstance(module, nn.LayerNorm):
            assert module.eps == (1e-6 if name.endswith("encoder.norm") else 1e-5)


def test_slopes_are_those_of_paddleocr(network):
    for part, slope in ((network.backbone, 1 / 6), (network.neck, 0.2)):
        assert all(m.slope == slope for m in part.modules() if isinstance(m, SqueezeExcite))


@pytest.mark.parametrize(
    ("out_channels", "stride", "residual"), [(8, 1, True), (16, 1, False), (8, (2, 1), False)]
)
def test_a_block_adds_its_map_only_where_the_shape_stays(out_channels, stride, residual):
    block = LCNetV4Block(8, out_channels, stride, se=False).eval()
    nn.init.zeros_(block.channel_mixer.compress.conv.weight)
    x = torch.randn(1, 8, 4, 4)
    result = block(x)
    expected = block.token_mixer(x) if residual else torch.zeros_like(result)
    torch.testing.assert_close(result, expected)
    assert hasattr(block.token_mixer, "rep_dw") == residual


@pytest.mark.parametrize("kernel", [5, 7, 9, 11, 13])
def test_dilated_branches_merge_into_the_large_kernel(kernel):
    torch.manual_seed(0)
    block = DilatedReparamBlock(4, kernel).double().eval()
    x = torch.randn(1, 4, 15, 17, dtype=torch.float64)
    with torch.no_grad():
        expected = block(x)
        torch.testing.assert_close(block.deployed()(x), expected, rtol=1e-12, atol=1e-12)


def test_the_pyramid_of_paddlex_has_biases():
    plain, with_bias = (LKPAN([4] * 4, 16, mode).state_dict() for mode in ("large", "merged"))
    added = {"inp_conv", "pan_lat_conv"}
    assert {n.split(".")[0] for n in with_bias.keys() - plain.keys()} == added
    assert all(n.endswith(".bias") for n in with_bias.keys() - plain.keys())


def test_the_guide_layer_is_folded():
    release = card("PP-OCRv6_tiny_rec")
    fused = fuse(build(release.architecture, class_counts={"ctc": 7}))
    assert isinstance(fused.head.ctc_head.guide_layer[1], nn.Identity)
    assert fused.head.ctc_head.guide_layer[0].bias is not None


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (PPLCNetV4, {"model_size": "large"}, "no model_size 'large'; known: tiny, small, medium"),
        (DilatedReparamBlock, {"channels": 4, "kernel_size": 3}, "for a kernel of 3; .* 5, 7, 9"),
    ],
)
def test_unknown_sizes(make: Any, options: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        make(**options)
