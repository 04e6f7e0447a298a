"""Artefact cards: what is written is read back, and strangers' files end in one error."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys

import pytest
import torch

from architectures import build, load
from architectures.loading import ArtefactError
from converter.conversion.artefact import write_artefact
from schemas.artefact import (
    MAX_BYTES,
    ArtefactCard,
    CardError,
    DictionaryEntry,
    NetworkInput,
    SourceEntry,
    TensorCounts,
    read_card,
)
from tests.support.small_networks import CRNN

CARD = ArtefactCard(
    architecture={**CRNN, "Head": {**CRNN["Head"], "out_channels": 7}},
    class_counts={"ctc": 7},
    form="train",
    name="mine",
    task="rec",
    release="custom",
    status="VERIFIED",
    input=NetworkInput(3, 32, color="BGR", mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)),
    pipeline={"decoder": "CTCLabelDecode", "resize": "RecResizeImg", "width": 100},
    dictionary=DictionaryEntry("dict.txt", "0" * 64, characters=tuple("abcdef")),
    labels=(),
    source=SourceEntry({"best_accuracy.pdparams": "1" * 64}),
    fingerprint="2" * 64,
    counts=TensorCounts(used=3, dropped={"training only": 2}),
    parity={"status": "passed", "comparisons": [{"shape": [1, 2], "difference": 1e-6}]},
    versions={"torch": "2.13.0"},
)


@pytest.fixture(scope="module")
def state():
    torch.manual_seed(0)
    return build(CARD.architecture, class_counts=CARD.class_counts).state_dict()


@pytest.fixture
def weights(state, tmp_path):
    write_artefact(tmp_path / "x.pth", "pth", state, CARD)
    return tmp_path / "x.pth"


def test_importing_needs_the_standard_library_alone():
    code = """
import sys, schemas.artefact, schemas.processing
heavy = {"torch", "numpy", "yaml", "converter", "architectures", "pipelines"}
sys.exit(str(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_order_of_the_entries():
    assert list(CARD.to_dict()) == [
        "format", "name", "submodel", "task", "release", "status", "architecture", "class_counts",
        "form", "input", "pipeline", "dictionary", "labels", "source", "fingerprint", "counts",
        "parity", "proof_scope", "versions", "weights",
    ]  # fmt: skip
    assert list(CARD.to_dict()["input"]) == ["channels", "height", "color", "mean", "std"]
    assert CARD.to_dict()["counts"] == {
        "used": 3, "second_names": 0, "filled": 0, "tied": 0, "dropped": {"training only": 2},
    }  # fmt: skip


def test_what_is_written_is_read_back(weights):
    text = weights.with_suffix(".json").read_text()
    card = read_card(weights.with_suffix(".json"))
    assert json.dumps(card.to_dict(), ensure_ascii=False, indent=1) + "\n" == text
    assert load(weights).card == card


def test_unknown_entries_are_kept():
    card = ArtefactCard.from_dict({"format": 1, "note": {"by": ["hand"]}})
    assert card.to_dict()["note"] == {"by": ["hand"]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": 3}, "name is 3, expected text"),
        ({"name": "x" * 5000}, "name is 'xxx.*, expected text of at most 4096 characters"),
        ({"architecture": []}, r"architecture is \[\], expected a mapping"),
        ({"architecture": {"Head": {"out_channels": 10**9}}}, "the number 1000000000; expected"),
        ({"architecture": {"Head": {"out_channels": 10**5000}}}, "integer of more than 18 digits"),
        ({"architecture": {"Head": [0] * 9999}}, "architecture holds more than 5000 values"),
        ({"class_counts": {"ctc": -1}}, "class_counts.ctc is -1, expected a whole number above 0"),
        ({"class_counts": {"ctc": True}}, "class_counts.ctc is True, expected"),
        ({"class_counts": {"ctc": None}}, "class_counts.ctc is None, expected"),
        ({"class_counts": {"ctc": 10**9}}, "class_counts.ctc is 1000000000, expected"),
        ({"input": {"height": 10**6}}, "input.height is 1000000, expected .* at most 8192"),
        ({"input": {"mean": [1, 2]}}, r"input.mean is \[1, 2\], expected three numbers"),
        ({"pipeline": {"width": 10**6}}, "setting width is 1000000, expected .* at most 8192"),
        ({"pipeline": {"decoder": {}}}, "pipeline.decoder is a mapping of 0 entries, expected"),
        ({"pipeline": {"decoder": "Other"}}, "setting decoder is 'Other', expected one of CTC"),
        ({"pipeline": {"anything": ["a"] * 99}}, "pipeline.anything is a list of 99 items"),
        ({"dictionary": "abc"}, "dictionary is 'abc', expected a mapping"),
        ({"dictionary": {"characters": "abc"}}, "dictionary.characters is 'abc', expected a list"),
        ({"labels": [0, 180]}, r"labels is \[0, 180\], expected a list of .* texts"),
        ({"counts": {"used": -1}}, "counts.used is -1, expected a whole number of at least 0"),
        ({"weights": {"sha256": "x"}}, "weights.sha256 is 'x', expected a SHA-256"),
        ({"weights": None}, "lacks weights"),
        ({"format": True}, "has the format True; this version reads 1"),
        ({"format": 2}, "has the format 2; this version reads 1"),
        ({"other": float("nan")}, "NaN is not a number in JSON"),
    ],
)
def test_the_entry_at_fault_is_named(weights, change, message):
    file = weights.with_suffix(".json")
    try:
        sys.set_int_max_str_digits(0)
        file.write_text(json.dumps(json.loads(file.read_text()) | change))
    finally:
        sys.set_int_max_str_digits(4300)
    if change.get("architecture") == {"Head": {"out_channels": 10**5000}}:
        message = "is not JSON"  # Python's reader refuses it first
    with pytest.raises(ArtefactError, match=message):
        load(weights)


def test_values_that_only_a_caller_can_give():
    with pytest.raises(CardError, match="an integer of more than 18 digits"):
        ArtefactCard.from_dict({"architecture": {"Head": {"out_channels": 10**5000}}})
    with pytest.raises(CardError, match="architecture has the key 1, expected text"):
        ArtefactCard.from_dict({"architecture": {1: 2}})
    with pytest.raises(CardError, match="architecture holds a value of type object"):
        ArtefactCard.from_dict({"architecture": {"a": object()}})


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, '{"format": 1, "a": ' + "[" * 50
                                  + "]" * 50 + "}"])  # fmt: skip
