"""Folders for Transformers: its own loader gives the network, and foreign ones are refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models

import architectures
from architectures.interfaces import OutputPart
from architectures.saving import write_artefact
from converter.catalog import cards
from converter.cli.main import main
from converter.errors import ExportError, UsageError
from converter.exporting import transformers_folder
from converter.exporting.artefact import Artefact, read_artefact
from converter.exporting.transformers_tokenizer import write_tokenizer
from converter.mapping.rules import load_mapping
from schemas.artefact import Ancestor, ArtefactCard, DictionaryEntry, NetworkInput
from tests.converter.exporting.test_programs import lively

ORIENTATION = "PP-LCNet_x0_25_textline_ori"
READER = "PP-OCRv6_tiny_rec"
TABLE = "SLANet"
CHARACTERS = tuple("abcde ")


def written(folder: Path, of: str, **entries: object) -> Path:
    """Write a network of a released model, with few classes, as the converter does."""
    torch.manual_seed(0)
    card = cards.card(of)
    counts = {name: len(card.labels) or len(CHARACTERS) + 1 for name in card.class_counts}
    network = architectures.build(card.architecture, class_counts=counts)
    image = torch.rand(2, 3, *card.proof.sizes[0]) * 2 - 1
    lively(network, image)
    described = ArtefactCard(
        name=of,
        task=card.task,
        architecture=network.architecture,
        class_counts=network.class_counts,
        input=card.input,
        labels=card.labels,
        dictionary=DictionaryEntry("d.txt", "0" * 64, CHARACTERS) if card.task == "rec" else None,
        status="VERIFIED",
        derived_from=(Ancestor("parent", "parent.pth", "1" * 64, "VERIFIED"),),
    )
    path = folder / f"{of}.pth"
    write_artefact(path, "pth", network.state_dict(), replace(described, **entries))
    return path


@pytest.fixture(scope="module")
def classifier(tmp_path_factory) -> Path:
    return written(tmp_path_factory.mktemp("classifier"), ORIENTATION)


@pytest.fixture(scope="module")
def reader(tmp_path_factory) -> Path:
    return written(tmp_path_factory.mktemp("reader"), READER)


def export(weights: Path, folder: Path) -> int:
    return main(["export", str(weights), "--to", "transformers", "--out", str(folder)])


def test_a_classifier(classifier, tmp_path, capsys):
    from transformers import AutoModelForImageClassification

    assert export(classifier, tmp_path) == 0
    assert "AutoModelForImageClassification.from_pretrained" in capsys.readouterr().out
    names = {"model.safetensors", "config.json", "preprocessor_config.json", "README.md"}
    assert {file.name for file in tmp_path.iterdir()} == names
    theirs = AutoModelForImageClassification.from_pretrained(tmp_path)
    assert theirs.config.id2label == {0: "0_degree", 1: "180_degree"}
    image = torch.rand(1, 3, 80, 160) * 2 - 1
    with torch.no_grad():
        expected = architectures.load(classifier)(image)
        found = theirs(image).last_hidden_state.softmax(-1)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
    settings = json.loads((tmp_path / "preprocessor_config.json").read_text("utf-8"))
    assert settings["image_mean"] == [0.406, 0.456, 0.485]  # turned round with the channels
    assert settings["size"] == {"height": 80, "width": 160}
    text = (tmp_path / "README.md").read_text("utf-8")
    assert "library_name: transformers" in text
    assert f"`parent.pth`, VERIFIED, sha256 `{'1' * 64}`" in text


def test_a_recogniser_in_the_fused_form(reader, tmp_path):
    network = architectures.load(reader)
    fused = tmp_path / "tuned.pth"
    architectures.save(architectures.fuse(network), fused, card=replace(network.card, name="own"))
    assert export(fused, tmp_path / "out") == 0
    settings = json.loads((tmp_path / "out" / "preprocessor_config.json").read_text("utf-8"))
    assert settings["character_list"] == ["blank", *CHARACTERS]
    config = json.loads((tmp_path / "out" / "config.json").read_text("utf-8"))
    assert (config["model_type"], config["head_out_channels"]) == ("pp_ocrv6_tiny_rec", 7)


def test_what_transformers_lacks_is_left_out():
    """The boxes of cells, and the branches of DB that only training runs."""
    for name in (TABLE, "PP-OCRv5_mobile_det"):
        family = transformers_folder.families()[name]
        card = cards.card(name)
        with torch.device("meta"):
            counts = dict.fromkeys(card.class_counts, card.classes)
            network = architectures.build(card.architecture, class_counts=counts)
        artefact = Artefact(Path("x.pth"), network, ArtefactCard())
        found = set(transformers_folder._network(artefact, family).state_dict())
        left_out = set(network.state_dict()) - found
        assert left_out
        assert {tensor for tensor in left_out if not tensor.startswith(family.lacking)} == set()


def test_changed_tensors_are_found(classifier, tmp_path, monkeypatch):
    loaded = transformers_folder._runner

    def changed(artefact, family, folder):
        state = load_file(folder / "model.safetensors")
        state["head.weight"] = state["head.weight"] * 1.1
        save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
        return loaded(artefact, family, folder)

    monkeypatch.setattr(transformers_folder, "_runner", changed)
    with pytest.raises(ExportError, match="nothing was written"):
        transformers_folder.export(read_artefact(classifier), tmp_path)
    assert not list(tmp_path.iterdir())


def test_missing_tensors_are_found(classifier, tmp_path, monkeypatch):
    loaded = transformers_folder._runner

    def lacking(artefact, family, folder):
        state = load_file(folder / "model.safetensors")
        del state["last_convolution.weight"]
        save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
        return loaded(artefact, family, folder)

    monkeypatch.setattr(transformers_folder, "_runner", lacking)
    with pytest.raises(ExportError, match=r"missing_keys: .*last_convolution\.weight"):
        transformers_folder.export(read_artefact(classifier), tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_recogniser_needs_its_dictionary(tmp_path, capsys):
    assert export(written(tmp_path, READER, dictionary=None), tmp_path / "out") == 2
    assert "python -m converter add-dict" in capsys.readouterr().err
    assert not list((tmp_path / "out").iterdir())


def test_a_network_that_transformers_lacks(tmp_path, capsys):
    weights = written(tmp_path, "ch_ppocr_mobile_v2.0_cls")
    assert export(weights, tmp_path / "out") == 2
    assert "has a network that the export for Transformers does not know" in capsys.readouterr().err


def test_transformers_is_missing(classifier, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(transformers_folder, "find_spec", lambda _: None)
    assert export(classifier, tmp_path) == 2
    assert "pip install 'paddleocr-to-torch[transformers]'" in capsys.readouterr().err


SMALL_VIT = {"image_size": 64, "encoder_embed_dim": 48, "encoder_depth": 1, "encoder_num_heads": 4}
SMALL_MBART = {
    "encoder_hidden_size": 1024,
    "decoder_hidden_size": 32,
    "decoder_ffn_dim": 32,
    "decoder_layers": 1,
    "max_new_tokens": 14,
    "vocab_size": 40,
}
SMALL_CONFIG = {
    "model_type": "pp_formulanet",
    "vision_config": {
        "image_size": 64,
        "hidden_size": 48,
        "num_hidden_layers": 1,
        "num_attention_heads": 4,
        "mlp_dim": 192,
        "global_attn_indexes": [],
        "decoder_hidden_size": 32,
    },
    "text_config": {
        "vocab_size": 40,
        "max_position_embeddings": 14,
        "decoder_layers": 1,
        "decoder_ffn_dim": 32,
        "d_model": 32,
    },
}


def small_tokenizer(**changed: object) -> dict:
    """Return a tokenizer of six tokens, as PaddleOCR's files are."""
    special = ("<s>", "<pad>", "</s>", "<unk>")
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    tokenizer = Tokenizer(models.BPE({name: n for n, name in enumerate((*special, "a", "Ġb"))}, []))
    tokenizer.decoder = decoders.ByteLevel()
    content = json.loads(tokenizer.to_str())
    content["added_tokens"] = [
        {"id": n, "content": name, "special": True, **flags} for n, name in enumerate(special)
    ]
    return {**content, **changed}


