"""Saving networks: the result loads again, and states what its weights are derived from."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from architectures import Model, build, fuse, load, save
from architectures.loading import ArtefactError
from architectures.saving import write_artefact
from schemas.artefact import (
    MAX_ANCESTORS,
    Ancestor,
    ArtefactCard,
    CardError,
    DictionaryEntry,
    NetworkInput,
    TensorCounts,
)
from schemas.artefact_files import WriteError
from tests.support.small_networks import CRNN

CARD = ArtefactCard(
    name="mine",
    task="rec",
    status="VERIFIED",
    input=NetworkInput(3, 32, color="BGR", mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)),
    pipeline={"decoder": "CTCLabelDecode", "width": 100},
    dictionary=DictionaryEntry("dict.txt", "0" * 64, characters=tuple("abcdef")),
    fingerprint="2" * 64,
    counts=TensorCounts(used=3),
    parity={"status": "passed"},
    proof_scope="these weights",
    versions={"converter": "0.1.0", "paddle": "3.0"},
    extra={"note": "kept"},
)


def sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def same(one: nn.Module, other: nn.Module) -> bool:
    theirs, ours = one.state_dict(), other.state_dict()
    return list(theirs) == list(ours) and all(torch.equal(theirs[k], ours[k]) for k in theirs)


@pytest.fixture
def converted(tmp_path) -> Path:
    """An artefact as the converter writes it."""
    torch.manual_seed(0)
    model = build(CRNN, class_counts={"ctc": 7})
    card = replace(CARD, architecture=model.architecture, class_counts=model.class_counts)
    write_artefact(tmp_path / "converted.pth", "pth", model.state_dict(), card)
    return tmp_path / "converted.pth"


def train(model: Model) -> Model:
    """Take one step, so that parameters and statistics change."""
    model.train()
    model(torch.rand(2, 3, 32, 64)).sum().backward()
    torch.optim.SGD(model.parameters(), lr=0.01).step()
    return model


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_trained_network_is_loaded_again(converted, tmp_path, suffix):
    trained = train(load(converted))
    out = tmp_path / f"tuned{suffix}"
    save(trained, out)
    loaded = load(out)
    assert same(loaded, trained)
    assert not same(loaded, load(converted))
    assert not loaded.training
    assert trained.training
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted(
        ["converted.json", "converted.pth", "tuned.json", out.name]
    )


def test_the_card_of_a_trained_network(converted, tmp_path):
    before = load(converted).card
    save(train(load(converted)), str(tmp_path / "tuned.pth"))
    card = load(tmp_path / "tuned.pth").card
    assert card == replace(
        before,
        status="UNVERIFIED",
        fingerprint=None,
        counts=None,
        parity=None,
        proof_scope=None,
        versions={"torch": str(torch.__version__)},
        weights=replace(before.weights, file="tuned.pth", sha256=sha256(tmp_path / "tuned.pth")),
        derived_from=(Ancestor("mine", "converted.pth", sha256(converted), "VERIFIED"),),
    )


def test_the_ancestors_are_listed_from_the_latest_on(converted, tmp_path):
    save(train(load(converted)), tmp_path / "a.pth")
    save(train(load(tmp_path / "a.pth")), tmp_path / "b.safetensors")
    written = json.loads((tmp_path / "b.json").read_text(encoding="utf-8"))
    assert written["derived_from"] == [
        {"name": "mine", "file": "a.pth", "sha256": sha256(tmp_path / "a.pth")}
        | {"status": "UNVERIFIED"},
        {"name": "mine", "file": "converted.pth", "sha256": sha256(converted)}
        | {"status": "VERIFIED"},
    ]


def test_saving_again_replaces_and_keeps_the_origin(converted, tmp_path):
    network, out = load(converted), tmp_path / "tuned.pth"
    for _ in range(2):
        save(train(network), out)
    assert same(load(out), network)
    assert [ancestor.file for ancestor in load(out).card.derived_from] == ["converted.pth"]


def test_over_the_artefact_it_was_loaded_from(converted):
    network, before = train(load(converted)), sha256(converted)
    save(network, converted)
    assert same(load(converted), network)
    assert [ancestor.sha256 for ancestor in load(converted).card.derived_from] == [before]


def test_a_long_line_of_ancestors_stays_readable(converted, tmp_path):
    network = load(converted)
    network.card = replace(network.card, derived_from=(Ancestor("old"),) * MAX_ANCESTORS)
    save(network, tmp_path / "tuned.pth")
    assert len(load(tmp_path / "tuned.pth").card.derived_from) == MAX_ANCESTORS


def test_a_network_that_was_built(tmp_path):
    network = build(CRNN, class_counts={"ctc": 7})
    save(network, tmp_path / "x.pth")
    loaded = load(tmp_path / "x.pth")
    assert same(loaded, network)
    assert (loaded.card.status, loaded.card.derived_from) == ("UNVERIFIED", ())


def test_a_fused_network_with_the_card_of_the_other(converted, tmp_path):
    network = load(converted)
    fused = fuse(network)
    save(fused, tmp_path / "fused.pth", card=network.card)
    loaded = load(tmp_path / "fused.pth")
    assert same(loaded, fused)
    assert loaded.form == "fused"
    assert loaded.card.dictionary == network.card.dictionary
    assert [ancestor.sha256 for ancestor in loaded.card.derived_from] == [sha256(converted)]


def test_tensors_that_are_not_contiguous(converted, tmp_path):
    network = load(converted).to(memory_format=torch.channels_last)
    save(network, tmp_path / "x.safetensors")
    assert same(load(tmp_path / "x.safetensors"), network)


class TestRefusals:
    @pytest.fixture
    def network(self, converted) -> Model:
        return load(converted)

    @pytest.fixture(autouse=True)
    def nothing_is_written(self, converted, tmp_path):
        assert converted.is_file()
        before = {file: file.read_bytes() for file in tmp_path.rglob("*.*")}
        yield
        after = {file: file.read_bytes() for file in tmp_path.rglob("*.*")}
        assert {file: after.get(file) for file in before} == before
        assert len(after) <= len(before) + 1  # the foreign file of a test

    def test_a_wrapped_network(self, network, tmp_path):
        with pytest.raises(TypeError, match="a DataParallel cannot be saved"):
            save(nn.DataParallel(network), tmp_path / "x.pth")

    def test_another_head(self, network, tmp_path):
        network.head.fc = nn.Linear(16, 9)
        with pytest.raises(ArtefactError, match=r"does not fit its network: head.fc.weight is"):
            save(network, tmp_path / "x.pth")

    def test_half_precision(self, network, tmp_path):
        with pytest.raises(ArtefactError, match=r"torch.float16\), not"):
            save(network.half(), tmp_path / "x.pth")

    def test_no_values(self, network, tmp_path):
        with pytest.raises(ArtefactError, match="has no values, as it is on the meta device"):
            save(network.to("meta"), tmp_path / "x.pth")

    def test_another_suffix(self, network, tmp_path):
        with pytest.raises(ValueError, match=r"should end in \.pth or \.safetensors"):
            save(network, tmp_path / "x.pt")

    def test_a_missing_folder(self, network, tmp_path):
        with pytest.raises(WriteError, match=r"cannot write .*none/x.pth: No such file"):
            save(network, tmp_path / "none" / "x.pth")

    @pytest.mark.parametrize("name", ["x.pth", "x.json"])
    def test_foreign_files(self, network, tmp_path, name):
        (tmp_path / name).write_bytes(b"{}")
        with pytest.raises(WriteError, match="is not replaced"):
            save(network, tmp_path / "x.pth")
        assert (tmp_path / name).read_bytes() == b"{}"

    def test_settings_that_would_not_be_read(self, network, tmp_path):
        card = replace(network.card, pipeline={"width": -1})
        with pytest.raises(ArtefactError, match="width"):
            save(network, tmp_path / "x.pth", card=card)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("x", "derived_from is 'x', expected a list of at most"),
        ([1], r"derived_from\[0\] is 1, expected a mapping"),
        ([{"sha256": "x"}], r"derived_from\[0\].sha256 is 'x', expected a SHA-256"),
        ([{"name": 3}], r"derived_from\[0\].name is 3"),
        ([{}] * (MAX_ANCESTORS + 1), "expected a list of at most"),
    ],
)
def test_ancestors_of_another_type(entry, message):
    with pytest.raises(CardError, match=message):
        ArtefactCard.from_dict({"derived_from": entry})


def test_a_conversion_has_no_entry_for_ancestors():
    assert "derived_from" not in CARD.to_dict()
    assert ArtefactCard.from_dict(CARD.to_dict()) == CARD
