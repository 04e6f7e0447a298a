"""PicoDet: forms, sizes, the decoding of boxes, and options that do not fit."""

from __future__ import annotations

import pytest
import torch

from architectures import build, fuse
from architectures.backbones.det_pp_lcnet import LCNet
from architectures.heads.pico_head import PicoHead, decode_boxes
from architectures.joining import join_
from architectures.layers.onednn import ActivatedConv2d, has_onednn
from tests.support.seeded_values import seeded

SMALL = {"name": "LCNet", "scale": 0.25}
V1 = {
    "model_type": "layout",
    "Backbone": SMALL,
    "Neck": {"name": "CSPPAN", "out_channels": 8, "num_features": 4},
    "Head": {"name": "PicoHead", "num_classes": 3, "num_convs": 2},
}
V2 = {
    "model_type": "layout",
    "Backbone": SMALL,
    "Neck": {"name": "LCPAN", "out_channels": 8, "num_features": 4},
    "Head": {"name": "PicoHeadV2", "num_classes": 3, "num_convs": 1},
}


@pytest.mark.parametrize("config", [V1, V2], ids=["v1", "v2"])
@torch.inference_mode()
def test_every_form_computes_the_same(config):
    network = seeded(build(config))
    image = torch.rand(2, 3, 64, 128)
    expected = network(image)
    names = [f"{kind}.{n}" for kind in ("scores", "distances") for n in range(4)]
    assert list(expected) == names
    for level, cells in enumerate((8 * 16, 4 * 8, 2 * 4, 1 * 2)):
        assert expected[f"scores.{level}"].shape == (2, cells, 3)
        assert expected[f"distances.{level}"].shape == (2, cells, 32)
        assert 0 <= expected[f"scores.{level}"].min() <= expected[f"scores.{level}"].max() <= 1
    for form in ("deploy", "fused"):
        for name, result in fuse(network, form)(image).items():
            assert torch.allclose(result, expected[name], atol=1e-4), (form, name)
    joined = fuse(network)
    join_(joined)
    for name, result in joined(image).items():
        assert torch.allclose(result, expected[name], atol=1e-4), name
    logits = [joined.head.get_submodule(name) for name in joined.head.logits_layers]
    assert all(isinstance(layer, ActivatedConv2d) == has_onednn() for layer in logits)


def test_boxes_are_decoded_from_the_expected_distances():
    certain = torch.full((1, 2, 4, 8), -50.0)
    for cell, distances in enumerate(([1, 2, 3, 4], [0, 0, 7, 7])):
        for side, distance in enumerate(distances):
            certain[0, cell, side, distance] = 50.0
    boxes = decode_boxes([certain.flatten(2)], [(1, 2)], [16])
    # Centres at (0.5, 0.5) and (1.5, 0.5) cells of 16 pixels.
    assert boxes.tolist() == [[[-8.0, -24.0, 56.0, 72.0], [24.0, 8.0, 136.0, 120.0]]]


def test_a_flat_distribution_means_its_middle():
    boxes = decode_boxes([torch.zeros(1, 1, 32)], [(1, 1)], [8])
    assert torch.allclose(boxes, torch.tensor([[[-24.0, -24.0, 32.0, 32.0]]]))


def test_options_that_do_not_fit():
    with pytest.raises(ValueError, match="takes 4 maps of equal channels, not of"):
        PicoHead([8, 8, 8], 3)
    with pytest.raises(ValueError, match="feature_maps of LCNet are of 2 to 5"):
        LCNet(feature_maps=(1, 3))
