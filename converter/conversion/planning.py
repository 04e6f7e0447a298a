"""Plans: which network a source becomes, and where each of its tensors goes.

A checkpoint has names, and a mapping file says what becomes of each. An export has no names that
can be relied on; its layers are matched with the network's by data flow. Where that leaves layers
interchangeable there are several plans, and a live check has to choose one.

Plans are made from names and shapes alone: no array is read here.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain
from typing import Any

import torch
from torch import Tensor

import architectures
from architectures import Model, registry
from architectures.reparameterize import BATCH_NORMS, fold_, fold_as_exported_, fuse_
from converter.adapters.layoutlm import TokenAdapter
from converter.adapters.registry import adapter_for
from converter.adapters.running import extra_tensors
from converter.alignment.layer_graph import Key, Layer, LayerGraph, TracedLayers, program_graph
from converter.alignment.matching import Alignment, align
from converter.alignment.trace import trace
from converter.catalog import cards as catalog
from converter.catalog.cards import ModelCard
from converter.catalog.dictionary import fit_to_classes
from converter.errors import AlignmentError, ConfigError, PlanError
from converter.mapping.plan import Plan, Signature, Target, fills_of, resolve, targets_of
from converter.mapping.rules import load_mapping
from converter.sources.ir import Program

# What PaddleOCR's export folds has grown over its versions: nothing, or what the network's classes
# state. Other tools, such as those that simplify ONNX files, fold each BatchNorm, or all.
FOLDINGS: Mapping[str, Callable[[Model], None]] = {
    "none": lambda _: None,
    "exported": fold_as_exported_,
    "batch norms": partial(fold_, kinds=BATCH_NORMS),
    "all": fold_,
}


@dataclass(frozen=True)
class NetworkSpec:
    """A network without its weights; `name` is the model's, for messages.

    `form` is `train` or `deploy`; `folding`, one of FOLDINGS, says which normalisations an export
    has folded into convolutions.
    """

    name: str
    architecture: Mapping[str, Any]
    class_counts: Mapping[str, int]
    form: str = "train"
    folding: str = "none"

    def build(self) -> Model:
        """Build the network on the meta device, where tensors have shapes but no values.

        Raises:
            ConfigError: the options of the architecture do not fit together.
        """
        try:
            with torch.device("meta"):
                network = architectures.build(
                    self.architecture, class_counts=self.class_counts, form=self.form
                )
        except (ValueError, TypeError, RuntimeError) as error:  # what odd options end in
            raise ConfigError(
                f"the architecture of {self.name} cannot be built: {error}"
            ) from error
        FOLDINGS[self.folding](network)
        return network


@dataclass(frozen=True)
class ConversionPlan:
    """One way to convert a source: the network, and where each tensor goes.

    Attributes:
        network: what the source is converted to.
        blueprint: that network on the meta device; it is copied, never changed.
        tensors: where each tensor goes.
        targets: the network's tensors.
        written_form: the form in which the network is proved and written.
        alignment: of an export, the pairs of layers.
        layers: of an export, the network's layer graph.
    """

    network: NetworkSpec
    blueprint: Model = field(repr=False, compare=False)
    tensors: Plan
    targets: Mapping[str, Target]
    written_form: str
    alignment: Alignment | None = None
    layers: TracedLayers | None = None

    def load(self, state: Mapping[str, Tensor]) -> Model:
        """Return the network with the tensors of `state`, in the written form."""
        network = copy.deepcopy(self.blueprint)
        network.load_state_dict(dict(state), strict=True, assign=True)
        if network.form != self.written_form:
            fuse_(network, self.written_form)
        return network


def plan_checkpoint(
    card: ModelCard, signatures: Mapping[str, Signature], *, fuse: bool = False
) -> ConversionPlan:
    """Plan the conversion of a training checkpoint by the names of its tensors.

    Args:
        card: the model.
        signatures: shape and dtype of every tensor of the checkpoint.
        fuse: whether the network is written with its branches merged and normalisations folded.

    Raises:
        PlanError: the names do not fit the mapping, or the shapes the network.
        ConfigError: dictionary or labels do not fit the number of classes.
    """
    mapping = load_mapping(card.mapping)
    if card.submodel:
        mapping = mapping.of_submodel(card.submodel)
    prefixes = (mapping.select.prefix, "") if mapping.select else ("",)
    counts = {
        count: _count_classes(card, name, prefixes, signatures)
        for count, name in card.class_counts.items()
    }
    _check_counts(card, counts)
    spec = _spec(card, counts, "train")
    network = spec.build()
    targets = targets_of(network)
    tensors = resolve(mapping, signatures, targets)
    return ConversionPlan(spec, network, tensors, targets, "fused" if fuse else "train")


def plan_export(
    card: ModelCard, program: Program, computed: Mapping[str, str], *, fuse: bool = False
) -> Iterator[ConversionPlan]:
    """Plan the conversion of an exported program by its data flow.

    Yields one plan, or one for each pairing of interchangeable layers.

    Args:
        card: the model.
        program: the exported program.
        computed: its tensors that are constants and no weights, each with the reason.
        fuse: whether the network is written with its normalisations folded, too.

    Raises:
        AlignmentError: the program is not this network, or data flow cannot follow it.
        ConfigError: dictionary or labels do not fit the number of classes.
    """
    if has_unknown_loop(card, program):
        raise AlignmentError(
            f"the program has a loop, where {card.name} has none whose steps are known here; is "
            "this an export of it? If it is, give the training checkpoint too, which has names"
        )
    graph = program_layers(card, program, computed)
    boxes = adapter_for(card.architecture).post_processes(spec.name for spec in program.inputs)
    counts = _labelled_classes(card) if boxes else _scored_classes(card, graph)
    _check_counts(card, counts)
    matched = match_layers(card, graph, _spec(card, counts, "deploy"))
    fills = fills_of(load_mapping(card.mapping), matched.targets)
    written_form = "fused" if fuse or matched.network.folding != "none" else "deploy"
    for alignment in matched.alignments:
        tensors = alignment.plan(matched.targets, fills)
        tensors = replace(tensors, drops={**tensors.drops, **computed})
        yield ConversionPlan(
            matched.network,
            matched.blueprint,
            tensors,
            matched.targets,
            written_form,
            alignment,
            matched.layers,
        )


def counterparts(
    card: ModelCard, plan: ConversionPlan, program: Program, computed: Mapping[str, str]
) -> dict[Key, Layer]:
    """Return, for each layer of the deployed network by its key, the program's counterpart.

    Of a plan by data flow these are known. For a checkpoint with an export beside it the two are
    aligned here. There are none where a program with a loop cannot be aligned: then the results
    alone are compared.

    Raises:
        AlignmentError: the program is not the checkpoint's network.
    """
    if plan.alignment is not None:
        pairs = plan.alignment.pairs
    else:
        deployed = replace(plan.network, form="deploy")
        try:
            graph = program_layers(card, program, computed)
            pairs = next(match_layers(card, graph, deployed).alignments).pairs
        except AlignmentError:
            if not _has_loop(program):
                raise
            pairs = ()
    found = {ours.key: theirs for theirs, ours in pairs}
    if program.format == "pdmodel" and adapter_for(card.architecture).loops_over_images:
        return {key: replace(layer, looped=False) for key, layer in found.items()}
    return found


@dataclass(frozen=True)
class LayerMatch:
    """A network whose layers are those of a program, and the pairings that data flow allows.

    `blueprint` is the network on the meta device.
    """

    network: NetworkSpec
    blueprint: Model
    targets: Mapping[str, Target]
    layers: TracedLayers
    alignments: Iterator[Alignment]


def match_layers(card: ModelCard, program: LayerGraph, deployed: NetworkSpec) -> LayerMatch:
    """Find the folding with which a network's layers are the program's, and pair them.

    A folding with as many normalisations as the program has is tried first, so that the network
    is usually traced once.

    Raises:
        AlignmentError: no folding fits; the error is that of the first that was tried.
    """
    norms = sum(layer.kind == "batch_norm" for layer in program.layers)
    mismatch: AlignmentError | None = None
    for spec, network in _foldings(deployed, norms):
        layers = trace_layers(card, copy.deepcopy(network))
        ours = layers.graph if program.results else replace(layers.graph, results=frozenset())
        alignments = align(program, ours)
        try:
            first = next(alignments)
        except AlignmentError as error:
            mismatch = mismatch or error
        else:
            pairings = chain([first], alignments)
            return LayerMatch(spec, network, targets_of(network), layers, pairings)
    assert mismatch is not None
    raise mismatch


def _foldings(deployed: NetworkSpec, norms: int) -> Iterator[tuple[NetworkSpec, Model]]:
    """Yield the network in every folding that changes it, first those with `norms` BatchNorms."""
    others: list[tuple[NetworkSpec, Model]] = []
    tensors: set[tuple[str, ...]] = set()
    for folding in FOLDINGS:
        spec = replace(deployed, folding=folding)
        network = spec.build()
        if (names := tuple(network.state_dict())) in tensors:
            continue
        tensors.add(names)
        if sum(isinstance(module, BATCH_NORMS) for module in network.modules()) == norms:
            yield spec, network
        else:
            others.append((spec, network))
    yield from others


def has_unknown_loop(card: ModelCard, program: Program) -> bool:
    """Return whether a program has a loop, and the head's adapter knows no steps of one."""
    return _has_loop(program) and not adapter_for(card.architecture).decodes