def test_a_tokenizer_that_decodes_otherwise_is_refused(tmp_path):
    def export(content: dict) -> None:
        entry = DictionaryEntry("tokenizer.json", "0" * 64, tokenizer=content)
        card = ArtefactCard(dictionary=entry)
        write_tokenizer(Artefact(Path("f.pth"), torch.nn.Identity(), card), tmp_path, 14)

    export(small_tokenizer())
    with pytest.raises(ExportError, match=r"decodes tokens 0 to 5 of f\.pth otherwise"):
        export(small_tokenizer(decoder={"type": "Fuse"}))
    model = {**small_tokenizer()["model"], "vocab": {"a": 4}}
    with pytest.raises(UsageError, match="has no bos_token 0, no pad_token 1, no eos_token 2"):
        export(small_tokenizer(model=model, added_tokens=[]))


def test_a_decoder_is_compared_by_the_scores_of_tokens(tmp_path, monkeypatch):
    from transformers import AutoTokenizer

    released = transformers_folder.families()["PP-FormulaNet-L"]
    head = {"name": "PPFormulaNet_Head", **SMALL_MBART}
    backbone = {"name": "Vary_VIT_B_Formula", **SMALL_VIT}
    architecture = {"model_type": "rec", "algorithm": "x", "Backbone": backbone, "Head": head}
    torch.manual_seed(0)
    network = architectures.build(architecture)
    card = ArtefactCard(
        architecture=network.architecture,
        input=NetworkInput(1, 64, 64),
        dictionary=DictionaryEntry("tokenizer.json", "0" * 64, tokenizer=small_tokenizer()),
    )
    small = replace(released, config=SMALL_CONFIG)
    monkeypatch.setattr(transformers_folder, "_family", lambda _: small)
    artefact = Artefact(tmp_path / "f.pth", network.eval(), card)
    exported = transformers_folder.export(artefact, tmp_path)
    assert exported.proof.difference < 1e-5
    theirs = transformers_folder._runner(artefact, small, tmp_path)
    (batch,) = artefact.inputs()[:1]
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    assert tokenizer.decode([0, 4, 5, 2, 1], skip_special_tokens=True) == "a b"
    assert (tokenizer.eos_token_id, tokenizer.model_max_length) == (2, 14)
    expected, found = transformers_folder._scores(artefact)(batch), theirs(batch)
    assert found["logits"].shape == (1, 12, 40)
    assert np.abs(expected["logits"][:, :-1] - found["logits"][:, 1:]).max() > 0.1


