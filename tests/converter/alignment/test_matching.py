"""Programs and networks laid side by side: honest pairs by Paddle's word, and all that differs."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import architectures
from converter.alignment.layer_graph import LayerGraph, layer_graph, program_graph
from converter.alignment.matching import Alignment, align
from converter.catalog import cards as catalog
from converter.conversion.planning import ConversionPlan, NetworkSpec
from converter.conversion.steps import plan, select_candidate, state_dict
from converter.errors import AlignmentError
from converter.mapping import apply as convert
from converter.mapping.plan import Plan, fills_of, targets_of
from converter.mapping.rules import load_mapping
from converter.sources.ir import Operation
from converter.sources.open import open_source
from converter.sources.pdiparams import Export, read_export
from tests.support import toys
from tests.support.opened import opened
from tests.support.paths import SUPPORT

IMAGE = torch.zeros(1, 3, 16, 16)
SEQUENCE = torch.zeros(1, 6, 12)
REAL = {
    "ch_PP-OCRv4_det": "ch_PP-OCRv4_det_infer",
    "ch_PP-OCRv4_rec": "ch_PP-OCRv4_rec_infer",
    "ch_ppocr_mobile_v2.0_cls": "ch_ppocr_mobile_v2_cls_infer",
}


@pytest.fixture(scope="module")
def paddle(tmp_path_factory, real_models) -> Path:
    """The folder that `paddle_toys.py` fills, in its one run."""
    folder = tmp_path_factory.mktemp("toys")
    models = [real_models / name for name in REAL.values()]
    command = [sys.executable, SUPPORT / "paddle_toys.py", folder, *models]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def export(folder: Path, program: str) -> Export:
    file = folder / program
    return read_export(file, file.with_suffix(".pdiparams"))


def fill(network: nn.Module, alignment: Alignment, source: Export) -> None:
    """Give the network the weights of the program."""
    targets = targets_of(network)
    plan = alignment.plan(targets, fills_of(load_mapping("_base"), targets))
    network.load_state_dict(convert.apply(plan, source.tensors, targets), strict=True)


def deviations(folder: Path, name: str, suffix: str) -> Iterator[tuple[Alignment, float]]:
    """Yield every pairing of a toy with how far its output is from Paddle's."""
    results = np.load(folder / "results.npz")
    source = export(folder, name + suffix)
    network, example = toys.toy(name)
    for alignment in align(program_graph(source.program), toys.graph(network, example)):
        fill(network, alignment, source)
        with torch.inference_mode():
            ours = network(torch.from_numpy(results[f"{name}{suffix}/input"])).numpy()
        theirs = results[f"{name}{suffix}/output"]
        assert theirs.std() > 0.01
        yield alignment, float(np.abs(ours - theirs).max() / np.abs(theirs).max())


@pytest.mark.parametrize("suffix", [".pdmodel", ".pir.json"])
@pytest.mark.parametrize("name", [name for name in toys.TOYS if name != "sum"])
def test_toys_compute_what_paddle_computes(paddle, name, suffix):
    ((alignment, deviation),) = deviations(paddle, name, suffix)
    assert deviation < 2e-6
    assert alignment.interchangeable == ()
    assert alignment.unread == ()


@pytest.mark.parametrize("suffix", [".pdmodel", ".pir.json"])
def test_of_interchangeable_layers_one_pairing_is_right(paddle, suffix):
    """Which branch of a sum is which shows in numbers only."""
    found = list(deviations(paddle, "sum", suffix))
    assert [a.interchangeable for a, _ in found] == [(("left.weight", "right.weight"),)] * 2
    right, wrong = sorted(deviation for _, deviation in found)
    assert right < 2e-6
    assert wrong > 1e-2


@pytest.mark.parametrize("name", REAL)
def test_a_model_saved_again_by_paddle_3(paddle, real_models, name):
    """The PIR program of the same model gives the same tensors."""
    states = []
    for path in (real_models / REAL[name], paddle / REAL[name]):
        model = opened(name, path)
        (only,) = plan(model)
        states.append((model.source.export.program.format, state_dict(model, only)))
    (old, theirs), (new, ours) = states
    assert (old, new) == ("pdmodel", "pir")
    assert list(theirs) == list(ours)
    assert all(torch.equal(theirs[key], ours[key]) for key in theirs)