def _has_loop(program: Program) -> bool:
    return any(operation.kind == "while" for operation in program.operations)


def program_layers(card: ModelCard, program: Program, computed: Mapping[str, str]) -> LayerGraph:
    """Return the layers of a program.

    Tensors that our network computes, and inputs that it computes inside, are left out. A program
    that goes on to boxes has no results in common with our network, so they are left out, too.
    """
    kept = {n: spec for n, spec in program.parameters.items() if n not in computed}
    adapter = adapter_for(card.architecture)
    fed = [spec.name for spec in program.inputs]
    names = ("x", *adapter.extra_inputs)
    constant = adapter.computed_inside | adapter.index_inputs
    inside = {of for of, name in zip(fed, names, strict=False) if name in constant}
    if adapter.post_processes(fed):
        inside = set(adapter.post_processing)
        program = replace(program, outputs=())
    return program_graph(replace(program, parameters=kept), inside, adapter.decodes)


def trace_layers(card: ModelCard, network: Model) -> TracedLayers:
    """Trace a network without values on a small image, or one of the only size that it takes.

    It gets zeros first: on the meta device PyTorch would import its compiler, which takes longer
    than to compute.
    """
    zeros = {
        name: torch.zeros(tensor.shape, dtype=tensor.dtype)
        for name, tensor in network.state_dict().items()
    }
    network.load_state_dict(zeros, assign=True)
    adapter = adapter_for(card.architecture)
    if isinstance(adapter, TokenAdapter):
        _, length = card.proof.sizes[-1]
        image = torch.from_numpy(adapter.tokens(1, adapter.fitting(length), 0))
    else:
        size = card.proof.only_size or (card.input.height or 64, card.input.width or 64)
        image = torch.zeros(1, card.input.channels, *size)
    given = extra_tensors(network, image)
    run = partial(adapter.first_steps, network)
    traced = trace(network, image, given=given, keep=(), run=run)
    return TracedLayers.of(traced, adapter.index_inputs, adapter.decodes)


