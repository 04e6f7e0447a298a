"""Why a layer differs: mistakes made on purpose, of which the cause is named as it is."""

from __future__ import annotations

import copy
import re
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from converter.adapters.running import run_network
from converter.diagnosis.explain import Diagnosis, diagnose
from converter.parity.comparison import LIMIT
from converter.parity.layerwise import FullTensor, Pair, SideBySide
from converter.references.converted import ConvertedReference
from converter.references.hooks import layer_names, observe, side_by_side
from tests.support.diagnosed_toys import (
    NEAREST,
    Picture,
    Sentence,
    Toy,
    evidence,
    first,
    image,
    sampled,
    seeded,
)
from tests.support.mistakes import (
    gates_exchanged,
    mistaken,
    no_bias,
    one_element_off,
    one_nan,
    turned_kernel,
    untransposed,
    wrong_sign,
)


def found(theirs: Toy, ours: Toy, known: str = "whole", wrong=True, **options: Any) -> Diagnosis:
    batch = image(type(ours))
    sides = side_by_side(ours, batch, observe(theirs, batch, layer_names(ours)))
    return diagnose(sampled(sides) if known == "sampled" else sides, LIMIT, wrong=wrong, **options)


both_kinds = pytest.mark.parametrize("known", ["whole", "sampled"])
SETTINGS = [
    # what it is in Paddle, the first layer, what is said
    (Picture, {"act": F.hardswish}, "second", "(relu) is another one in Paddle: with hard swish"),
    (Picture, {"act": F.relu6}, "second", "(relu) is another one in Paddle: with ReLU6"),
    (Picture, {"act": lambda x: x}, "second", "(relu) is another one in Paddle: with no "
     "activation"),
    (Picture, {"act": F.silu}, "second", "(relu) is another one in Paddle: with swish"),
    (Picture, {"gate": F.hardsigmoid}, "last", "(clamp) is another one in Paddle: with hard "
     "sigmoid of slope 1/6"),
    (Picture, {"gate": torch.sigmoid}, "last", "(clamp) is another one in Paddle: with sigmoid"),
    (Picture, {"eps": 1e-3}, "norm", "epsilon is 0.001 in Paddle, 1e-05 in PyTorch"),
    (Picture, {"batch": True}, "norm", "by the statistics of the batch"),
    (Picture, {"padding": 0}, "first", "padding is (0, 0) in Paddle, (1, 1) in PyTorch"),
    (Picture, {"stride": (2, 1)}, "first", "stride is (2, 1) in Paddle, (2, 2) in PyTorch"),
    (Picture, {"dilation": 2, "padding": 2}, "first", "dilation is (2, 2) in Paddle"),
    (Picture, {"pool": partial(F.avg_pool2d, kernel_size=3, stride=2, padding=1)}, "second",
     "pooling has other settings in Paddle"),
    (Picture, {"pool": partial(F.max_pool2d, kernel_size=3, stride=2, padding=1, ceil_mode=True)},
     "second", "rounded up"),
    (Picture, {"resize": partial(NEAREST, mode="bilinear")}, "last",
     "with bilinear, align_corners False, 2 times"),
    (Picture, {"order": (1, 0)}, "last", "what is concatenated stands in another order"),
    (Picture, {"mean": F.adaptive_max_pool2d}, "weigh", "pools by another rule than "
     "adaptive_avg_pool2d"),
    (Sentence, {"eps": 1e-3}, "norm", "epsilon is 0.001 in Paddle, 1e-06 in PyTorch"),
    (Sentence, {"split": "h3d"}, "proj", "the heads of the attention are split differently"),
    (Sentence, {"qkv": (1, 0, 2)}, "proj", "query, key and value are in another order: with them "
     "as k, q, v"),
    (Sentence, {"scale": 1.0}, "proj", "the attention has another scale in Paddle"),
    (Sentence, {"act": F.gelu}, "narrow", "(gelu) is another one in Paddle: with exact GELU"),
    (Sentence, {"axis": 1}, "lstm", "softmax runs over another axis: with axis 1"),
]  # fmt: skip


