"""Options with odd values: a network, or one clear error before memory is asked for."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch

import architectures
from architectures.construction import MAX_MODULES, MAX_VALUES
from architectures.registry import UnknownArchitecture
from tests.support.small_networks import NETWORKS

ODD: list[Any] = [
    None, True, "odd", "", -1, 0, 2.5, 7, 2**17, math.nan, math.inf, 10**30, [], [0], [[]], {},
    {"a": 1}, ["x"] * 9, [2**17] * 4, -3,
]  # fmt: skip
EACH = 2  # of these values for each option, the next ones for the next option
LONGEST = 1000  # characters of a message; the longest ones list the networks that are known


def paths(value: Any, start: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the way to every entry of nested dicts and lists."""
    entries = value.items() if isinstance(value, dict) else enumerate(value)
    for key, entry in entries:
        yield (*start, key)
        if isinstance(entry, (dict, list)):
            yield from paths(entry, (*start, key))


def changed(architecture: dict[str, Any], path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    """Return a copy with one entry replaced."""
    result = copy.deepcopy(architecture)
    section: Any = result
    for key in path[:-1]:
        section = section[key]
    section[path[-1]] = value
    return result


def build(architecture: dict[str, Any]) -> str | None:
    """Build without memory; return the message of the error, if there is one."""
    try:
        with torch.device("meta"):
            architectures.build(architecture)
    except ValueError as error:  # any other exception fails the test
        return str(error)
    return None


@pytest.mark.parametrize("name", NETWORKS)
def test_odd_values_build_or_end_in_one_clear_error(name):
    architecture, _ = NETWORKS[name]
    refused = 0
    for place, path in enumerate(paths(architecture)):
        for step in range(EACH):
            value = ODD[(place * EACH + step + list(NETWORKS).index(name)) % len(ODD)]
            message = build(changed(architecture, path, value))
            refused += message is not None
            assert message is None or (0 < len(message) < LONGEST and message.isprintable())
    assert refused > place


@pytest.mark.parametrize(
    ("name", "path", "value", "message"),
    [
        ("resnet", "Backbone.layers", "18", "ResNet: layers is '18', expected a whole number"),
        ("resnet", "Backbone.layers", 18.0, "ResNet: layers is 18.0, expected a whole number"),
        (
            "resnet",
            "Backbone.layers",
            17,
            "cannot be built with layers 17: ResNet has no 17",
        ),
        ("cls", "Backbone.scale", "0.35", "MobileNetV3: scale is '0.35', expected a number"),
        ("cls", "Backbone.model_name", "tiny", "no model_name 'tiny'; known: large, small"),
        ("cls", "Backbone.disable_se", "no", "disable_se is 'no', expected true or false"),
        (
            "svtr",
            "Backbone.depth",
            [1, "1", 1],
            "depth is [1, '1', 1], expected a list, each",
        ),
        ("satrn", "Head.enc_cfg", 3, "SATRNHead: enc_cfg is 3, expected a mapping"),
        ("svtr", "Backbone.act", "nn.Tanh", "no act 'nn.Tanh'; known: nn.GELU, nn.Swish"),
        ("svtr", "Backbone.acts", "nn.ReLU", "SVTRNet does not take acts; it takes img_size, "),
        ("cls", "Head.class_dim", 0, "the class count 'cls' is 0, expected a whole number above 0"),
        ("cls", "Head.class_dim", True, "the class count 'cls' is True, expected a whole number"),
        ("rec v4", "Head.out_channels_list", 7, "out_channels_list is 7, expected a mapping"),
        ("cls", "Head", [], "Head is [], not a name and its options"),
        ("cls", "Backbone.name", ["PPLCNet"], "unknown Backbone ['PPLCNet'] for model_type 'cls'"),
        ("cls", "model_type", ["cls"], "model_type is ['cls'], expected text"),
        ("cls", "in_channels", "3", "in_channels is '3', expected a whole number above 0"),
        ("cls", "Backbone.scale", 10**30, "the architecture holds the number an integer of more"),
    ],
)
def test_the_message_states_what_was_found_and_what_is_expected(name, path, value, message):
    architecture = changed(NETWORKS[name][0], tuple(path.split(".")), value)
    with pytest.raises(ValueError) as caught:
        architectures.build(architecture)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("option", "value"),
    [("qk_scale", None), ("norm_layer", "nn.LayerNorm"), ("act", "nn.GELU"), ("sub_norm", None)],
)
def test_options_that_state_the_only_value(option, value):
    architecture = changed(NETWORKS["svtr"][0], ("Backbone", option), value)
    message = build(architecture)
    assert (message is None) == (option != "sub_norm")


@pytest.mark.parametrize(
    ("name", "path", "value", "message"),
    [
        ("pplcnet", "Backbone.scale", 400.0, f"more than {MAX_VALUES} values"),
        ("det v4", "Backbone.conv_kxk_num", 2**17, f"more than {MAX_MODULES} layers"),
        ("crnn", "Neck.hidden_size", 2**17, f"more than {MAX_VALUES} values"),
    ],
)
def test_networks_that_are_too_large_ask_for_no_memory(name, path, value, message, monkeypatch):
    devices = []
    register = torch.nn.Module.register_parameter

    def note(module, name, parameter):
        devices.append(parameter.device.type if parameter is not None else "meta")
        register(module, name, parameter)

    monkeypatch.setattr(torch.nn.Module, "register_parameter", note)
    architecture = changed(NETWORKS[name][0], tuple(path.split(".")), value)
    with pytest.raises(UnknownArchitecture, match=message):
        architectures.build(architecture)
    assert set(devices) <= {"meta"}


def test_a_network_is_the_same_whether_it_was_checked_before_or_not():
    """Checking the sizes takes no numbers from the random generator."""
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    with torch.device("meta"):
        for name in ("det v4", "svtr", "abinet", "star-net"):
            architectures.build(NETWORKS[name][0])
    assert torch.equal(torch.rand(3), expected)


def test_networks_without_values_draw_none(monkeypatch):
    """PyTorch imports its compiler for some of what it draws there, which takes seconds."""

    def drawn(*_: object) -> None:
        raise AssertionError("values were drawn")

    for name in ("normal_", "uniform_"):
        monkeypatch.setattr(torch.Tensor, name, drawn, raising=False)
    with torch.device("meta"):
        network = architectures.build(NETWORKS["formula"][0])
    assert any(isinstance(module, torch.nn.Embedding) for module in network.modules())