# Differences.


def same(theirs: LayerGraph, ours: LayerGraph) -> list[Alignment]:
    return list(align(theirs, ours))


def refused(theirs: nn.Module, ours: nn.Module, example: torch.Tensor) -> str:
    """Return what is said of two networks that differ, the first in the place of the program."""
    with pytest.raises(AlignmentError) as caught:
        same(toys.graph(theirs, example), toys.graph(ours, example))
    return str(caught.value)


def convolutions(**changes) -> toys.Convolutions:
    return toys.Convolutions(**changes)


@pytest.mark.parametrize(
    ("change", "layer", "theirs", "ours"),
    [
        ({"stride": 1}, "first.weight: strides", "(1, 1)", "(2, 2)"),
        ({"padding": 2}, "first.weight: paddings", "(2, 2)", "(1, 1)"),
        ({"dilation": 2}, "first.weight: dilations", "(2, 2)", "(1, 1)"),
        ({"eps": 1.1e-5}, "norm.weight: epsilon", "1.1e-05", "1e-05"),
        ({"eps": 1e-6}, "norm.weight: epsilon", "1e-06", "1e-05"),
    ],
)
def test_settings_that_differ(change, layer, theirs, ours):
    message = refused(convolutions(**change), convolutions(), IMAGE)
    assert f"{layer} is {theirs} in the program" in message
    assert f"{ours} in the network" in message
    assert "the same layers, but 1 settings differ" in message


@pytest.mark.parametrize("suffix", [".pdmodel", ".pir.json"])
@pytest.mark.parametrize(
    ("changes", "layer"),
    [
        ({"zeros": 0}, "even.weight: paddings is SAME"),
        ({"zeros": 2}, "even.weight: paddings is SAME"),
        ({"odd": 0}, "odd.weight: paddings is SAME"),
        ({"odd": 1}, "odd.weight: paddings is SAME"),
        ({"halved": partial(nn.Conv2d, padding=0)}, "halved.weight: paddings is SAME"),
        ({"halved": partial(nn.Conv2d, padding=1)}, "halved.weight: paddings is SAME"),
    ],
)
def test_paddings_that_follow_the_size_of_the_map(paddle, suffix, changes, layer):
    """A program says SAME and (0, 0): what counts is the zeros that this puts around a map."""
    program = program_graph(export(paddle, f"padded{suffix}").program)
    assert same(program, toys.graph(toys.Padded(), IMAGE))
    with pytest.raises(AlignmentError, match="but 1 settings differ") as caught:
        same(program, toys.graph(toys.Padded(**changes), IMAGE))
    assert layer in str(caught.value)


@pytest.mark.parametrize(("algorithm", "paddings"), [("EXPLICIT", (1, 1)), ("VALID", (0, 0))])
def test_paddings_by_other_algorithms(algorithm, paddings):
    """What VALID stands beside is not read; EXPLICIT is what its numbers say."""
    attributes = {"strides": (1, 1), "paddings": (1, 1), "dilations": (1, 1), "groups": 1}
    attributes["padding_algorithm"] = algorithm
    operation = Operation("conv2d", {"x": ("x",), "weight": ("w",)}, ("y",), attributes)
    program = layer_graph([operation], {"w": (4, 3, 3, 3)}, ["x"], ["y"])
    for padding in (0, 1, 2):
        ours = toys.graph(nn.Conv2d(3, 4, 3, padding=padding, bias=False), IMAGE)
        if (padding, padding) == paddings:
            assert same(program, ours)
        else:
            with pytest.raises(AlignmentError, match="weight: paddings is"):
                same(program, ours)


def test_layer_norms_epsilon():
    """It does not show in numbers: 2e-5 of the logits, as honest rounding."""
    message = refused(toys.Attention(1e-5), toys.Attention(1e-6), SEQUENCE)
    assert "norm.weight: epsilon is 1e-05 in the program (norm.weight), 1e-06 in the" in message


