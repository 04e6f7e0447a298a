"""SDMGR in use: the classes of the texts of a receipt, from Python and the command line."""

from __future__ import annotations

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from architectures import build
from architectures.saving import write_artefact
from converter.cli.main import main as convert
from pipelines import FieldClassifier, KeyInformation
from pipelines.cli import main as cli
from pipelines.kie.words import GivenLine
from schemas.artefact import ArtefactCard, NetworkInput, read_card
from schemas.processing import SettingsError

LABELS = ("Ignore", "Total_key", "Total_value")
ARCHITECTURE = {
    "model_type": "kie",
    "algorithm": "SDMGR",
    "Backbone": {"name": "Kie_backbone"},
    "Head": {
        "name": "SDMGRHead",
        "num_chars": 12,
        "fusion_dim": 40,
        "node_input": 4,
        "node_embed": 8,
        "edge_embed": 8,
        "num_gnn": 1,
        "num_classes": 3,
    },
}
WORDS = [
    {"text": "TOTAL", "box": [10, 40, 60, 50]},
    {"text": "12.30", "box": [90, 41, 120, 51]},
    {"text": "?", "box": [10, 10, 20, 20]},
]


@pytest.fixture(scope="module")
def receipt(tmp_path_factory):
    """A folder with weights that have their characters, and a page."""
    folder = tmp_path_factory.mktemp("receipt")
    torch.manual_seed(1)
    network = build(ARCHITECTURE).eval()
    card = ArtefactCard(
        name="mine", task="kie", architecture=network.architecture, labels=LABELS,
        class_counts=network.class_counts, input=NetworkInput(3, 1024, 1024),
    )  # fmt: skip
    write_artefact(folder / "mine.pth", "pth", network.state_dict(), card)
    (folder / "dict.txt").write_text("\n".join("TOAL.1230"), encoding="utf-8")
    page = np.random.default_rng(0).integers(0, 256, (64, 128, 3), np.uint8)
    cv2.imwrite(str(folder / "page.png"), page)
    (folder / "words.json").write_text(json.dumps(WORDS))
    return folder


def test_without_characters(receipt, capsys):
    with pytest.raises(
        SettingsError, match=r"has no character table\. Get the dict\.txt .*add-dict"
    ):
        FieldClassifier(receipt / "mine.pth")
    (receipt / "long.txt").write_text("\n".join("TOAL.1230678"), encoding="utf-8")
    assert convert(["add-dict", str(receipt / "mine.pth"), str(receipt / "long.txt")]) == 2
    assert "long.txt has 12 characters, but the network knows 11" in capsys.readouterr().err


def test_each_text_gets_a_class(receipt, capsys):
    weights = receipt / "mine.pth"
    if read_card(weights.with_suffix(".json")).dictionary is None:
        assert convert(["add-dict", str(weights), str(receipt / "dict.txt")]) == 0
    lines = [GivenLine(np.array(w["box"]).reshape(2, 2), w["text"]) for w in WORDS]
    page = cv2.imread(str(receipt / "page.png"))
    classify = FieldClassifier(weights)
    fields = classify(page, lines)
    assert [field.text for field in fields] == ["TOTAL", "12.30", "?"]
    assert {field.label for field in fields} <= set(LABELS)
    others = classify(page, [replace(line, text="1") for line in lines])
    assert [field.score for field in fields] != [field.score for field in others]
    assert classify(page, []) == []
    with pytest.raises(ValueError, match="has 301 texts, SDMGR takes at most 300"):
        classify(page, lines[:1] * 301)

    capsys.readouterr()
    arguments = ["kie", receipt / "page.png", "--ser", weights, "--words", receipt / "words.json"]
    assert cli.main([*map(str, arguments), "--format", "json"]) == 0
    (written,) = json.loads(capsys.readouterr().out)["pages"]
    scores = [entity["score"] for entity in written["entities"]]
    assert scores == pytest.approx([field.score for field in fields], abs=1e-5)
    assert cli.main([*map(str, arguments), "--re", str(weights)]) == 2
    assert "takes neither --re nor --first-tokens" in capsys.readouterr().err


def test_networks_of_another_kind(receipt):
    with pytest.raises(SettingsError, match="no network that classifies tokens"):
        KeyInformation(receipt / "mine.pth")
