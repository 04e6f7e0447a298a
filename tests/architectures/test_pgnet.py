"""PGNet: what the recorded network does not show, its class count, and mistakes that are seen."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from architectures import build
from architectures.backbones._resnet_vd import StridedShortcut
from architectures.backbones.e2e_resnet_vd_pg import ResNet
from architectures.heads.e2e_pg_head import PGHead
from architectures.necks.pg_fpn import PGFPN
from architectures.reparameterize import fold_
from converter.alignment.layer_graph import network_graph
from converter.alignment.trace import trace
from converter.catalog import cards as catalog
from converter.catalog.custom import same_network
from converter.conversion import planning
from converter.diagnosis import records
from converter.errors import AlignmentError
from converter.mapping.plan import Plan
from converter.parity.comparison import compare_results
from converter.references.recorded.network import build_recorded, networks
from converter.references.recorded.record import read_record
from tests.support.mistakes import (
    default_epsilon_of_another_framework,
    mistaken,
    turned_kernel,
    wrong_sign,
)
from tests.support.paths import RECORDS

NAME = "en_server_pgnetA"
CHANNELS = (3, 4, 6, 8, 10, 12, 14)
SIDES = tuple(64 >> halving for halving in range(7))


def maps(height: int = 1) -> list[torch.Tensor]:
    """An image and its maps of 1/2 to 1/64, of few channels."""
    return [torch.randn(2, c, height * s, s) for c, s in zip(CHANNELS, SIDES, strict=True)]


def test_it_starts_from_the_image_and_ends_at_a_64th_of_it():
    with torch.device("meta"):
        backbone = ResNet()
        found = backbone(torch.zeros(1, 3, 64, 128))
        assert PGFPN(backbone.out_channels)(found).shape == (1, 128, 16, 32)
    assert backbone.out_channels == [m.shape[1] for m in found]
    assert [m.shape[3] for m in found] == [128, 64, 32, 16, 8, 4, 2]
    assert isinstance(backbone.bb_1_0.short, StridedShortcut)
    with pytest.raises(ValueError, match="PaddleOCR's ResNet does not run with 34 layers"):
        ResNet(layers=34)


def test_the_results_and_their_order():
    head = PGHead(4, 11).eval()
    with torch.no_grad():
        found = head(torch.randn(2, 4, 3, 5))
    assert {name: tuple(result.shape) for name, result in found.items()} == {
        "f_border": (2, 4, 3, 5),
        "f_char": (2, 11, 3, 5),
        "f_direction": (2, 2, 3, 5),
        "f_score": (2, 1, 3, 5),
    }
    assert list(found) == sorted(found)  # as PaddleOCR's exports list them
    assert 0 < found["f_score"].min() <= found["f_score"].max() < 1


def test_norms_have_paddles_eps():
    parts = (PGFPN(CHANNELS), PGHead(4, 5))
    norms = [m for part in parts for m in part.modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(norms) == (8 + 5 + 4 + 5) + (3 + 3 + 5 + 3)
    assert {norm.eps for norm in norms} == {1e-5}


def test_folding_changes_nothing():
    """Of the parts: the whole, with weights by chance, multiplies rounding a thousandfold."""
    torch.manual_seed(0)
    network = nn.Sequential(PGFPN(CHANNELS), PGHead(128, 5)).double().eval()
    for part in network.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.uniform_(part.weight, 0.5, 1.5)
            nn.init.uniform_(part.get_buffer("running_mean"), -0.5, 0.5)
            nn.init.uniform_(part.get_buffer("running_var"), 0.3, 2.0)
    images = [image.double() for image in maps()]
    with torch.no_grad():
        expected = network(images)
        fold_(network)
        found = network(images)
    assert not [m for m in network.modules() if type(m) is nn.BatchNorm2d]
    for name, result in expected.items():
        assert result.std() > 1e-3
        torch.testing.assert_close(found[name], result)


# Classes.


def test_the_classes_are_counted_by_the_weights_or_said():
    architecture = catalog.card(NAME).architecture
    with torch.device("meta"):
        model = build(architecture, class_counts={"ctc": 23})
    assert model.head.conv3.weight.shape[0] == 23
    assert model.class_counts == {"ctc": 23}
    with pytest.raises(ValueError, match="PGHead needs a class count"):
        build(architecture)


def test_another_dictionary_is_no_other_network():
    card = catalog.card(NAME)
    other = {**card.architecture, "Head": {"name": "PGHead", "character_dict_path": "mine.txt"}}
    assert same_network(other, card.architecture)


def test_of_an_export_the_branch_of_the_characters_tells_the_classes():
    card = catalog.card(NAME)
    with torch.device("meta"):
        deployed = build(card.architecture, class_counts={"ctc": 23}, form="deploy")
    graph = planning.trace_layers(card, deployed).graph
    assert planning._scored_classes(card, graph) == {"ctc": 23}
    detector = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.BatchNorm2d(4)).eval()
    other = network_graph(trace(detector, torch.zeros(1, 3, 8, 8)))
    with pytest.raises(AlignmentError, match="does not end in one layer that scores classes"):
        planning._scored_classes(card, other)


# What is decided.


def results(**changes: np.ndarray) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    shapes = {"f_border": 4, "f_char": 5, "f_direction": 2, "f_score": 1}
    found = {
        f"output.{name}": random.uniform(0, 0.4, (1, channels, 8, 8)).astype(np.float32)
        for name, channels in shapes.items()
    }
    found["output.f_score"][0, 0, 2:4, 2:6] = 0.9
    return {**found, **changes}


def faults(actual: dict[str, np.ndarray]) -> dict[str, str]:
    with torch.device("meta"):
        network = build(catalog.card(NAME).architecture, class_counts={"ctc": 5})
    found = compare_results(network, "e2e", results(), actual, input_shape=(1, 3, 32, 32))
    return {comparison.probe: comparison.fault for comparison in found if comparison.fault}


def test_boxes_and_characters_are_decided():
    assert faults(results()) == {}
    score, characters = results()["output.f_score"], results()["output.f_char"]
    score[0, 0, 2:4, 5] = 0.4
    assert list(faults(results(**{"output.f_score": score}))) == [
        "output.f_score",
        "decisions (boxes)",
    ]
    best = characters[0, :, 3, 1].argmax()
    characters[0, best, 3, 1] = -1
    differing = faults(results(**{"output.f_char": characters}))
    assert list(differing) == ["output.f_char", "decisions (text)"]
    assert f"Paddle decides {best} in place 25 of item 0" in differing["decisions (text)"]


# Mistakes.


@pytest.fixture(scope="module")
def honest():
    record = read_record(RECORDS / "e2e__e2e_r50_vd_pg")
    ((prefix, architecture),) = networks(record.facts.architecture)
    return record, build_recorded(record, prefix, architecture)[0]


@pytest.mark.parametrize(
    ("layer", "mistake"),
    [
        ("neck.dconv2.deconv", turned_kernel),
        ("neck.conv_g2._conv", "neck.conv_g3._conv"),
        ("head.conv_f_direc2.bn", default_epsilon_of_another_framework),
        ("head.conv4", wrong_sign),
    ],
)
def test_a_mistake_is_seen_in_the_record(monkeypatch, honest, layer, mistake):
    record, network = honest
    changed = mistaken(network, layer, mistake)
    monkeypatch.setattr(
        "converter.references.recorded.reference.build_recorded", lambda *_: (changed, Plan())
    )
    report = records.prove(record)
    assert not report.passed
    assert report.first_difference.startswith(f"{layer}: ")
