"""A convolution over maps of several sizes computes what it does over enlarged ones."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from architectures import build, fuse
from architectures.heads.det_db_head import JoinedLocalModule, LocalModule
from architectures.joining import join_
from architectures.layers.onednn import has_onednn
from architectures.layers.pyramid import PyramidConv2d, is_separable
from architectures.reparameterize import fold_
from tests.architectures.test_reparameterize import randomised
from tests.support.small_networks import NETWORKS


@pytest.mark.skipif(not has_onednn(), reason="the layer is one of oneDNN, which PyTorch lacks here")
@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize(("factors", "channels"), [((8, 4, 2, 1), (3, 3, 3, 3)), ((2, 1), (6, 1))])
@torch.inference_mode()
def test_the_results_are_those_of_enlarged_maps(kernel, relu, factors, channels):
    torch.manual_seed(0)
    conv = nn.Conv2d(sum(channels), 5, kernel, padding=kernel // 2, bias=relu)
    for count, height, width in ((2, 2, 3), (1, 4, 1)):
        maps = [
            torch.randn(count, c, height * 8 // factor, width * 8 // factor)
            for c, factor in zip(channels, factors, strict=True)
        ]
        enlarged = [
            F.interpolate(x, scale_factor=float(factor), mode="nearest")
            for x, factor in zip(maps, factors, strict=True)
        ]
        expected = conv(torch.cat(enlarged, 1))
        layer = PyramidConv2d(conv, channels, factors, relu)
        assert torch.allclose(layer(maps), expected.relu() if relu else expected, atol=1e-5)


@pytest.mark.parametrize(
    "options",
    [
        {"kernel_size": 3},
        {"kernel_size": 3, "padding": 1, "stride": 2},
        {"kernel_size": 3, "padding": 1, "groups": 2},
        {"kernel_size": 3, "padding": "same"},
        {"kernel_size": (3, 1), "padding": (1, 0)},
        {"kernel_size": 3, "padding": 1, "padding_mode": "circular"},
    ],
)
def test_other_layers_are_not_separable(options):
    assert not is_separable(nn.Conv2d(4, 4, **options))
    assert is_separable(nn.Conv2d(4, 4, 3, padding=1))


@torch.inference_mode()
def test_the_refined_map():
    torch.manual_seed(0)
    module = nn.Sequential(LocalModule(4, 6)).eval()
    fold_(module)
    features, base = torch.randn(2, 4, 5, 7), torch.rand(2, 1, 10, 14)
    expected = module[0](features, base)
    join_(module)
    assert isinstance(module[0], JoinedLocalModule) == has_onednn()
    assert torch.allclose(module[0](features, base), expected, atol=1e-6)


def detectors() -> dict[str, bool]:
    """Return the small networks with a head by DB, and whether their maps are left separate."""
    heads = {name: row[0].get("Head", {}).get("name") for name, row in NETWORKS.items()}
    return {
        name: not NETWORKS[name][0]["Neck"].get("use_asf")
        for name, head in heads.items()
        if head in ("DBHead", "PFHeadLocal")
    }


@pytest.mark.parametrize(("name", "separate"), detectors().items())
@torch.inference_mode()
def test_necks_leave_their_maps_to_the_head(name, separate):
    model = fuse(randomised(build(NETWORKS[name][0])).float())
    join_(model)
    separate = separate and has_onednn()
    assert model.neck.separate == separate
    assert isinstance(model.head.binarize.conv1, PyramidConv2d) == separate
