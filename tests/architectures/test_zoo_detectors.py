"""EAST, PSENet and SAST: what the recorded networks do not show, and results that are several."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from architectures import build
from architectures.backbones.det_resnet_vd_sast import ResNet_SAST
from architectures.heads.det_east_head import EASTHead
from architectures.heads.det_pse_head import PSEHead
from architectures.heads.det_sast_head import SASTHead
from architectures.necks.east_fpn import EASTFPN
from architectures.necks.fpn import FPN
from architectures.necks.sast_fpn import SASTFPN, attend
from architectures.reparameterize import fold_
from converter.alignment.layer_graph import network_graph
from converter.alignment.trace import trace
from converter.diagnosis.records import prove
from converter.parity.comparison import compare_results
from converter.references.recorded.record import Record, read_record
from schemas.record import OutputRow
from tests.support.paths import RECORDS

CHANNELS = (4, 6, 8, 10)
EAST = {
    "model_type": "det",
    "Backbone": {"name": "MobileNetV3", "scale": 0.35, "model_name": "small"},
    "Neck": {"name": "EASTFPN", "model_name": "small"},
    "Head": {"name": "EASTHead", "model_name": "small"},
}
SHAPE = (1, 3, 64, 96)


@pytest.fixture(scope="module")
def east():
    torch.manual_seed(0)
    return build(EAST)


def test_east_gives_two_maps_in_the_order_of_their_names(east):
    with torch.no_grad():
        results = east(torch.randn(SHAPE))
    assert [(name, tuple(r.shape)) for name, r in results.items()] == [
        ("f_geo", (1, 8, 16, 24)),
        ("f_score", (1, 1, 16, 24)),
    ]


def test_corners_are_at_most_800_pixels_away():
    head = EASTHead(4, "small").eval()
    nn.init.constant_(head.geo_conv.bn.bias, 100.0)
    assert head(torch.zeros(1, 4, 2, 2))["f_geo"].unique().tolist() == [800.0]
    nn.init.constant_(head.geo_conv.bn.bias, 0.0)
    nn.init.zeros_(head.geo_conv.conv.weight)
    assert head(torch.zeros(1, 4, 2, 2))["f_geo"].unique().tolist() == [0.0]


@pytest.mark.parametrize("part", [EASTFPN, EASTHead])
def test_an_unknown_size_of_east(part):
    channels = CHANNELS if part is EASTFPN else 4
    with pytest.raises(ValueError, match="no model_name 'huge'; known: large, small"):
        part(channels, "huge")


def test_norms_have_paddles_eps():
    parts = (EASTFPN(CHANNELS, "small"), EASTHead(4, "large"), FPN(CHANNELS, 4), PSEHead(4, 4),
             SASTFPN([3, *CHANNELS, 4, 4]), SASTHead(4))  # fmt: skip
    norms = [m for part in parts for m in part.modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(norms) == 7 + 4 + 7 + 1 + (14 + 8 + 8) + 16
    assert {norm.eps for norm in norms} == {1e-5}


def test_the_pyramid_of_pse_has_the_finest_map_first():
    neck = FPN(CHANNELS, 2).eval()
    for place, layer in enumerate((neck.smooth3_, neck.smooth2_, neck.smooth1_, neck.toplayer_)):
        nn.init.zeros_(layer.conv.weight)
        nn.init.constant_(layer.bn.bias, place + 1.0)
    sides = (16, 8, 4, 2)
    maps = tuple(torch.randn(1, c, side, side) for c, side in zip(CHANNELS, sides, strict=True))
    with torch.no_grad():
        joined = neck(maps)
    expected = torch.arange(1.0, 5.0).repeat_interleave(2)
    torch.testing.assert_close(joined.mean((0, 2, 3)), expected)


def test_sast_starts_from_the_image_and_ends_at_a_64th_of_it():
    with torch.device("meta"):
        backbone = ResNet_SAST()
        maps = backbone(torch.zeros(1, 3, 64, 128))
        neck = SASTFPN(backbone.out_channels)
        assert neck(maps).shape == (1, 128, 16, 32)
    assert (
        backbone.out_channels == [m.shape[1] for m in maps] == [3, 64, 256, 512, 1024, 2048, 2048]
    )
    assert [m.shape[3] for m in maps] == [128, 64, 32, 16, 8, 4, 2]


def test_sast_of_34_layers_runs_nowhere():
    with pytest.raises(ValueError, match="PaddleOCR's ResNet_SAST does not run with 34 layers"):
        ResNet_SAST(layers=34)


def test_attention_stays_within_its_row():
    theta, phi, g = (torch.randn(2, 4, 3, 5) for _ in range(3))
    mixed = attend(theta, phi, g)
    weights = torch.softmax(theta[1, :, 2].T @ phi[1, :, 2] / 2, -1)
    torch.testing.assert_close(mixed[1, :, 2], g[1, :, 2] @ weights.T)


def test_folding_changes_nothing_in_sast():
    """Of the parts: the whole, with weights by chance, multiplies rounding a thousandfold."""
    torch.manual_seed(0)
    channels = (3, 4, 6, 8, 10, 12, 14)
    maps = [torch.randn(2, c, 64 >> i, 128 >> i).double() for i, c in enumerate(channels)]
    network = nn.Sequential(SASTFPN(channels, with_cab=True), SASTHead(128)).double().eval()
    for part in network.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.uniform_(part.weight, 0.5, 1.5)
            nn.init.uniform_(part.get_buffer("running_mean"), -0.5, 0.5)
            nn.init.uniform_(part.get_buffer("running_var"), 0.3, 2.0)
    with torch.no_grad():
        expected = network(maps)
        fold_(network)
        found = network(maps)
    assert not [m for m in network.modules() if type(m) is nn.BatchNorm2d]
    for name, result in expected.items():
        assert result.std() > 1e-3
        torch.testing.assert_close(found[name], result)


def test_an_unused_attention_is_not_deployed():
    with torch.device("meta"):
        necks = [SASTFPN([3, 4, 4, 4, 4, 4, 4], with_cab) for with_cab in (True, False)]
    assert all("cross_attention.g_conv.bn.bias" in neck.state_dict() for neck in necks)
    kept = [hasattr(neck.deployed(), "cross_attention") for neck in necks]
    assert kept == [True, False]


# Several results.


def test_a_trace_tells_the_results_apart(east):
    traced = trace(east, torch.zeros(SHAPE))
    assert list(traced.outputs) == ["output.f_geo", "output.f_score"]
    graph = network_graph(traced)
    ends = {graph.layers[index].name: marks for index, marks in graph.results}
    assert ends == {
        "head.geo_conv.bn.weight": ("output:0",),
        "head.score_conv.bn.weight": ("output:1",),
    }


def results(score: float = 0.9, **others: np.ndarray) -> dict[str, np.ndarray]:
    maps = np.linspace(0, 0.7, 64, dtype=np.float32).reshape(1, 1, 8, 8).copy()
    maps[0, 0, 2:4, 2:4] = score
    geo = np.arange(64, dtype=np.float32).reshape(1, 1, 8, 8)
    return {"output.f_geo": geo, "output.f_score": maps, **others}


def faults(network, actual: dict[str, np.ndarray]) -> dict[str, str]:
    found = compare_results(network, "det", results(), actual, input_shape=SHAPE)
    return {comparison.probe: comparison.fault for comparison in found if comparison.fault}


def test_each_result_is_compared_with_its_own(east):
    assert faults(east, results()) == {}
    other = results()["output.f_geo"] + 1
    assert list(faults(east, results(**{"output.f_geo": other}))) == ["output.f_geo"]


def test_boxes_are_those_of_the_score_by_its_own_threshold(east):
    lower = faults(east, results(score=0.79))
    assert list(lower) == ["output.f_score", "decisions (boxes)"]
    assert "Paddle decides [(2, 2, 2, 2)]" in lower["decisions (boxes)"]


def test_results_of_other_names(east):
    differing = faults(east, {"output": results()["output.f_score"]})
    assert differing == {"results": "Paddle gives output.f_geo, output.f_score, PyTorch output"}


@pytest.fixture(scope="module")
def record() -> Record:
    return read_record(RECORDS / "det__det_mv3_east")


def with_results(record: Record, *rows: OutputRow) -> Record:
    return replace(record, facts=replace(record.facts, outputs=rows))


def test_a_record_that_lacks_a_result(record):
    kept = with_results(
        record, record.facts.outputs[0], OutputRow("f_x", (1, 1), "float32", 0, 0, 0, 1)
    )
    differing = {c.probe: c.fault for c in prove(kept).comparisons if c.fault}
    assert differing["output.f_geo"] == "the record has no such result"
    assert "PyTorch no such result" in differing["f_x"]


def test_results_that_are_exchanged(record):
    score, geo = record.facts.outputs
    swapped = with_results(record, geo._replace(path="f_score"), score._replace(path="f_geo"))
    differing = [c.probe for c in prove(swapped).comparisons if c.fault]
    assert sorted(differing) == ["f_geo", "f_score"]