def _count_classes(
    card: ModelCard, name: str, prefixes: tuple[str, ...], signatures: Mapping[str, Signature]
) -> int:
    """Return the number of classes: the length of the tensor `name`, which the config states.

    A head with other options than the config's has its scores in another layer; the network knows.
    """

    def names() -> Iterator[str]:
        yield name
        counts = dict.fromkeys(card.class_counts, _fewest(card))
        for layer in _spec(card, counts, "train").build().logits_layers:
            yield f"{layer}.bias"

    for tensor in names():
        for prefix in prefixes:
            if prefix + tensor in signatures:
                width = signatures[prefix + tensor].shape[0]
                return registry.class_count(card.architecture, width)
    raise PlanError(
        f"the checkpoint has no {name}, whose length is the number of classes; it has "
        f"{', '.join(list(signatures)[-3:])}, ...; are these the weights of {card.name}?"
    )


def _scored_classes(card: ModelCard, program: LayerGraph) -> dict[str, int]:
    """Return the class counts of a program: the width of the layer that it ends in.

    Of several such layers, those count whose counterparts in our network own the tensor that the
    config names; of a decoder, those that its text comes from.
    """
    if not card.class_counts:
        return {}
    beyond = None
    last = {marks: program.layers[i] for i, marks in program.results if i >= 0}
    if adapter_for(card.architecture).decodes:
        # The tokens that frame a text may be among the last classes.
        assumed = max(_fewest(card), *map(_width, last.values())) + 3 if last else _fewest(card)
        ours = _spec(card, dict.fromkeys(card.class_counts, assumed), "deploy").build()
        counted = {name.rpartition(".")[0] for name in card.class_counts.values()}
        if counted.isdisjoint(ours.logits_layers):  # the config names the embedding of the text
            beyond = len(ours.get_parameter(f"{ours.logits_layers[0]}.weight")) - assumed
        if len(ours.output_part.results) > 1:
            place = f"output:{ours.output_part.results.index(ours.text_scores)}"
            last = {marks: layer for marks, layer in last.items() if marks[-1:] == (place,)}
    elif len(last) > 1:
        counts = dict.fromkeys(card.class_counts, _fewest(card))
        graph = trace_layers(card, _spec(card, counts, "deploy").build()).graph
        scored = {
            marks
            for i, marks in graph.results
            if i >= 0
            and {tensor.name for tensor in graph.layers[i].tensors}
            & set(card.class_counts.values())
        }
        last = {marks: layer for marks, layer in last.items() if marks in scored}
    widths = set(map(_width, last.values()))
    if len(widths) != 1 or 0 in widths:
        raise AlignmentError(
            "the program does not end in one layer that scores classes; is this an export of "
            f"{card.name}?"
        )
    width = widths.pop()
    known = registry.class_count(card.architecture, width)
    return dict.fromkeys(card.class_counts, known if beyond is None else width - beyond)


