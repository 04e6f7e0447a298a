"""Building a record's networks in PyTorch, with the record's weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch

import architectures
from architectures import registry
from architectures.layers.conv import BatchNormAct
from architectures.model import Model
from converter.catalog import cards as catalog
from converter.catalog.custom import mirrored, similar
from converter.catalog.paddledetection import is_paddledetection
from converter.errors import ConfigError, PlanError
from converter.mapping import apply as convert
from converter.mapping.plan import Plan, Signature, resolve, targets_of
from converter.mapping.rules import load_mapping
from converter.references.recorded.record import Record


def networks(architecture: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the prefix and the architecture of each network that a record holds."""
    if "Models" in architecture:
        for name, part in architecture["Models"].items():
            yield f"{name}.", part
    else:
        yield "", architecture


def build_recorded(
    record: Record, prefix: str, architecture: Mapping[str, Any]
) -> tuple[Model, Plan]:
    """Return one network of a record with its weights, and the plan that converted them.

    Args:
        record: the record.
        prefix: of the network's tensor names in the record.
        architecture: the network's.

    Raises:
        ConfigError: no config covers the architecture.
        PlanError: the weights do not fit the network.
    """
    weights = {name.removeprefix(prefix): a for name, a in record.weights(prefix).items()}
    if is_paddlex(architecture):
        network, mapping = _paddlex_network(architecture["algorithm"], weights)
    else:
        architecture = mirrored(architecture)
        card = similar(architecture)
        mapping = card.mapping
        counts = {
            count: registry.class_count(architecture, len(weights[name]))
            for count, name in card.class_counts.items()
            if name in weights
        }
        network = _without_values(architecture, counts)
    targets = targets_of(network)
    signatures = {name: Signature(a.shape, str(a.dtype)) for name, a in weights.items()}
    plan = resolve(load_mapping(mapping), signatures, targets)
    network.load_state_dict(convert.apply(plan, weights, targets), strict=True, assign=True)
    return network.eval(), plan


def is_paddlex(architecture: Mapping[str, Any]) -> bool:
    """Return whether a network is one of PaddleX's own, which are classes, not compositions."""
    return "class" in architecture


def is_deployed(architecture: Mapping[str, Any]) -> bool:
    """Return whether a record's network is one of PaddleX's whose branches are merged."""
    if not is_paddlex(architecture):
        return False
    theirs = catalog.card(architecture["algorithm"]).paddlex
    return theirs is not None and theirs.form != "train"


def _paddlex_network(name: str, weights: Mapping[str, np.ndarray]) -> tuple[Model, str]:
    """Return our network for PaddleX's network of a released model, and the mapping's name."""
    card = catalog.card(name)
    if (theirs := card.paddlex) is None:
        raise ConfigError(f"the config of {name} does not say how PaddleX's network becomes ours")
    if missing := [tensor for tensor in theirs.class_counts.values() if tensor not in weights]:
        raise PlanError(f"PaddleX's {name} has no {missing[0]}, whose length is the class count")
    counts = {count: len(weights[tensor]) for count, tensor in theirs.class_counts.items()}
    architecture = {**catalog.without_class_counts(card.architecture), **theirs.architecture}
    return _without_values(architecture, counts, theirs.form), theirs.mapping


def _without_values(
    architecture: Mapping[str, Any], counts: Mapping[str, int], form: str = "train"
) -> Model:
    """Build a network on the meta device: random values would be made to be overwritten."""
    with torch.device("meta"):
        return architectures.build(architecture, class_counts=counts, form=form)


def layer_names(record: Record, prefix: str, network: Model, plan: Plan) -> dict[str, str]:
    """Return our name of each layer in the record's trace, by its name there.

    Layers whose tensors the plan drops, which our network has not, are left out.

    The layers of PaddleX and PaddleDetection have the names that the plan converts. Where their
    activation is a layer of its own and ours is part of the BatchNorm, or several of their layers
    are joined in one of ours, the outputs differ, and the layer is left out.

    Args:
        record: the record.
        prefix: of the network's names in the record.
        network: ours, in the training form.
        plan: the plan that converted its weights.
    """
    dropped = {name.rpartition(".")[0] for name in plan.drops}
    traced = [
        row.layer
        for row in record.facts.trace
        if row.layer.startswith(prefix) and row.layer.removeprefix(prefix) not in dropped
    ]
    architecture = record.facts.architecture
    if not is_paddlex(architecture) and not is_paddledetection(architecture):
        return {name: name.removeprefix(prefix) for name in traced}
    ours = {
        source.rpartition(".")[0]: move.target.rpartition(".")[0]
        for move in plan.moves
        for source in move.sources
    }
    joined = {
        source.rpartition(".")[0]
        for move in plan.moves
        for source in move.sources
        if len(move.sources) > 1
    }
    activated = {name for name, m in network.named_modules() if isinstance(m, BatchNormAct)}
    return {
        name: ours.get(name, name)
        for name in traced
        if ours.get(name) not in activated and name not in joined
    }