@both_kinds
@pytest.mark.parametrize(("kind", "theirs", "layer", "told"), SETTINGS)
def test_another_setting(known, kind, theirs, layer, told):
    diagnosis = found(seeded(kind, **theirs), seeded(kind), known)
    assert first(diagnosis) == layer
    assert told in diagnosis.cause
    if "the difference is" in diagnosis.cause:  # there was none to tell: the shapes did not agree
        assert float(diagnosis.cause.rpartition(" ")[2]) < 1e-5
    else:
        assert evidence(diagnosis.cause) < 1e-5


def transposed_channels(layer: nn.Conv2d) -> None:
    layer.weight.copy_(layer.weight.transpose(0, 1).clone())


def transposed_kernel(layer: nn.Conv2d) -> None:
    layer.weight.copy_(layer.weight.transpose(2, 3).clone())


def exchanged(first: str, second: str, layer: nn.Module) -> None:
    a, b = getattr(layer, first), getattr(layer, second)
    kept = a.clone()
    a.copy_(b)
    b.copy_(kept)


def halved_bias(layer: nn.Module) -> None:
    layer.bias.mul_(0.5)


def directions_exchanged(layer: nn.LSTM) -> None:
    for name in ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"):
        exchanged(name, f"{name}_reverse", layer)


def gates_of_the_gru(layer: nn.GRU) -> None:
    for tensor in layer.parameters():
        reset, update, new = tensor.chunk(3)
        tensor.copy_(torch.cat([update, reset, new]))


scale_and_bias = partial(exchanged, "weight", "bias")

TENSORS = [
    (Sentence, "proj", untransposed, "proj.weight is transposed: with it transposed"),
    (Sentence, "lstm", gates_exchanged, "the gates of the LSTM"),
    (Sentence, "lstm", directions_exchanged, "the directions of the LSTM are exchanged"),
    (Sentence, "gru", gates_of_the_gru, "the gates of the GRU are in another order"),
    (Sentence, "proj", "narrow", "proj has the tensors of another layer: with those of narrow"),
    (Sentence, "narrow", wrong_sign, "narrow.weight has the wrong sign"),
    (Sentence, "norm", scale_and_bias, "scale and bias of norm are exchanged"),
    (Picture, "second", transposed_channels, "second.weight has its channel axes exchanged"),
    (Picture, "second", transposed_kernel, "second.weight has height and width exchanged"),
    (Picture, "first", turned_kernel, "first.weight is turned by 180 degrees"),
    (Picture, "second", halved_bias, "second.bias is added once, in Paddle twice"),
    (Picture, "norm", scale_and_bias, "scale and bias of norm are exchanged"),
    (Picture, "norm", one_nan, "norm.weight holds NaN or infinity: 1 of its 8 values"),
]  # fmt: skip


@both_kinds
@pytest.mark.parametrize(("kind", "layer", "mistake", "told"), TENSORS)
def test_a_wrong_tensor(known, kind, layer, mistake, told):
    honest = seeded(kind)
    wrong = mistaken(honest, layer, mistake)
    if isinstance(mistake, str):  # the biases are exchanged as well
        exchanged_biases(wrong, layer, mistake)
    diagnosis = found(honest, wrong, known)
    assert first(diagnosis) == layer
    assert told in diagnosis.cause
    if mistake is not one_nan:
        assert evidence(diagnosis.cause) < 1e-5


@torch.no_grad()
def exchanged_biases(network: nn.Module, first: str, second: str) -> None:
    a, b = (network.get_submodule(name).bias for name in (first, second))
    kept = a.clone()
    a.copy_(b)
    b.copy_(kept)


@both_kinds
def test_mean_and_variance_exchanged(known):
    honest = seeded(Picture)
    honest.norm.running_mean.abs_()
    wrong = copy.deepcopy(honest)
    with torch.no_grad():
        exchanged("running_mean", "running_var", wrong.norm)
    diagnosis = found(honest, wrong, known)
    assert first(diagnosis) == "norm"
    assert diagnosis.cause.startswith("mean and variance of norm are exchanged: ")
    assert evidence(diagnosis.cause) < 1e-6


@both_kinds
def test_a_reference_in_half_precision(known):
    ours = seeded(Picture)
    theirs = copy.deepcopy(ours)
    theirs.second.weight.data = theirs.second.weight.data.half().float()
    diagnosis = found(theirs, ours, known)
    assert first(diagnosis) == "second"
    assert "second.weight is in single precision, in Paddle in half" in diagnosis.cause