def test_a_choice_among_equal_scores_is_compared_in_double_precision(classifier, tmp_path):
    artefact = read_artefact(classifier)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(OutputPart, "ranks", True)
        exported = transformers_folder.export(artefact, tmp_path)
    assert exported.proof.difference < 1e-12
    assert next(artefact.network.parameters()).dtype == torch.float32


def test_equal_values_keep_their_order():
    flags = torch.arange(300).remainder(3).eq(0)[None].int()
    with transformers_folder._StableOrder():
        found = torch.argsort(flags, dim=1, descending=True)
    assert torch.equal(found, flags.argsort(dim=1, descending=True, stable=True))


def test_options_of_the_head_are_in_the_configuration():
    family = transformers_folder.families()["PP-DocLayoutV2"]
    card = cards.card("PP-DocLayoutV2")
    with torch.device("meta"):
        network = architectures.build(card.architecture, class_counts={"layout": 25})
    config = transformers_folder._config(Artefact(Path("x.pth"), network, ArtefactCard()), family)
    assert config["class_order"] == card.architecture["Head"]["class_order"]


def test_every_family_names_a_released_model_and_a_mapping():
    for name, family in transformers_folder.families().items():
        assert cards.card(name).task == family.task
        assert load_mapping(family.mapping).rules
        assert family.form in ("train", "deploy")
