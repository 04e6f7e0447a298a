"""Exports of networks that take the tokens of a page: classes in one file, relations in two."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch

from architectures import Model, build
from architectures.backbones._relation_decoder import candidate_pairs
from architectures.heads.kie_sdmgr_head import Block
from architectures.saving import write_artefact
from converter.cli.main import main
from converter.errors import ExportError
from converter.exporting import onnx_file, parts, program, proof, relations, torch_program
from converter.exporting.artefact import Artefact, read_artefact
from converter.exporting.example_inputs import examples_of
from examples import relations_onnx
from schemas.artefact import ArtefactCard
from tests.support.layoutxlm_programs import LABELS, SIZES, TOKENS

TEXT = "input_ids (N, T), bbox (N, T, 4), attention_mask (N, T), token_type_ids (N, T)"

SMALL = {**SIZES, "num_hidden_layers": 1}


def written(folder: Path, name: str, **options: Any) -> Path:
    torch.manual_seed(7)
    model = build({"model_type": "kie", "Backbone": {"name": name, "sizes": SMALL, **options}})
    for tensor in model.parameters():
        if tensor.dim() > 1 and tensor.shape[0] < 200:
            tensor.data *= 3  # so that the results depend on the tokens
    card = ArtefactCard(
        task="kie",
        architecture=model.architecture,
        class_counts=model.class_counts,
        labels=LABELS if name.endswith("Ser") else (),
    )
    write_artefact(folder / f"{name}.pth", "pth", model.eval().state_dict(), card)
    return folder / f"{name}.pth"


@pytest.fixture(scope="module")
def classes(tmp_path_factory) -> Path:
    """VI-LayoutXLM for classes."""
    folder = tmp_path_factory.mktemp("classes")
    return written(folder, "LayoutXLMForSer", mode="vi", num_classes=len(LABELS))


@pytest.fixture(scope="module")
def layoutlm(tmp_path_factory) -> Path:
    """LayoutLM, which knows two kinds of tokens."""
    folder = tmp_path_factory.mktemp("layoutlm")
    return written(folder, "LayoutLMForSer", num_classes=len(LABELS))


@pytest.fixture(scope="module")
def related(tmp_path_factory) -> Path:
    """VI-LayoutXLM for relations, with its ONNX files."""
    path = written(tmp_path_factory.mktemp("related"), "LayoutXLMForRe", mode="vi")
    assert main(["export", str(path), "--to", "onnx", "--out", str(path.parent)]) == 0
    return path


def arrays(artefact: Artefact, tokens: np.ndarray) -> dict[str, np.ndarray]:
    return {name: tensor.numpy() for name, tensor in artefact.arguments(tokens).items()}


def some_tokens(count: int, length: int) -> np.ndarray:
    return np.random.default_rng(7).integers(5, SIZES["vocab_size"], (count, length))


def test_onnx_has_the_names_of_the_inputs_and_any_length(classes, capsys):
    assert main(["export", str(classes), "--to", "onnx", "--out", str(classes.parent)]) == 0
    printed = capsys.readouterr().out
    assert f"takes {TEXT}; T at most {TOKENS}\n" in printed
    assert f"with tokens of 2x39, 1x{TOKENS}, 3x26" in printed
    session = onnxruntime.InferenceSession(classes.with_suffix(".onnx").read_bytes())
    card = json.loads(session.get_modelmeta().custom_metadata_map["card"])
    assert tuple(card["labels"]) == LABELS
    artefact, tokens = read_artefact(classes), some_tokens(4, 17)
    given = arrays(artefact, tokens)
    assert [each.name for each in session.get_inputs()] == list(given)
    (scores,) = session.run(None, given)
    expected = artefact.results(tokens)["output"]
    np.testing.assert_allclose(scores, expected, atol=1e-4 * np.abs(expected).max())
    given["attention_mask"][:] = 1  # the mask of the last text counts
    (unmasked,) = session.run(None, given)
    assert np.abs(unmasked[-1] - expected[-1]).max() > 1e-2 > np.abs((unmasked - expected)[0]).max()


def test_a_program_takes_as_many_tokens_as_the_network(layoutlm):
    artefact = read_artefact(layoutlm)
    done = torch_program.export(artefact, layoutlm.parent)
    assert done.takes == f"{TEXT}; T at most {TOKENS}"
    module = torch.export.load(done.files[0]).module()
    for length in (1, TOKENS):
        tokens = some_tokens(2, length)
        scores = module(*artefact.arguments(tokens).values()).detach().numpy()
        np.testing.assert_allclose(scores, artefact.results(tokens)["output"], atol=1e-5)
    with pytest.raises((RuntimeError, AssertionError)):
        module(*artefact.arguments(some_tokens(2, TOKENS + 1)).values())

    # Inputs in another order give other results, and the proof refuses them.
    part, batches = parts.whole(artefact), examples_of(artefact).batches(("batch", "length"))
    run = torch_program._runner(artefact, part, module, ("output",))
    assert proof.prove(artefact, run, batches).difference < 1e-5
    assert part.inputs[2:] == ("attention_mask", "token_type_ids")
    part.inputs = (*part.inputs[:2], *part.inputs[:1:-1])
    with pytest.raises(ExportError, match=r"with tokens of 2x39: its result output differs by"):
        proof.prove(artefact, run, batches)


def test_a_trace_of_a_network_that_sees_an_image(tmp_path):
    visual = {"groups": 1, "group_width": 2, "stem_channels": 4, "channels": 8, "out_channels": 6}
    path = written(tmp_path, "LayoutXLMForSer", num_classes=3, visual={"depth": 50, **visual})
    artefact = read_artefact(path)
    assert list(artefact.arguments(some_tokens(1, 5)))[-1] == "image"
    done = torch_program.export_script(artefact, tmp_path)
    assert done.takes == "tokens as the network; free axes: batch, length"
    tokens = some_tokens(3, 21)
    scores = torch.jit.load(str(done.files[0]))(*artefact.arguments(tokens).values()).numpy()
    expected = artefact.results(tokens)["output"]
    np.testing.assert_allclose(scores, expected, atol=1e-4 * np.abs(expected).max())


class Fixed(parts.Positional):
    """Computes with the number of tokens."""

    def forward(self, x, *extra):
        return super().forward(x, *extra) * torch.linspace(0.5, 1, int(x.shape[1]))[:, None]


def test_a_length_that_is_kept_is_seen(classes, tmp_path, monkeypatch):
    def fixed(artefact: Artefact) -> Fixed:
        return Fixed(artefact.network, "input_ids")

    monkeypatch.setattr(torch_program, "whole", fixed)
    with pytest.raises(ExportError, match=r"nothing was written|does not take tokens of"):
        torch_program.export_script(read_artefact(classes), tmp_path)
    assert not list(tmp_path.iterdir())


def test_relations_are_two_files(related):
    stem, artefact = str(related.with_suffix("")), read_artefact(related)
    tokens = some_tokens(1, 45)
    given = arrays(artefact, tokens)
    count = given["entities"][0, 0, 0]
    rows = given["entities"][0, 1 : count + 1]
    found = relations_onnx.relate(stem, given, rows)
    expected = artefact.results(tokens)["pred_relations"][0]
    assert 0 < len(found) == expected[0, 0, 0] < given["relations"][0, 0, 0]
    assert [pair for *pair, _ in found] == expected[1 : len(found) + 1, (0, 3), 0].tolist()
    assert all(0.5 < share < 1 for *_, share in found)
    assert relations_onnx.relate(stem, given, rows[:1]) == []


def test_the_runner_of_relations_prints_them(related, tmp_path, monkeypatch, capsys):
    given = arrays(read_artefact(related), some_tokens(1, 45))
    given["entities"] = given["entities"][0, 1 : given["entities"][0, 0, 0] + 1]
    np.savez(tmp_path / "page.npz", **given)
    stem = str(related.with_suffix(""))
    monkeypatch.setattr("sys.argv", ["relations_onnx.py", stem, str(tmp_path / "page.npz")])
    relations_onnx.main()
    (question, answer, share), *_ = relations_onnx.relate(stem, given, given["entities"])
    assert capsys.readouterr().out.startswith(f"{answer} answers {question}: {share:.3f}\n")


def test_relations_as_programs(related, tmp_path, capsys):
    assert main(["export", str(related), "--to", "torch", "--out", str(tmp_path)]) == 0
    hidden = SIZES["hidden_size"]
    page = f"of a page, features (T, {hidden}), entities (M, 3), pairs (P, 2)"
    assert f"takes {TEXT}; T at most {TOKENS}; {page}\n" in capsys.readouterr().out
    found = {"entity_labels": ""}
    encoder, decoder = (
        torch.export.load(tmp_path / f"{related.stem}.{part}.pt2", extra_files=found).module()
        for part in ("encoder", "relations")
    )
    assert json.loads(found["entity_labels"]) == ["HEADER", "QUESTION", "ANSWER"]
    artefact, tokens = read_artefact(related), some_tokens(1, 33)
    *text, entities, given = artefact.arguments(tokens).values()
    pairs, _ = candidate_pairs(entities[0], given[0])
    with torch.no_grad():
        scores = decoder(encoder(*text)["features"][0], entities[0], pairs)["scores"]
        loss = torch.nn.functional.cross_entropy(scores, torch.ones(len(pairs), dtype=torch.long))
    np.testing.assert_allclose(loss.numpy(), artefact.results(tokens)["loss"], rtol=1e-5)


def moved(network: Model, tensor: str) -> Model:
    other = copy.deepcopy(network)
    values = other.get_parameter(f"backbone.model.{tensor}").data
    values += 0.02 * torch.arange(len(values)).view(-1, *[1] * (values.dim() - 1))
    return other


def test_wrong_relations_are_found(related):
    artefact = read_artefact(related)
    right = relations.relation_network(artefact.network)
    text = relations.TextPart(artefact.network, "input_ids")
    pair = relations.PairPart(right.model.extractor)
    files = [related.with_suffix(f".{part}.onnx") for part in ("encoder", "relations")]
    runs = [onnx_file.ONNX.open(file, ()) for file in files]
    batches = examples_of(artefact).batches(("batch", "length"))[:1]
    graph = program.Graph(None, text, (), (), batches, "")

    def prove(network: Model, *changed: Any) -> float:
        compared = replace(artefact, network=network)
        return relations._prove(compared, changed or (text, pair), runs, graph).difference

    assert prove(artefact.network) < 1e-5
    shifted = moved(artefact.network, "layoutxlm.embeddings.LayerNorm.bias")
    other = relations.TextPart(shifted, "input_ids")
    with pytest.raises(ExportError, match=r"of 2x39: features differs by .*; nothing was written"):
        prove(shifted, other, pair)
    scored = moved(artefact.network, "extractor.rel_classifier.linear.bias")
    decoder = relations.PairPart(relations.relation_network(scored).model.extractor)
    with pytest.raises(ExportError, match=r"the scores of 1 pairs differs by"):
        prove(scored, text, decoder)
    with pytest.raises(ExportError, match=r"loss differs by"):
        prove(scored)
    assert relations._compare_pairs(np.full((4, 7, 2), -1), np.array([[0, 1]])).fault


@pytest.mark.parametrize("target", [["torchscript"], ["torch", "--compile"]])
def test_one_file_of_relations_is_refused(related, tmp_path, target, capsys):
    assert main(["export", str(related), "--out", str(tmp_path), "--to", *target]) == 2
    assert "scores the pairs of each page in a loop" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def receipts() -> Artefact:
    """SDMGR, with a layer in place of its U-Net, and with a fusion of few parts."""
    torch.manual_seed(1)
    head = {"node_input": 4, "node_embed": 8, "edge_embed": 8, "num_gnn": 1}
    architecture = {
        "model_type": "kie",
        "Backbone": {"name": "Kie_backbone"},
        "Head": {"name": "SDMGRHead", **head, "num_classes": 3},
    }
    model = build(architecture).eval()
    model.backbone.img_feat = torch.nn.Conv2d(3, 16, 3, padding=1)
    model.head.fusion = Block((16, 8), 8, 6, chunks=2)
    return Artefact(Path("sdmgr.pth"), model, ArtefactCard(task="kie"))


class OtherOrder(parts.OnePage):
    """Gives the boxes in another order than their texts."""

    def arguments(self, given):
        x, boxes, relations, texts = super().arguments(given)
        return x, boxes.flip(1), relations, texts


def test_a_page_of_boxes_as_a_program(receipts, tmp_path):
    artefact, done = receipts, torch_program.export(receipts, tmp_path)
    shapes = "x (1, 3, 32*H, 32*W), boxes (1, B, 4), relations (1, B, B, 5), texts (1, B, L)"
    assert done.takes == shapes
    assert 1e-8 < done.proof.difference < 1e-4  # the boxes are pooled in another way
    module = torch.export.load(done.files[0]).module()
    image = torch.from_numpy(artefact.images(96, 64, 1))
    alone = [[[10.0, 20, 50, 30]]], torch.rand(1, 1, 1, 5), [[[4]]]
    boxes, relation, texts = (torch.as_tensor(each) for each in alone)
    with torch.no_grad():
        results = module(image, boxes, relation, texts)
        expected = artefact.network(
            image, boxes=boxes, relations=relation, texts=texts,
            tag=torch.tensor([[1, 1]]), image_size=torch.tensor([[96, 64]]),
        )  # fmt: skip
    for name, tensor in expected.items():
        torch.testing.assert_close(results[name], tensor, rtol=0, atol=1e-4)

    part, batches = OtherOrder(artefact.network), examples_of(artefact).batches(("boxes",))
    run = torch_program._runner(artefact, part, module, ("0", "1"))
    with pytest.raises(ExportError, match=r"images of 1x3x160x192: its result [01] differs by"):
        proof.prove(artefact, run, batches)


def test_a_trace_of_boxes_is_refused(receipts, tmp_path):
    with pytest.raises(ExportError, match=r"does not take images of \(1, 3, 256, 288\)"):
        torch_program.export_script(receipts, tmp_path)
    assert not list(tmp_path.iterdir())
