"""Configurations of PaddleDetection become our architectures."""

from __future__ import annotations

import copy
import re

import pytest

from converter.catalog import cards as catalog
from converter.catalog.custom import same_network
from converter.catalog.paddledetection import architecture_of
from converter.errors import ConfigError
from converter.references.recorded.record import shipped_record

PICO, DETR = "PicoDet-S_layout_3cls", "PP-DocLayout-L"
YOLO = "ppyolov2_r50vd_dcn_365e_publaynet"


def sections(name: str) -> dict[str, dict[str, object]]:
    record = shipped_record(catalog.card(name).recorded)
    assert record is not None
    return copy.deepcopy(dict(record.facts.architecture["config"]))


@pytest.mark.parametrize("name", [PICO, DETR, YOLO])
def test_a_configuration_becomes_that_of_the_card(name):
    assert same_network(architecture_of(sections(name)), catalog.card(name).architecture)


def test_the_class_count_is_the_heads():
    assert "num_classes" not in architecture_of(sections(PICO))["Head"]
    assert architecture_of(sections(PICO), 7)["Head"]["num_classes"] == 7


@pytest.mark.parametrize(
    ("name", "section", "option", "value"),
    [
        (PICO, "LCNet", "scale", 1.5),
        (PICO, "LCPAN", "out_channels", 128),
        (PICO, "PicoHeadV2", "reg_max", 15),
        (YOLO, "ResNet", "dcn_v2_stages", [2, 3]),
        (YOLO, "PPYOLOPAN", "spp", False),
        (YOLO, "YOLOv3Head", "iou_aware_factor", 0.4),
        (DETR, "PPHGNetV2", "arch", "X"),
        (
            DETR,
            "HybridEncoder",
            "encoder_layer",
            {"nhead": 4, "dim_feedforward": 512, "activation": "gelu"},
        ),
        (DETR, "RTDETRTransformer", "num_queries", 100),
    ],
)
def test_another_option_is_another_network(name, section, option, value):
    changed = sections(name)
    changed[section][option] = value
    assert not same_network(architecture_of(changed), catalog.card(name).architecture)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"use_align_head": False}, "share_cls_reg True, use_align_head False and use_se True"),
        ({"conv_feat": {"share_cls_reg": False}}, "share_cls_reg False, .* and use_se False"),
    ],
)
def test_a_head_of_another_kind(change, message):
    changed = sections(PICO)
    changed["PicoHeadV2"] |= change
    with pytest.raises(ConfigError, match=f"^PicoHeadV2 with {message} is not mirrored"):
        architecture_of(changed)


def test_another_detector():
    message = "sections RCNN, Other, but none of PicoDet, DETR, YOLOv3"
    with pytest.raises(ConfigError, match=re.escape(message)):
        architecture_of({"RCNN": {}, "Other": {}})
