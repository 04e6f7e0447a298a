"""What each stage does, counted: a plan reads no array, and one conversion traces once."""

from __future__ import annotations

from collections import Counter
from dataclasses import FrozenInstanceError, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from architectures import Model
from converter.alignment import layer_graph, trace
from converter.catalog import cards as catalog
from converter.conversion import planning
from converter.conversion.request import Request
from converter.conversion.steps import plan, run, state_dict
from converter.errors import AlignmentError
from converter.mapping import apply, ops
from tests.support.checkpoints import EXPORTS
from tests.support.opened import opened

NAME = "ch_ppocr_mobile_v2.0_cls"


@pytest.fixture
def calls(monkeypatch) -> Counter[str]:
    """Count the calls of everything that converts an array, and of everything that traces."""
    counted: Counter[str] = Counter()

    def count(owner: Any, name: str) -> None:
        original = getattr(owner, name)
        key = f"{owner.__name__.rpartition('.')[2]}.{name}"

        def wrapper(*args: Any, **kwargs: Any) -> Any:
            counted[key] += 1
            return original(*args, **kwargs)

        monkeypatch.setattr(owner, name, wrapper)

    for owner, name in (
        (apply, "apply"),
        (ops, "array_after"),
        (ops.Transpose, "array"),
        (ops.Squeeze, "array"),
        (ops.ReorderGates, "array"),
        (torch, "from_numpy"),
        (layer_graph, "layer_graph"),
        (trace, "_Recorder"),
        (Model, "forward"),
    ):
        count(owner, name)
    return counted


def conversions(calls: Counter[str]) -> int:
    """Return how many of the counted calls convert an array."""
    converting = ("apply.", "ops.", "Transpose.", "Squeeze.", "ReorderGates.", "torch.from_numpy")
    return sum(n for name, n in calls.items() if name.startswith(converting))


@pytest.mark.parametrize("source", ["classifier", "export"])
def test_a_plan_converts_no_array(calls, source, request):
    path = request.getfixturevalue(source)
    outcome = run(Request(NAME, path, plan_only=True))
    assert outcome.plan.moves
    assert conversions(calls) == 0
    model = opened(NAME, path)
    (only,) = plan(model)
    assert conversions(calls) == 0
    assert only.tensors == outcome.plan
    tensors = state_dict(model, only)
    assert calls["apply.apply"] == 1
    assert calls["torch.from_numpy"] == len(only.tensors.moves)
    assert set(tensors) == set(only.targets)


@pytest.mark.parametrize("name", ["ch_ppocr_mobile_v2.0_cls", "ch_PP-OCRv4_rec"])
def test_a_conversion_traces_once(calls, real_models, tmp_path, name):
    """The network runs once more for each batch of the proof, and the values are kept then."""
    outcome = run(Request(name, real_models / EXPORTS[name], out=tmp_path / "x.pth"))
    batches = len({comparison.input_shape for comparison in outcome.report.comparisons})
    assert batches == 2
    assert calls["layer_graph.layer_graph"] == 2  # the program's graph and the network's
    assert calls["Model.forward"] == calls["trace._Recorder"] == 1 + batches


def test_a_plan_is_a_value(export):
    """Nothing of a plan changes when another is made or carried out."""
    model = opened(NAME, export)
    first, second = next(plan(model)), next(plan(model))
    assert first.tensors == second.tensors
    tensors = state_dict(model, first)
    networks = [chosen.load(tensors) for chosen in (first, second)]
    with torch.no_grad():
        for parameter in networks[0].parameters():
            parameter.mul_(2)
    again = second.load(state_dict(model, second)).state_dict()
    assert not torch.equal(networks[0].state_dict()["head.fc.weight"], again["head.fc.weight"])
    with pytest.raises(FrozenInstanceError):
        first.written_form = "fused"


@pytest.mark.parametrize("folding", list(planning.FOLDINGS))
@pytest.mark.parametrize("name", ["ch_PP-OCRv4_det", "PP-OCRv5_mobile_det"])
def test_the_folding_of_an_export_is_found(calls, name, folding):
    """By its normalisations: the network is traced once, unless two foldings leave as many.

    None is left by "batch norms" and by "all", which also folds what stands beside them.
    """
    card = catalog.card(name)
    deployed = planning.NetworkSpec(
        name, catalog.without_class_counts(card.architecture), {}, "deploy"
    )
    theirs = planning.trace_layers(card, replace(deployed, folding=folding).build())
    calls.clear()
    matched = planning.match_layers(card, theirs.graph, deployed)
    assert matched.network.folding == folding
    assert matched.layers.fit(theirs)
    assert calls["trace._Recorder"] == (2 if folding == "all" else 1)


def test_a_network_that_no_folding_makes_alike():
    card, other = catalog.card("ch_PP-OCRv4_det"), catalog.card("ch_PP-OCRv2_det")
    specs = [
        planning.NetworkSpec(c.name, catalog.without_class_counts(c.architecture), {}, "deploy")
        for c in (card, other)
    ]
    theirs = planning.trace_layers(other, specs[1].build())
    with pytest.raises(AlignmentError, match="program and network are different networks"):
        planning.match_layers(card, theirs.graph, specs[0])


def test_a_network_that_runs_other_operations_is_reduced_anew(export: Path):
    """Values have the names of a plan's layers only as long as the operations are the same."""
    model = opened(NAME, export)
    (only,) = plan(model)
    network = only.load(state_dict(model, only))
    image = torch.zeros(1, 3, 48, 192)
    assert only.layers.fit(trace.trace(network, image, keep=()))
    network.head.fc.bias = None
    assert not only.layers.fit(trace.trace(network, image, keep=()))
