"""Networks of relations as two files: the features of the text, and the scores of a page's pairs.

`STEM.encoder` takes the tokens of pages, as a network of classes does. `STEM.relations` takes the
features of one page, its entities and pairs of them. The metadata of the second has the labels of
entities, in the order of their numbers, under `entity_labels`. `examples/relations_onnx.py` runs
the two as ONNX files.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

import architectures
from architectures.backbones._relation_decoder import LABELS, RelationDecoder, candidate_pairs
from architectures.backbones.vqa_layoutlm import LayoutLMv2ForRe, LayoutXLMForRe
from converter.errors import ExportError, UsageError
from converter.exporting.artefact import Artefact
from converter.exporting.example_inputs import examples_of
from converter.exporting.parts import GraphPart
from converter.exporting.program import Graph, ProgramExport, export_module, make_graph
from converter.exporting.proof import Comparison, ExportProof, compare, difference
from converter.exporting.steps import Arrays, FileFormat, PartGraph, Run, write_parts

PAGE_INPUTS = ("entities", "relations")
"""The inputs that the decoder of relations reads, not the transformer."""
FEATURES = "features"


class TextPart(GraphPart):
    """A network of relations up to its decoder."""

    def __init__(self, network: architectures.Model, first: str) -> None:
        super().__init__()
        self.backbone = relation_network(network)
        others = (name for name in network.extra_inputs if name not in PAGE_INPUTS)
        self.inputs = (first, *others)

    def forward(self, x: Tensor, *extra: Tensor) -> dict[str, Tensor]:
        """Return the features of tokens `x`, (N, T, hidden), as `features`."""
        features, _ = self.backbone.states(x, **dict(zip(self.inputs[1:], extra, strict=True)))
        return {FEATURES: features}


class PairPart(GraphPart):
    """The decoder of relations, for pairs that are given."""

    inputs = (FEATURES, "entities", "pairs")

    def __init__(self, decoder: RelationDecoder) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(self, features: Tensor, entities: Tensor, pairs: Tensor) -> dict[str, Tensor]:
        """Return `RelationDecoder.score` as `scores`, (P, 2)."""
        return {"scores": self.decoder.score(features, entities, pairs)}


def relation_network(network: architectures.Model) -> LayoutLMv2ForRe | LayoutXLMForRe:
    """Return the only part of a network of relations."""
    assert isinstance(network.backbone, LayoutLMv2ForRe | LayoutXLMForRe)
    return network.backbone


def finds_relations(artefact: Artefact) -> bool:
    """Return whether a network finds relations between entities."""
    return isinstance(artefact.network.backbone, LayoutLMv2ForRe | LayoutXLMForRe)


def export_relations(artefact: Artefact, folder: Path, kind: FileFormat) -> ProgramExport:
    """Write a network of relations as `STEM.encoder` and `STEM.relations`.

    Args:
        artefact: the network.
        folder: where to write; it exists.
        kind: the format of the files.

    Raises:
        UsageError: a part has no graph, or an operator that the format lacks.
        ExportError: the files do not compute what the network does.
        OutputError: a file cannot be written.
    """
    fused, first = artefact.fused(), artefact.adapter.first_input
    graph = make_graph(artefact, lambda network: TextPart(network, first))
    text = TextPart(artefact.network, first)
    pair = PairPart(relation_network(fused.network).model.extractor)
    program = _export_pairs(artefact, text, pair, graph.batches[0])
    described = {"entity_labels": json.dumps(LABELS)}
    graphs = {
        "encoder": PartGraph(graph.program, text.inputs, graph.outputs),
        "relations": PartGraph(program, pair.inputs, ("scores",), described),
    }
    files, proof = write_parts(
        artefact, folder, kind, graphs, lambda runs: _prove(artefact, (text, pair), runs, graph)
    )
    (_, hidden) = program.example_inputs[0][0].shape
    takes = f"{graph.takes}; of a page, {FEATURES} (T, {hidden}), entities (M, 3), pairs (P, 2)"
    return ProgramExport(files, takes, proof)


def _export_pairs(
    artefact: Artefact, text: TextPart, pair: PairPart, batch: np.ndarray
) -> torch.export.ExportedProgram:
    """Export the scores of a page's pairs, with any number of tokens, entities and pairs."""
    given = artefact.arguments(batch)
    with torch.no_grad():
        features = text(*text.arguments(given))[FEATURES][0]
    pairs, _ = candidate_pairs(given["entities"][0], given["relations"][0])
    free = {0: torch.export.Dim.DYNAMIC}
    try:
        return export_module(pair, (features, given["entities"][0], pairs), (free, free, free))
    except Exception as error:  # PyTorch raises many kinds, for each of its stages
        raise UsageError(f"{artefact.path} has a decoder without a graph: {error}") from error