def test_a_bias_that_is_gone_shows_in_every_place():
    honest = seeded(Picture)
    diagnosis = found(honest, mistaken(honest, "second", no_bias))
    assert first(diagnosis) == "second"
    assert diagnosis.cause.startswith("a bias is missing, or another: with a shift of each channel")
    assert evidence(diagnosis.cause) < 1e-6


def test_other_statistics_show_in_every_place():
    honest = seeded(Picture)
    wrong = copy.deepcopy(honest)
    wrong.norm.running_var.mul_(2)
    wrong.norm.running_mean.add_(1)
    diagnosis = found(honest, wrong)
    assert "scale, bias or statistics of a normalisation are others" in diagnosis.cause
    assert evidence(diagnosis.cause) < 1e-5


@both_kinds
def test_what_no_experiment_explains(known):
    honest = seeded(Sentence)
    diagnosis = found(honest, mistaken(honest, "narrow", one_element_off), known)
    assert first(diagnosis) == "narrow"
    assert re.match(r"unknown: none of \d+ experiments explains it; ", diagnosis.cause)
    assert diagnosis.cause.endswith(
        "from the last equal layers to this one there are: gelu, linear"
    )


@both_kinds
@pytest.mark.parametrize(
    ("layer", "mistake", "told"),
    [
        ("narrow", one_element_off, "narrow.weight holds other values than the source: 1 of 144"),
        ("narrow", no_bias, "narrow.bias holds only zeros"),
        ("narrow", one_nan, "narrow.weight holds NaN or infinity: 1 of 144"),
        ("proj", untransposed, "proj.weight is transposed"),
        ("proj", "narrow", "proj.weight holds what belongs to narrow.weight"),
        ("lstm", gates_exchanged, "lstm.weight_ih_l0 has its gates in another order"),
        ("narrow", lambda layer: layer.weight.copy_(layer.weight.half()), "is rounded to half"),
        ("narrow", lambda layer: layer.bias.mul_(2), "narrow.bias is doubled"),
        ("narrow", lambda layer: layer.weight.add_(0.1), "144 of 144, as after further training"),
    ],
)
def test_what_the_source_holds_tells_how_it_was_changed(known, layer, mistake, told):
    honest = seeded(Sentence)
    wrong = mistaken(honest, layer, mistake)
    diagnosis = found(honest, wrong, known, source=honest.state_dict())
    assert first(diagnosis) == layer
    assert told in diagnosis.cause
    assert "with what the source holds in their place the difference" in diagnosis.cause
    assert float(diagnosis.cause.rpartition(" ")[2]) < 1e-6


@both_kinds
@pytest.mark.parametrize("kind", [Picture, Sentence])
def test_honest_toys_agree(known, kind):
    diagnosis = found(seeded(kind), seeded(kind), known)
    assert diagnosis.first is None
    assert diagnosis.cause == ""
    assert not any(row.fault for row in diagnosis.rows)


def test_of_a_layer_that_holds_others_the_first_inside_is_named():
    array = np.ones((1, 2), np.float32)
    names = ("a", "a.b", "a.b.c")
    pairs = tuple(Pair(name, name, FullTensor(array), array + (name != "a.b.d")) for name in names)
    assert (
        SideBySide(None, array, pairs, {"output": array}, run_network).first(LIMIT)[0].name
        == "a.b.c"
    )


def test_two_calls_of_a_layer_are_two_pairs():
    arrays = [np.ones((1, 2), np.float32), np.zeros((1, 2), np.float32)]
    first_call, second_call = pairs = [Pair("a", "a", FullTensor(one), one) for one in arrays]
    assert pairs.index(second_call) == 1
    assert pairs.index(first_call) == 0


def test_a_small_difference_counts_where_the_network_is_known_to_be_wrong():
    honest = seeded(Picture)
    wrong = copy.deepcopy(honest)
    wrong.second.bias.data.add_(2e-4 * 20)
    assert first(found(honest, wrong, wrong=False)) == "last"
    assert first(found(honest, wrong)) == "second"


def test_nothing_in_common():
    reference = ConvertedReference(seeded(Picture), "cls")
    sides = reference.layers(seeded(Picture), image(Picture))
    empty = SideBySide(sides.network, sides.batch, (), sides.outputs, sides.run)
    assert diagnose(empty, LIMIT) == Diagnosis(())
