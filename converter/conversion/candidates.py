"""From a source to a network with its weights: by names, or by data flow.

A checkpoint has names; a mapping tells what becomes of them. An export has none that can be relied
on; its layers are matched with the network's. That may leave more than one candidate, of which a
live check chooses.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np
import torch

import architectures
from architectures import Model, registry
from architectures.reparameterize import fold_, fold_as_exported_
from converter.adapters.model_inputs import FED, INSIDE, given_to, head_of
from converter.alignment.computed_constants import constants
from converter.alignment.layer_graph import LayerGraph, network_graph, program_graph
from converter.alignment.matching import Alignment, align
from converter.alignment.trace import trace
from converter.catalog import cards as catalog
from converter.catalog.cards import ModelCard
from converter.catalog.dictionary import fit_to_classes
from converter.errors import AlignmentError, ConfigError, PlanError
from converter.mapping import apply as convert
from converter.mapping.plan import Plan, fills_of, resolve, signature_of, targets_of
from converter.mapping.rules import load_mapping
from converter.sources.ir import Program
from converter.sources.open import Source
from converter.sources.pdiparams import Export


@dataclass(frozen=True)
class Candidate:
    """A network with its weights, and how they came there.

    `alignment` is None where names told; `folded`, whether the export had normalisations folded.
    """

    network: Model
    plan: Plan
    alignment: Alignment | None = None
    folded: bool = False


def candidates(card: ModelCard, source: Source) -> Iterator[Candidate]:
    """Yield the networks that the files may stand for: one, or those that data flow allows.

    They share one module: the next candidate's weights replace those of the one before.

    Raises:
        PlanError: names or layers do not fit the network.
        ConfigError: dictionary or labels do not fit the number of classes.
    """
    if source.checkpoint is not None:
        yield from_names(card, source.checkpoint.tensors)
    elif source.export is not None:
        yield from from_program(card, source.export)


def from_names(card: ModelCard, tensors: Mapping[str, np.ndarray]) -> Candidate:
    """Return the network of a checkpoint, in the training form."""
    mapping = load_mapping(card.mapping)
    if card.submodel:
        mapping = mapping.of_submodel(card.submodel)
    prefixes = (mapping.select.prefix, "") if mapping.select else ("",)
    counts = {
        count: _length(card, name, prefixes, tensors) for count, name in card.class_counts.items()
    }
    _check_counts(card, counts)
    network = _build(card, counts, "train")
    targets = targets_of(network)
    signatures = {name: signature_of(array) for name, array in tensors.items()}
    plan = resolve(mapping, signatures, targets)
    network.load_state_dict(convert.apply(plan, tensors, targets), strict=True, assign=True)
    return Candidate(network, plan)


def _length(
    card: ModelCard, name: str, prefixes: tuple[str, ...], tensors: Mapping[str, np.ndarray]
) -> int:
    """Return the number of classes, by the length of the tensor that the config names.

    A head with other options than the config's has its scores in another layer; the network knows.
    """
    scores = _build(card, _fewest(card), "train").logits_layers
    beyond = registry.scored_beyond(card.architecture)
    for place in (name, *(f"{layer}.bias" for layer in scores)):
        for prefix in prefixes:
            if prefix + place in tensors:
                return int(tensors[prefix + place].shape[0]) - beyond
    raise PlanError(
        f"the checkpoint has no {name}, whose length is the number of classes; it has "
        f"{', '.join(list(tensors)[-3:])}, ...; are these the weights of {card.name}?"
    )


def from_program(card: ModelCard, export: Export) -> Iterator[Candidate]:
    """Yield the networks of an export, in the deploy form."""
    if has_loop(export.program):
        raise AlignmentError(
            f"{card.name} was exported with the loop that writes its text, whose layers data flow "
            "cannot tell apart; give the training checkpoint too, which has names"
        )
    program, computed = without_constants(export)
    counts = _scored_classes(card, program)
    _check_counts(card, counts)
    deployed = _build(card, counts, "deploy")
    network, folded, alignments = match(card, program, deployed)
    targets = targets_of(network)
    fills = fills_of(load_mapping(card.mapping), targets)
    for alignment in alignments:
        plan = alignment.plan(targets, fills)
        plan = replace(plan, drops={**plan.drops, **computed})
        state = convert.apply(plan, export.tensors, targets)
        network.load_state_dict(state, strict=True, assign=True)
        yield Candidate(network, plan, alignment, folded)


def has_loop(program: Program) -> bool:
    """Return whether a program runs some of its layers as often as the image asks for."""
    return any(operation.kind == "while" for operation in program.operations)


def without_constants(export: Export) -> tuple[Program, dict[str, str]]:
    """Return a program without the tensors that our networks compute, and those with the reason."""
    computed = constants(export.tensors)
    kept = {n: spec for n, spec in export.program.parameters.items() if n not in computed}
    return replace(export.program, parameters=kept), computed


def match(
    card: ModelCard, program: Program, deployed: Model
) -> tuple[Model, bool, Iterator[Alignment]]:
    """Return the network whose layers are the program's, and how they pair.

    What PaddleOCR's export folds has grown over its versions: nothing, what the network's classes
    say, or (by other tools) all normalisations. The flag tells whether anything is folded.

    Raises:
        AlignmentError: the program is none of these; the error is that of the first.
    """
    graph = _graph_of_program(card, program)
    mismatch: AlignmentError | None = None
    for fold in (None, fold_as_exported_, fold_):
        network = deployed
        if fold:
            network = copy.deepcopy(deployed)
            fold(network)
        alignments = align(graph, _graph_of(card, network))
        try:
            first = next(alignments)
        except AlignmentError as error:
            mismatch = mismatch or error
        else:
            return network, fold is not None, chain([first], alignments)
    assert mismatch is not None
    raise mismatch


def _scored_classes(card: ModelCard, program: Program) -> dict[str, int]:
    """Return the class counts of a program: the width of the layer that it ends in.

    Of several, those whose counterparts in our network have the tensor that the config names.
    """
    if not card.class_counts:
        return {}
    graph = _graph_of_program(card, program)
    last = {marks: graph.layers[i] for i, marks in graph.results if i >= 0}
    if len(last) > 1:
        ours = _graph_of(card, _build(card, _fewest(card), "deploy"))
        scored = {
            marks
            for i, marks in ours.results
            if i >= 0 and {t.name for t in ours.layers[i].tensors} & set(card.class_counts.values())
        }
        last = {marks: layer for marks, layer in last.items() if marks in scored}
    widths = {int(layer.settings.get("width", 0)) for layer in last.values()}
    if len(widths) != 1 or 0 in widths:
        raise AlignmentError(
            "the program does not end in one layer that scores classes; is this an export of "
            f"{card.name}?"
        )
    count = widths.pop() - registry.scored_beyond(card.architecture)
    return dict.fromkeys(card.class_counts, count)


def _fewest(card: ModelCard) -> dict[str, int]:
    """Return class counts with which the network has one class to score at least."""
    beyond = registry.scored_beyond(card.architecture)
    return dict.fromkeys(card.class_counts, max(1, 1 - beyond))


def _check_counts(card: ModelCard, counts: Mapping[str, int]) -> None:
    if card.dictionary is not None:
        fit_to_classes(card.dictionary, counts, card.decoder)
    if card.labels and "cls" in counts and len(card.labels) != counts["cls"]:
        raise ConfigError(
            f"{card.name} has {len(card.labels)} labels, the weights {counts['cls']} classes"
        )


def _build(card: ModelCard, counts: Mapping[str, int], form: str) -> Model:
    """Return the network, without values: the files bring those."""
    architecture = catalog.without_class_counts(card.architecture)
    try:
        with torch.device("meta"):
            return architectures.build(architecture, class_counts=counts, form=form)
    except (ValueError, TypeError, RuntimeError) as error:  # what odd options end in
        raise ConfigError(f"the architecture of {card.name} cannot be built: {error}") from error


def _graph_of_program(card: ModelCard, program: Program) -> LayerGraph:
    """Return the layers of a program; what our network computes inside does not flow into them."""
    names = ("x", *FED.get(head_of(card.architecture).get("name", ""), ()))
    inside = {
        spec.name for spec, name in zip(program.inputs, names, strict=False) if name in INSIDE
    }
    return program_graph(program, inside)


def _graph_of(card: ModelCard, network: Model) -> LayerGraph:
    """Return the layers of a network, traced on the smallest input that it takes.

    One without values gets zeros first: on the meta device PyTorch would import its compiler, which
    takes longer than to compute.
    """
    state = network.state_dict()
    if any(tensor.is_meta for tensor in state.values()):
        zeros = {name: torch.zeros(of.shape, dtype=of.dtype) for name, of in state.items()}
        network.load_state_dict(zeros, assign=True)
    size = (card.input.get("height", 64), card.input.get("width", 64))
    image = torch.zeros(1, card.input["channels"], *size)
    return network_graph(trace(network, image, given=given_to(network, image)))