def _labelled_classes(card: ModelCard) -> dict[str, int]:
    """Return the class counts of a program that goes on to boxes: the number of its labels."""
    if card.class_counts and not card.labels:
        raise ConfigError(
            f"{card.name} was exported with what follows the network, so its classes cannot be "
            "counted; give its inference.yml, which lists them, or --labels"
        )
    return dict.fromkeys(card.class_counts, len(card.labels or ()))


def _width(layer: Layer) -> int:
    return int(layer.settings.get("width", 0))


def _fewest(card: ModelCard) -> int:
    """Return the class count with which the network has one class to score at least."""
    return max(1, registry.class_count(card.architecture, 1))


def _check_counts(card: ModelCard, counts: Mapping[str, int]) -> None:
    if card.dictionary is not None:
        fit_to_classes(card.dictionary, counts, card.decoder)
    classes = next((count for head, count in counts.items() if head in catalog.LABELLED), None)
    if card.labels and classes is not None and len(card.labels) != classes:
        raise ConfigError(
            f"{card.name} has {len(card.labels)} labels, the weights {classes} classes"
        )


def _spec(card: ModelCard, counts: Mapping[str, int], form: str) -> NetworkSpec:
    return NetworkSpec(card.name, catalog.without_class_counts(card.architecture), counts, form)
