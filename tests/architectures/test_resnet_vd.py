"""ResNet_vd as a detector's backbone: maps, names, options that PaddleOCR does not read."""

from __future__ import annotations

import pytest
import torch

from architectures.backbones.det_resnet_vd import ResNet_vd
from architectures.registry import make


@pytest.mark.parametrize(
    ("layers", "units", "widest"),
    [
        (18, 8, 512),
        (34, 16, 512),
        (50, 16, 2048),
        (101, 33, 2048),
        (152, 50, 2048),
        (200, 66, 2048),
    ],
)
def test_depths(layers, units, widest):
    with torch.device("meta"):
        backbone = ResNet_vd(layers=layers)
        maps = backbone(torch.zeros(1, 3, 64, 96))
    assert sum(map(len, backbone.stage_names)) == units
    assert backbone.out_channels == [widest // 8, widest // 4, widest // 2, widest]
    assert [m.shape[1] for m in maps] == backbone.out_channels
    assert [tuple(m.shape[2:]) for m in maps] == [(16, 24), (8, 12), (4, 6), (2, 3)]


def test_names_are_those_of_paddleocr():
    with torch.device("meta"):
        state = ResNet_vd(layers=50).state_dict()
    assert state["bb_0_0.short._conv.weight"].shape == (256, 64, 1, 1)
    assert state["bb_3_2.conv2._batch_norm.running_var"].shape == (2048,)
    assert "bb_3_1.short._conv.weight" not in state


def test_channels_come_from_the_image_not_from_the_section():
    options = {"name": "ResNet_vd", "layers": 18, "in_channels": 3, "disable_se": True}
    with torch.device("meta"):
        backbone = make("Backbone", "det", options, 1)
    assert backbone.conv1_1._conv.in_channels == 1
