"""Text Gestalt and Text Telescope: mistakes that their records tell; networks without a head."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from architectures import Model, build, fuse
from architectures.registry import UnknownArchitecture
from architectures.transforms import tbsrn
from architectures.transforms.tbsrn import SIZE, TBSRN, FeatureEnhancer, LayerNorm, positions
from architectures.transforms.tsrn import TSRN, GruBlock
from converter.alignment.layer_graph import network_graph
from converter.alignment.trace import trace
from converter.parity.comparison import compare_results
from tests.support.mistakes import turned_kernel
from tests.support.recorded_mistakes import honest, prove_changed, prove_mistaken

GESTALT, TELESCOPE = "sr__sr_tsrn_transformer_strock", "sr__sr_telescope"
SMALL = {
    "model_type": "sr",
    "Transform": {"name": "TSRN", "STN": True, "srb_nums": 1, "hidden_units": 2},
}
ENHANCER = "transform.block2.feature_enhancer"


def reset_and_update_exchanged(gru: nn.Module) -> None:
    for tensor in gru.parameters():
        reset, update, new = tensor.chunk(3)
        tensor.copy_(torch.cat([update, reset, new]))


def update_and_new_exchanged(gru: nn.Module) -> None:
    for tensor in gru.parameters():
        reset, update, new = tensor.chunk(3)
        tensor.copy_(torch.cat([reset, new, update]))


def directions_exchanged(gru: nn.Module) -> None:
    named = dict(gru.named_parameters())
    for name in [name for name in named if not name.endswith("_reverse")]:
        kept = named[name].clone()
        named[name].copy_(named[f"{name}_reverse"])
        named[f"{name}_reverse"].copy_(kept)


def biases_added_up(gru: nn.Module) -> None:
    """The gates would not tell, but the hidden bias of the new values stands behind the reset."""
    for direction in ("", "_reverse"):
        of_input = gru.get_parameter(f"bias_ih_l0{direction}")
        hidden = gru.get_parameter(f"bias_hh_l0{direction}")
        of_input.add_(hidden)
        hidden.zero_()


def columns_for_rows(block: nn.Module) -> None:
    assert isinstance(block, GruBlock)
    run = block.gru.forward
    block.gru.forward = lambda x: (run(x.flip(1))[0].flip(1), None)


def no_slope(layer: nn.Module) -> None:
    layer.weight.zero_()


def usual_norm(layer: nn.Module) -> None:
    assert isinstance(layer, LayerNorm)
    layer.forward = lambda x: nn.functional.layer_norm(x, x.shape[-1:], layer.a_2, layer.b_2)


def heads_halved(layer: nn.Module) -> None:
    assert isinstance(layer, nn.Linear)
    layer.weight.mul_(0.5)


@pytest.mark.parametrize(
    ("name", "layer", "mistake", "seen"),
    [
        (GESTALT, "transform.block2.gru1.gru", reset_and_update_exchanged, None),
        (GESTALT, "transform.block3.gru2.gru", update_and_new_exchanged, None),
        (GESTALT, "transform.block6.gru1.gru", directions_exchanged, None),
        (GESTALT, "transform.block4.gru2.gru", biases_added_up, None),
        (GESTALT, "transform.block2.gru1", columns_for_rows, "transform.block2.gru1.gru"),
        (GESTALT, "transform.block1.1", no_slope, None),
        (GESTALT, "transform.block8.0.conv", turned_kernel, None),
        (TELESCOPE, f"{ENHANCER}.mul_layernorm1", usual_norm, None),
        (TELESCOPE, f"{ENHANCER}.multihead.linears.0", heads_halved, None),
        (TELESCOPE, f"{ENHANCER}.multihead.linears.1", f"{ENHANCER}.multihead.linears.0",
         f"{ENHANCER}.multihead.linears.0"),
    ],
)  # fmt: skip
def test_a_mistake_is_seen_in_the_record(monkeypatch, name, layer, mistake, seen):
    report = prove_mistaken(monkeypatch, name, layer, mistake)
    assert not report.passed
    assert report.first_difference.startswith(f"{seen or layer}: ")


@pytest.mark.parametrize(
    ("attribute", "value", "seen"),
    [
        ("positions", lambda *given: positions(*given).flip(0), "multihead.linears.0"),
        ("positions", lambda *given: positions(*given).flip(2), "multihead.linears.0"),
        ("KEPT", 1.0, "multihead.linears.3"),
        ("HEADS", 8, "multihead.linears.3"),
    ],
)
def test_a_mistake_in_what_has_no_tensors(monkeypatch, attribute, value, seen):
    monkeypatch.setattr(tbsrn, attribute, value)
    report = prove_changed(monkeypatch, TELESCOPE, lambda network: network)
    assert report.first_difference.startswith(f"{ENHANCER}.{seen}: ")


def test_positions_are_encoded_as_waves():
    waves = positions(8, (2, 3), torch.device("cpu"))
    assert waves.shape == (8, 2, 3)
    for row in range(2):
        for column in range(3):
            expected = [
                wave(place / pace)
                for place in (column, row)
                for pace in (1, 100)
                for wave in (math.sin, math.cos)
            ]
            assert waves[:, row, column].tolist() == pytest.approx(expected, abs=1e-6)


def test_the_norm_divides_by_the_deviation_of_a_sample():
    x = torch.tensor([[0.0, 1.0, 5.0]])
    norm = LayerNorm(3)
    assert norm.eps == 1e-6
    torch.testing.assert_close(norm(x), (x - 2) / (7**0.5 + 1e-6))
    norm.eps = 1.0
    torch.testing.assert_close(norm(x), (x - 2) / (7**0.5 + 1))


@pytest.mark.parametrize("name", [GESTALT, TELESCOPE])
def test_folding_changes_nothing(name):
    record, network = honest(name)
    x = torch.from_numpy(record.inputs()["image"]).double()
    fused = fuse(network).double()
    assert not [m for m in fused.modules() if isinstance(m, nn.BatchNorm2d)]
    with torch.no_grad():
        expected, found = (net(x) for net in (fuse(network, "deploy").double(), fused))
    # The folded weights are rounded to single precision.
    torch.testing.assert_close(found["sr_img"], expected["sr_img"], rtol=0, atol=1e-5)


def test_batch_norms_have_paddles_eps():
    norms = [m.eps for m in TBSRN().modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(norms) == 11
    assert set(norms) == {1e-5}


# Networks that are one transform.


@pytest.fixture(scope="module")
def small() -> Model:
    torch.manual_seed(0)
    return build(SMALL)


def test_the_results_of_a_transform_are_the_networks(small):
    x = torch.rand(1, 3, 8, 12)
    with torch.no_grad():
        results = small(x)
    assert {name: tuple(r.shape) for name, r in results.items()} == {
        "lr_img": (1, 3, 8, 12),
        "sr_img": (1, 3, 16, 24),
    }
    assert torch.equal(results["lr_img"], x)
    assert (small.logits_layers, small.sr_output) == (("transform.block4.1",), "sr_img")
    assert small.class_counts == {}
    assert isinstance(small.get_submodule(small.logits_layers[0]), nn.Conv2d)


def test_four_times_as_large():
    network = TSRN(scale_factor=4, srb_nums=1, hidden_units=2)
    assert network(torch.zeros(1, 3, 4, 4))["sr_img"].shape == (1, 3, 16, 16)
    assert network.logits_layers == ("block4.2",)


@pytest.mark.parametrize(
    ("part", "options", "message"),
    [
        ("Transform", None, "the architecture lacks Transform"),
        ("Transform", {"name": "TPS"}, "unknown Transform 'TPS' .*'sr'; known: TSRN, TBSRN"),
        (
            "Transform",
            {"name": "TSRN", "mask": True},
            "mask is True; supported is False only",
        ),
        ("Backbone", {"name": "ResNet"}, "unknown Backbone 'ResNet' .* known: nothing"),
        ("Head", {"name": "CTCHead"}, "unknown Head 'CTCHead' .* known: nothing"),
    ],
)
def test_another_composition(part, options, message):
    with pytest.raises(UnknownArchitecture, match=message):
        build({**SMALL, part: options})


def test_what_does_not_fit():
    with pytest.raises(ValueError, match="has no class count ctc; it has nothing"):
        build(SMALL, class_counts={"ctc": 5})
    with pytest.raises(ValueError, match="times as large, not images of 3 channels 3 times"):
        TSRN(scale_factor=3)
    with pytest.raises(ValueError, match="not images of 1 channels 2 times"):
        TBSRN(1)
    with pytest.raises(AssertionError, match="images of 1024 pixels only, such as 16 x 64"):
        TBSRN(srb_nums=1)(torch.zeros(1, 3, 16, 96))


@pytest.mark.parametrize("size", [(32, 32), (64, 16), (1, 1024)])
def test_the_code_of_a_place_goes_by_its_number(size):
    torch.manual_seed(0)
    enhancer, x = FeatureEnhancer(), torch.rand(1, 64, *SIZE)
    assert SIZE == (16, 64)
    with torch.no_grad():
        expected, found = enhancer(x), enhancer(x.reshape(1, 64, *size))
    assert found.shape == (1, 64, *size)
    torch.testing.assert_close(found.reshape(expected.shape), expected)


def test_pixels_are_decided_by_the_image(small):
    x = torch.rand(1, 3, 8, 12, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        made = {f"output.{name}": result.numpy() for name, result in small(x).items()}

    def faults(**changes: np.ndarray) -> list[str]:
        actual = {**made, **{f"output.{name}": of for name, of in changes.items()}}
        found = compare_results(small, "sr", made, actual, input_shape=(1, 3, 8, 12))
        assert [comparison.probe for comparison in found][2:] == ["decisions (pixels)"]
        return [comparison.probe for comparison in found if comparison.fault]

    assert faults() == []
    largest = abs(made["output.sr_img"]).max()
    assert faults(sr_img=made["output.sr_img"] + largest * 9e-4) == ["decisions (pixels)"]
    assert faults(lr_img=made["output.lr_img"] + 0.01) == ["output.lr_img"]


def test_a_slope_has_the_name_of_paddles_operand(small):
    graph = network_graph(trace(small, torch.zeros(1, 3, 4, 4)))
    (slope,) = (layer for layer in graph.layers if layer.kind == "prelu")
    (tensor,) = slope.tensors
    assert (tensor.role, tensor.name) == ("alpha", "transform.block1.1.weight")