def test_deep_json(weights, text):
    weights.with_suffix(".json").write_text(text)
    with pytest.raises(ArtefactError, match=r"is not JSON|lacks|nested more than"):
        load(weights)


def test_other_things_in_place_of_the_json(weights):
    file = weights.with_suffix(".json")
    with file.open("wb") as stream:
        stream.truncate(MAX_BYTES + 1)
    with pytest.raises(ArtefactError, match=r"x.json has \d+ bytes, expected \d+ at most"):
        load(weights)
    file.unlink()
    os.mkfifo(file)
    with pytest.raises(ArtefactError, match="is not a regular file"):
        load(weights)
    file.unlink()
    file.mkdir()
    with pytest.raises(ArtefactError, match="is not a regular file"):
        load(weights)


VALUES = [
    None, True, -1, 0, 0.5, 10**6, 10**9, 10**30, 1e300, "", "x", "CTCHead", [], [[]], [10**6] * 9,
    {}, {"name": []}, {"name": "MobileNetV3"},
]  # fmt: skip


def paths(value, path=()):
    """Yield the path of every value in a JSON."""
    yield path
    if isinstance(value, (dict, list)):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in items:
            yield from paths(item, (*path, key))


def mutated(card, rng):
    """Return a copy of a card's JSON with one value replaced or removed."""
    copy = json.loads(json.dumps(card))
    *parents, last = rng.choice([path for path in paths(copy) if path])
    place = copy
    for key in parents:
        place = place[key]
    if rng.random() < 0.15:
        del place[last]
    else:
        place[last] = rng.choice(VALUES)
    return copy


def test_mutated_cards_load_or_end_in_one_error(weights):
    """Whatever a card states: the network, or an ArtefactError, in little memory and time."""
    file, rng = weights.with_suffix(".json"), random.Random(0)
    card = json.loads(file.read_text())
    loaded, messages = 0, []
    for _ in range(60):
        file.write_text(json.dumps(mutated(card, rng)))
        try:
            load(weights)
            loaded += 1
        except ArtefactError as error:
            messages.append(str(error))
    assert 5 < loaded < 55
    assert max(map(len, messages)) < 4000
