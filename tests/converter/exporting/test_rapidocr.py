"""Exports for RapidOCR: its own classes load them strictly, and compute the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from architectures import Model, build, fuse
from architectures.reparameterize import BATCH_NORMS
from architectures.saving import write_artefact
from converter.catalog import cards
from converter.cli.main import main
from converter.exporting.rapidocr import MODELS, state_dict
from schemas.artefact import ArtefactCard, DictionaryEntry, NetworkInput
from tests.support import rapidocr_networks

CLS = "ch_ppocr_mobile_v2.0_cls"


def released(name: str, device: str = "cpu") -> Model:
    card = cards.card(name)
    counts = {each: card.classes or len(card.labels) for each in card.class_counts}
    with torch.device(device):
        return build(card.architecture, class_counts=counts)


def artefact(folder: Path, network: Model, of: str, **entries: Any) -> Path:
    """Write a network as the converter does; `entries` replace those of its JSON."""
    card = cards.card(of)
    described = ArtefactCard(
        name=of,
        task=card.task,
        architecture=network.architecture,
        class_counts=network.class_counts,
        form=network.form,
        input=card.input,
        status="VERIFIED",
    )
    path = folder / f"{of}.pth"
    write_artefact(path, "pth", network.state_dict(), replace(described, **entries))
    return path


@pytest.fixture(scope="module")
def classifier() -> Model:
    """A classifier whose activations neither fade nor explode."""
    torch.manual_seed(0)
    network = released(CLS)
    for module in network.modules():
        if isinstance(module, BATCH_NORMS):
            module.momentum = 1.0
    with torch.no_grad():
        network.train()(torch.rand(4, 3, 48, 192) * 2 - 1)
        network.head.fc.weight.mul_(20)
    return network.eval()


def test_rapidocr_knows_these_networks():
    assert set(MODELS) == set(rapidocr_networks.configurations())


@pytest.mark.parametrize("stem", MODELS)
def test_every_tensor_has_rapidocrs_name_and_shape(stem):
    theirs = rapidocr_networks.build(stem, "meta").state_dict()
    ours = state_dict(released(MODELS[stem].released, "meta"), MODELS[stem].changes)
    assert {name: t.shape for name, t in ours.items()} == {n: t.shape for n, t in theirs.items()}


@pytest.mark.parametrize("form", ["train", "fused"])
def test_rapidocrs_class_computes_the_same(classifier, form, tmp_path, capsys):
    weights = artefact(tmp_path, fuse(classifier, form), CLS)
    assert main(["export", str(weights), "--to", "rapidocr", "--out", str(tmp_path / "out")]) == 0
    file = tmp_path / "out" / "ch_ppocr_mobile_v2.0_cls_mobile.pth"
    assert f"wrote {file}" in capsys.readouterr().out
    theirs = rapidocr_networks.build(file.stem)
    theirs.load_state_dict(torch.load(file, weights_only=True))
    image = torch.rand(2, 3, 48, 192) * 2 - 1
    with torch.no_grad():
        expected = classifier(image)
        assert expected.std() > 0.01
        torch.testing.assert_close(theirs(image), expected, rtol=1e-4, atol=1e-5)


def test_a_recogniser_gets_its_dictionary(tmp_path, capsys):
    torch.manual_seed(0)
    network = released("ta_PP-OCRv4_rec")
    characters = (*(chr(0xB80 + n) for n in range(128)), " ")
    entry = DictionaryEntry("ta_dict.txt", "0" * 64, characters=characters)
    weights = artefact(tmp_path, network, "ta_PP-OCRv4_rec")
    run = ["export", str(weights), "--to", "rapidocr", "--out", str(tmp_path)]
    assert main(run) == 2
    assert "add-dict" in capsys.readouterr().err
    artefact(tmp_path, network, "ta_PP-OCRv4_rec", dictionary=entry)
    assert main(run) == 0
    assert (tmp_path / "ta_dict.txt").read_text("utf-8").splitlines() == list(characters[:-1])
    assert (tmp_path / "ta_PP-OCRv4_rec_mobile.pth").is_file()


class TestRefusals:
    def refused(self, weights: Path, *options: str) -> int:
        return main(
            ["export", str(weights), "--to", "rapidocr", "--out", str(weights.parent), *options]
        )

    def test_another_class_count(self, tmp_path, capsys):
        card = cards.card(CLS)
        network = build({**card.architecture, "Head": {"name": "ClsHead", "class_dim": 4}})
        weights = artefact(tmp_path, network, CLS)
        assert self.refused(weights) == 2
        assert "4 classes, RapidOCR's network cls 2" in capsys.readouterr().err

    def test_another_architecture(self, classifier, tmp_path, capsys):
        backbone = {**classifier.architecture["Backbone"], "scale": 0.5}
        network = build({**classifier.architecture, "Backbone": backbone})
        weights = artefact(tmp_path, network, CLS, name="mine")
        assert self.refused(weights) == 2
        assert "RapidOCR has no network like" in capsys.readouterr().err

    def test_an_unknown_name(self, classifier, tmp_path, capsys):
        assert self.refused(artefact(tmp_path, classifier, CLS), "--as", "cls") == 2
        assert "RapidOCR has no cls; it has" in capsys.readouterr().err

    def test_a_network_of_another_task(self, classifier, tmp_path, capsys):
        weights = artefact(tmp_path, classifier, CLS)
        assert self.refused(weights, "--as", "ch_PP-OCRv4_det_mobile") == 2
        assert "its task is cls, not det" in capsys.readouterr().err

    def test_a_constant_network_proves_nothing(self, classifier, tmp_path, capsys):
        network = fuse(classifier, "train")
        with torch.no_grad():
            network.head.fc.weight.zero_()
            network.head.fc.bias.zero_()
        weights = artefact(tmp_path, network, CLS)
        assert self.refused(weights) == 5
        assert "is constant" in capsys.readouterr().err
        assert not (tmp_path / "ch_ppocr_mobile_v2.0_cls_mobile.pth").exists()

    def test_files_that_are_no_artefact(self, tmp_path, capsys):
        (tmp_path / "x.pth").write_bytes(b"no weights")
        assert self.refused(tmp_path / "x.pth") == 3
        assert "x.json is missing" in capsys.readouterr().err


def test_an_own_name_of_a_known_network(classifier, tmp_path):
    weights = artefact(tmp_path, classifier, CLS, name="mine", input=NetworkInput(3, 48))
    out = tmp_path / "out"
    assert main(["export", str(weights), "--to", "rapidocr", "--out", str(out)]) == 0
    assert [file.name for file in out.iterdir()] == ["ch_ppocr_mobile_v2.0_cls_mobile.pth"]
