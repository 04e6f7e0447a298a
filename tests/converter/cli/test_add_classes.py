"""Widening the head of a converted recogniser for a longer dictionary."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import architectures
from architectures.saving import write_artefact
from converter.exporting import widening
from pipelines import Recognizer
from schemas.artefact import ArtefactCard, DictionaryEntry, NetworkInput
from tests.support.small_networks import CRNN, NETWORKS

CHARACTERS = ("a", "b", "a", "c", " ")  # two classes of one character, and the space


@pytest.fixture(scope="module")
def network() -> architectures.Model:
    torch.manual_seed(0)
    return architectures.build(CRNN, class_counts={"ctc": len(CHARACTERS) + 1})


@pytest.fixture
def reader(network, tmp_path) -> Path:
    return write(tmp_path / "reader.pth", network)


def write(path: Path, network: architectures.Model, **entries: object) -> Path:
    card = ArtefactCard(
        name="mine",
        task="rec",
        status="VERIFIED",
        architecture=network.architecture,
        class_counts=network.class_counts,
        input=NetworkInput(3, 32, 100),
        dictionary=DictionaryEntry("d.txt", "0" * 64, CHARACTERS),
    )
    write_artefact(path, "pth", network.state_dict(), replace(card, **entries))
    return path


def table(tmp_path: Path, lines: str) -> Path:
    (tmp_path / "longer.txt").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return tmp_path / "longer.txt"


def test_a_longer_dictionary(convert, reader, network, tmp_path):
    out = tmp_path / "wide.pth"
    done = convert("add-classes", reader, table(tmp_path, "xabay©c"), "--out", out)
    assert (done.code, done.err) == (0, "")
    assert f"wrote {out}: 9 classes, 3 of them new: 'x', 'y', '©'\n" in done.out
    wide = architectures.load(out)
    assert wide.card.dictionary.characters == (*"xabay©c", " ")
    assert wide.class_counts == {"ctc": 9}
    rows = wide.head.fc.weight[[0, 2, 3, 4, 7, 8]]
    torch.testing.assert_close(rows, network.head.fc.weight, rtol=0, atol=0)
    assert (wide.card.status, wide.card.derived_from[0].status) == ("UNVERIFIED", "VERIFIED")
    origin = hashlib.sha256(reader.read_bytes()).hexdigest()
    assert wide.card.derived_from[0].sha256 == origin
    image = torch.randint(0, 255, (32, 100, 3), dtype=torch.uint8).numpy()
    assert Recognizer(out)([image])[0].text == Recognizer(reader)([image])[0].text


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("abcx", "lacks 1 characters that the network has classes for: 'a'. Give all old ones"),
        ("abac", "has no character that the network lacks"),
    ],
)
def test_dictionaries_that_are_not_longer(convert, reader, tmp_path, lines, message):
    done = convert("add-classes", reader, table(tmp_path, lines), "--out", tmp_path / "wide.pth")
    assert done.code == 2
    assert message in done.err
    assert not (tmp_path / "wide.pth").exists()


def test_a_recogniser_without_a_dictionary(convert, network, tmp_path):
    reader = write(tmp_path / "reader.pth", network, dictionary=None)
    done = convert("add-classes", reader, table(tmp_path, "abacx"), "--out", tmp_path / "wide.pth")
    assert done.code == 2
    assert f"python -m converter add-dict {reader} DICT" in done.err


def test_another_head(convert, tmp_path):
    torch.manual_seed(0)
    network = architectures.build(NETWORKS["rare"][0], class_counts={"attn": 7})
    reader = write(tmp_path / "reader.pth", network)
    done = convert("add-classes", reader, table(tmp_path, "abacx"), "--out", tmp_path / "wide.pth")
    assert done.code == 2
    assert "classes can be added to a CTC head, the network has AttentionHead" in done.err


def test_a_head_that_changes_old_classes_is_not_written(convert, reader, tmp_path, monkeypatch):
    def wrong(network, places):
        wide = widening_of(network, places)
        with torch.no_grad():
            wide.head.fc.bias[1] += 1
        return wide

    widening_of = widening.widen_ctc
    monkeypatch.setattr(widening, "widen_ctc", wrong)
    done = convert("add-classes", reader, table(tmp_path, "abacx"), "--out", tmp_path / "wide.pth")
    assert done.code == 5
    assert "nothing was written" in done.err
    assert not (tmp_path / "wide.pth").exists()