def test_an_epsilon_in_single_precision_is_the_same():
    rounded = float(np.float32(1e-5))
    assert rounded != 1e-5
    theirs = toys.graph(convolutions(eps=rounded), IMAGE)
    assert same(theirs, toys.graph(convolutions(), IMAGE))


def test_lstm_is_no_gru():
    message = refused(toys.Recurrent(swapped=True), toys.Recurrent(), SEQUENCE)
    assert "program, layer 1: rnn lstm.weight_ih_l0" in message


def test_modes_of_recurrent_layers():
    graph = toys.graph(toys.Recurrent(), SEQUENCE)
    lstm, *others = graph.layers
    altered = replace(graph, layers=(replace(lstm, settings={"mode": "RNN_TANH"}), *others))
    with pytest.raises(AlignmentError, match="mode is RNN_TANH in the program"):
        same(altered, graph)


def test_one_shape():
    message = refused(convolutions(width=12), convolutions(), IMAGE)
    assert "program, layer 1: conv first.weight (weight (12, 3, 3, 3), bias (12,))" in message
    assert "network, layer 1: conv first.weight (weight (8, 3, 3, 3), bias (8,))" in message
    assert "fed by the input" in message


def test_one_layer_less():
    message = refused(convolutions(), convolutions(norm=False), IMAGE)
    assert "(7 layers in the program, 6 in the network)" in message
    assert "program, layer 2: batch_norm norm.weight" in message
    assert "fed by first.weight" in message


def test_groups_show_in_the_shape():
    message = refused(convolutions(groups=2), convolutions(), IMAGE)
    assert "conv grouped.weight (weight (8, 2, 1, 1))" in message
    assert "conv grouped.weight (weight (8, 4, 1, 1))" in message


def test_one_connection():
    """A residual sum owns no tensor; it shows in what feeds the layer after it."""
    message = refused(toys.Attention(), toys.Attention(residual=False), SEQUENCE)
    assert "linear last.weight" in message
    assert "fed by positions, project.weight" in message
    assert "fed by project.weight\n" in message


def test_query_and_value_are_told_apart():
    """All four are linear layers of 12 to 12; their places in the products differ."""
    (alignment,) = same(
        toys.graph(toys.Attention(swapped=True), SEQUENCE), toys.graph(toys.Attention(), SEQUENCE)
    )
    pairs = {theirs.name: ours.name for theirs, ours in alignment.pairs}
    assert pairs["query.weight"] == "value.weight"
    assert pairs["value.weight"] == "query.weight"
    assert pairs["key.weight"] == "key.weight"
    assert alignment.interchangeable == ()


@pytest.mark.parametrize("crossed", [False, True])
def test_branches_of_a_concatenation_are_told_apart(crossed):
    theirs = toys.graph(toys.Branches(crossed=crossed), IMAGE)
    (alignment,) = same(theirs, toys.graph(toys.Branches(), IMAGE))
    assert alignment.interchangeable == ()
    pairs = {theirs.name: ours.name for theirs, ours in alignment.pairs}
    assert pairs["left.weight"] == ("right.weight" if crossed else "left.weight")


def test_branches_of_a_sum_are_not():
    graph = toys.graph(toys.Branches("sum"), IMAGE)
    found = same(graph, graph)
    assert [a.interchangeable for a in found] == [(("left.weight", "right.weight"),)] * 2
    assert len({tuple((a.name, b.name) for a, b in x.pairs) for x in found}) == 2


def test_pairings_respect_edges():
    """Two rows of two layers: four layers alike by kind, two pairings, not four."""

    class Rows(nn.Module):
        def __init__(self):
            super().__init__()
            self.rows = nn.ModuleList(
                nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU(), nn.Conv2d(3, 3, 1)) for _ in range(2)
            )

        def forward(self, x):
            return self.rows[0](x) + self.rows[1](x)

    graph = toys.graph(Rows(), IMAGE)
    found = same(graph, graph)
    assert len(found) == 2
    for alignment in found:
        pairs = {a.name[:6]: b.name[:6] for a, b in alignment.pairs}
        assert len(pairs) == len(set(pairs.values())) == 2