def _prove(
    artefact: Artefact, parts: tuple[TextPart, PairPart], runs: Sequence[Run], graph: Graph
) -> ExportProof:
    """Compare the files with the parts, and both together with what the network returns."""
    text, pair = parts
    noun, worst, noise = examples_of(artefact).noun, 0.0, 0.0

    def run_text(batch: np.ndarray) -> Arrays:
        given = artefact.arguments(batch)
        with torch.inference_mode():
            return {FEATURES: text(*text.arguments(given))[FEATURES].numpy()}

    def agree(found: Comparison, batch: np.ndarray, what: str) -> None:
        nonlocal worst, noise
        if found.fault:
            shape = "x".join(map(str, batch.shape))
            raise ExportError(
                f"{artefact.path} with {noun} of {shape}: {what} {found.fault}; nothing was written"
            )
        worst, noise = max(worst, found.difference), max(noise, found.noise)

    for batch in graph.batches:
        given = artefact.arguments(batch)
        features = runs[0]({name: tensor.numpy() for name, tensor in given.items()})[FEATURES]
        expected = run_text(batch)[FEATURES]
        same = compare(artefact, run_text, batch, FEATURES, expected, features)
        agree(same, batch, FEATURES)
        losses, found = [], []
        for page, entities, relations in zip(
            features, given["entities"], given["relations"], strict=True
        ):
            pairs, right = candidate_pairs(entities, relations)
            for some in (pairs[:1], pairs):
                arguments = (torch.from_numpy(page), entities, some)
                of_page = {n: a.numpy() for n, a in zip(pair.inputs, arguments, strict=True)}
                scores = runs[1](of_page)["scores"]
                with torch.inference_mode():
                    of_part = pair(*arguments)["scores"].numpy()
                gap, fault = difference(of_part, scores)
                agree(Comparison(gap, fault=fault), batch, f"the scores of {len(some)} pairs")
            truth = torch.arange(len(pairs)) < right
            losses.append(F.cross_entropy(torch.from_numpy(scores), truth.long()))
            found.append(pairs.numpy()[scores.argmax(1) == 1])
        results = artefact.results(batch)
        loss = torch.stack(losses).sum().numpy()
        same = compare(artefact, artefact.results, batch, "loss", results["loss"], loss)
        agree(same, batch, "loss")
        for page, theirs in zip(found, results["pred_relations"], strict=True):
            agree(_compare_pairs(theirs, page), batch, "pred_relations")
    return ExportProof(worst, tuple(batch.shape for batch in graph.batches), noise, noun=noun)


def _compare_pairs(relations: np.ndarray, pairs: np.ndarray) -> Comparison:
    """Compare the relations that a network found on a page with pairs.

    Args:
        relations: (K, 7, 2) int64, as `RelationDecoder` returns them.
        pairs: (R, 2) int64.
    """
    count = max(0, int(relations[0, 0, 0]))
    gap, fault = difference(relations[1 : count + 1, (0, 3), 0], pairs)
    return Comparison(gap, fault=fault)
