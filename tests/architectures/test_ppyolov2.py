"""PP-YOLOv2: its backbone's stages, the order of its maps, and the weight of the overlaps."""

from __future__ import annotations

import copy
import re

import pytest
import torch

from architectures.backbones.det_resnet_vd import LayoutResNet
from architectures.heads.yolo_head import YOLOv3Head
from architectures.layers.deformable import DeformConv2D
from architectures.necks.pp_yolo_pan import PPYOLOPAN, PPYOLODetBlockCSP
from architectures.reparameterize import fold_
from tests.support.seeded_values import seeded


def test_the_backbone_deforms_one_stage_in_one_group():
    with torch.device("meta"):
        network = LayoutResNet(3, 50, return_idx=[1, 2, 3], dcn_v2_stages=[3])
    assert network.out_channels == [512, 1024, 2048]
    moved = [name for name, m in network.named_modules() if isinstance(m, DeformConv2D)]
    assert moved == [f"bb_3_{unit}.conv1._conv.conv_dcn" for unit in range(3)]
    assert network.bb_3_0.conv1._conv.sizes == [18, 9]


def test_basic_units_do_not_deform():
    with pytest.raises(ValueError, match="deform"):
        LayoutResNet(3, 18, dcn_v2_stages=[3])
    with torch.device("meta"):
        assert LayoutResNet(3, 18, dcn_v2_stages=[-1]).out_channels == [64, 128, 256, 512]


@torch.inference_mode()
def test_the_neck_returns_coarse_maps_first_and_folds(monkeypatch):
    monkeypatch.setattr("architectures.necks.pp_yolo_pan.WIDTH", 8)
    neck = seeded(PPYOLOPAN([3, 4, 5], spp=True))
    assert neck.out_channels == [16, 8, 4]
    maps = [torch.rand(2, c, s, s) - 0.5 for c, s in ((3, 16), (4, 8), (5, 4))]
    results = neck(maps)
    assert [tuple(x.shape[1:]) for x in results] == [(16, 4, 4), (8, 8, 8), (4, 16, 16)]
    folded = copy.deepcopy(neck)
    fold_(folded)
    for ours, theirs in zip(folded(maps), results, strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-4, atol=1e-3)


def test_pooling_replaces_the_second_layer_of_the_second_pair():
    names = [name for name, _ in PPYOLODetBlockCSP(4, 8, 3, True).named_parameters()]
    layers = [name for name in names if name.endswith("conv.weight") and "module" in name]
    assert [name.removeprefix("conv_module.").removesuffix("conv.weight") for name in layers] == [
        *("0.0.", "0.1.", "1.0.", "spp.conv.", "2.0.", "2.1."),
    ]
    plain = [name for name, _ in PPYOLODetBlockCSP(4, 8, 3, False).named_parameters()]
    assert "conv_module.1.1.conv.weight" in plain
    with pytest.raises(ValueError, match="two pairs"):
        PPYOLOPAN([3, 4, 5], conv_block_num=1, spp=True)


@torch.inference_mode()
@pytest.mark.parametrize("factor", [0.0, 0.4, 1.0])
def test_overlaps_weigh_the_logit_of_an_object(factor):
    classes = 2
    head = seeded(YOLOv3Head([4], classes, anchor_masks=[[0, 1, 2]], iou_aware_factor=factor))
    x = torch.rand(2, 4, 3, 5) * 4 - 2
    raw = head.yolo_output[0](x)
    result = head([x])["maps.0"]
    assert result.shape == (2, 3 * (5 + classes), 3, 5)
    for anchor in range(3):
        overlap, start = raw[:, anchor].sigmoid(), 3 + anchor * (5 + classes)
        own = raw[:, start + 4].sigmoid()
        expected = raw[:, start : start + 5 + classes].clone()
        expected[:, 4] = (own ** (1 - factor) * overlap**factor).logit()
        ours = result[:, anchor * (5 + classes) : (anchor + 1) * (5 + classes)]
        assert torch.allclose(ours, expected, atol=1e-4)


@torch.inference_mode()
def test_certain_logits_stay_finite():
    head = YOLOv3Head([1], 1, anchor_masks=[[0, 1, 2]])
    head.yolo_output[0].weight.zero_()
    for value in (-1e4, 1e4):
        head.yolo_output[0].bias.fill_(value)
        result = head([torch.zeros(1, 1, 1, 1)])["maps.0"]
        assert result.isfinite().all()
        assert abs(result[0, 4, 0, 0]) == pytest.approx(16.118, abs=1e-2)


@pytest.mark.parametrize(
    ("masks", "message"),
    [
        ([[0, 1, 2]], "1 anchor_masks for 2 maps"),
        ([[0, 1, 2], [3, 4]], "should name 3 anchors"),
        ([[0, 1, 2], [7, 8, 9]], "not among the 9"),
    ],
)
def test_anchors_that_do_not_fit(masks, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        YOLOv3Head([8, 4], 1, anchor_masks=masks)