def test_many_pairings_are_cut_off():
    class Sum(nn.Module):
        def __init__(self):
            super().__init__()
            self.convs = nn.ModuleList(nn.Conv2d(3, 3, 1) for _ in range(6))

        def forward(self, x):
            return sum(conv(x) for conv in self.convs)

    graph = toys.graph(Sum(), IMAGE)
    assert len(same(graph, graph)) == 24


# Choosing.


def choices() -> Iterator[ConversionPlan]:
    """Yield a plan for each pairing of two interchangeable layers."""
    graph = toys.graph(toys.Branches("sum"), IMAGE)
    network = NetworkSpec("toy", {}, {})
    for alignment in same(graph, graph):
        yield ConversionPlan(network, toys.Branches("sum"), Plan(), {}, "train", alignment)


def counterpart_of_left(plan: ConversionPlan) -> str:
    return {theirs.name: ours.name for theirs, ours in plan.alignment.pairs}["left.weight"]


@pytest.mark.parametrize("right", ["left.weight", "right.weight"])
def test_the_live_check_chooses(right):
    chosen = select_candidate(choices(), lambda plan: counterpart_of_left(plan) == right)
    assert counterpart_of_left(chosen) == right


def test_no_pairing_is_right():
    with pytest.raises(AlignmentError, match="none of the 2 pairings") as caught:
        select_candidate(choices(), lambda _: False)
    assert "left.weight, right.weight" in str(caught.value)


def test_without_paddle_nothing_is_chosen():
    with pytest.raises(AlignmentError, match="--reference program"):
        select_candidate(choices(), None)


def test_one_plan_needs_no_check():
    (only, *_) = choices()
    only = replace(only, alignment=replace(only.alignment, interchangeable=()))
    assert select_candidate(iter([only]), None) is only


# Plans.


def test_what_the_program_does_not_read_is_dropped_for_a_reason():
    graph = toys.graph(convolutions(), IMAGE)
    (alignment,) = same(replace(graph, unread=("left_over",)), graph)
    targets = targets_of(convolutions())
    plan = alignment.plan(targets, {"norm.num_batches_tracked": 0})
    assert plan.drops == {"left_over": "no operation of the program reads it"}
    assert plan.fills == {"norm.num_batches_tracked": 0}
    assert {move.target for move in plan.moves} | set(plan.fills) == set(targets)


def test_a_tensor_that_the_forward_pass_does_not_use():
    network = convolutions()
    network.extra = nn.Linear(2, 2)
    graph = toys.graph(network, IMAGE)
    (alignment,) = same(graph, graph)
    with pytest.raises(AlignmentError, match=r"2 tensors .* extra.weight, extra.bias"):
        alignment.plan(targets_of(network), {"norm.num_batches_tracked": 0})


def test_another_models_program(real_models):
    program = open_source(real_models / REAL["ch_PP-OCRv4_det"]).export.program
    network = architectures.build(catalog.card("ch_PP-OCRv2_det").architecture, form="deploy")
    with pytest.raises(AlignmentError) as caught:
        same(program_graph(program), toys.graph(network, torch.zeros(1, 3, 64, 64)))
    message = str(caught.value)
    assert "different networks" in message
    assert "--config" in message
    assert "backbone.conv.conv.weight" in message


class Twice(nn.Module):
    """One convolution after another, which is the same one again or not."""

    def __init__(self, shared: bool) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 3, 1)
        self.second = self.first if shared else nn.Conv2d(3, 3, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(self.first(x))


def test_a_layer_that_runs_twice_is_told_apart_and_filled_once():
    graph = toys.graph(Twice(shared=True), IMAGE)
    assert [layer.key for layer in graph.layers] == [("first.weight", 0), ("first.weight", 1)]
    (alignment,) = same(graph, graph)
    plan = alignment.plan({}, {})
    assert sorted(move.target for move in plan.moves) == ["first.bias", "first.weight"]


def test_two_layers_do_not_fill_one():
    theirs, ours = (toys.graph(Twice(shared), IMAGE) for shared in (False, True))
    (alignment,) = same(theirs, ours)
    with pytest.raises(AlignmentError, match=r"uses first.weight twice, the program second.weight"):
        alignment.plan({}, {})
