"""Results of decoding loops: an export runs one step after the end token, and no more."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from architectures import Model, build
from converter.parity.comparison import compare_results

SLANET = {
    "model_type": "table",
    "Backbone": {"name": "PPLCNet", "scale": 0.25},
    "Neck": {"name": "CSPPAN", "out_channels": 8},
    "Head": {"name": "SLAHead", "hidden_size": 8, "max_text_length": 3, "out_channels": 7},
}


def faults(more_steps: int = 0, change: tuple[str, float] | None = None) -> list[str]:
    """Compare the results with themselves, after further steps or with one number changed."""
    torch.manual_seed(0)
    network = build(SLANET)
    with torch.inference_mode():
        results = {f"output.{k}": v.numpy() for k, v in network(torch.rand(1, 3, 64, 64)).items()}
    longer = {
        name: np.concatenate([array, *[array[:, :1]] * more_steps], 1)
        for name, array in results.items()
    }
    if change:
        name, amount = change
        results[name] = results[name].copy()
        results[name].flat[-1] += amount
    compared = compare_results(network, "table", longer, results, input_shape=(1, 3, 64, 64))
    return [comparison.probe for comparison in compared if comparison.fault]


def test_one_step_more_is_what_an_export_runs():
    assert faults() == []
    assert faults(more_steps=1) == []


def test_two_steps_more_are_a_fault():
    assert faults(more_steps=2)[:2] == ["output.loc_preds", "output.structure_probs"]


def test_the_common_steps_are_compared():
    assert faults(1, ("output.loc_preds", 0.1)) == ["output.loc_preds"]
    assert faults(1, ("output.structure_probs", 0.1)) == ["output.structure_probs"]


def _exchanged_gates(network: Model) -> None:
    """Exchange the reset and the update gate of the GRU."""
    weight = network.head.structure_attention_cell.rnn.weight_hh
    reset, update, candidate = weight.clone().chunk(3)
    weight.copy_(torch.cat([update, reset, candidate]))


def _exchanged_layers(network: Model) -> None:
    """Exchange two layers of one shape that the same state goes into."""
    tokens, boxes = network.head.structure_generator[0], network.head.loc_generator[0]
    for name in ("weight", "bias"):
        ours, theirs = (getattr(layer, name) for layer in (tokens, boxes))
        kept = ours.clone()
        ours.copy_(theirs)
        theirs.copy_(kept)


@pytest.mark.parametrize("mistake", [_exchanged_gates, _exchanged_layers])
def test_a_mistake_inside_the_loop_is_a_fault(mistake):
    torch.manual_seed(0)
    network, image = build(SLANET), torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        right = {f"output.{k}": v.numpy() for k, v in network(image).items()}
    with torch.no_grad():
        mistake(network)
    with torch.inference_mode():
        wrong = {f"output.{k}": v.numpy() for k, v in network(image).items()}
    compared = compare_results(network, "table", right, wrong, input_shape=(1, 3, 64, 64))
    assert {"output.loc_preds", "output.structure_probs"} & {c.probe for c in compared if c.fault}
