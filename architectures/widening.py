"""A recogniser by CTC with more classes: old ones keep their weights, new ones get the mean."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from architectures.model import Model
from architectures.registry import build, find


def widen_ctc(network: Model, places: Sequence[int | None]) -> Model:
    """Return a network with other classes, in the form and with the other weights of `network`.

    The logits of old classes stay what they are. That of a new class is the mean of the logits of
    the old characters, so that it is never the largest before the network is trained.

    Args:
        network: a recogniser by CTC, in any form.
        places: for each class, the blank first, its old number, or None where it is new. No old
            class may be left out.

    Raises:
        ValueError: the network has no CTC head, or `places` leaves out an old class.
    """
    head = network.output_part
    if head.loss != "ctc":
        raise ValueError(
            f"classes can be added to a CTC head, the network has {type(head).__name__}"
        )
    (layer,) = network.logits_layers
    old = network.get_submodule(layer)
    kept = [place for place in places if place is not None]
    if not isinstance(old, nn.Linear) or places[0] != 0:
        raise ValueError("the first class of a CTC head, the blank, must stay the first")
    if sorted(kept) != list(range(old.out_features)):
        raise ValueError(
            f"the new classes hold {len(set(kept))} of {old.out_features} old classes; each must "
            "be there once"
        )
    architecture = _with_classes(network.architecture, len(places))
    result = build(architecture, form=network.form)
    state = network.state_dict()
    for name in (f"{layer}.weight", f"{layer}.bias"):
        if name in state:
            state[name] = _widened(state[name], places)
    result.load_state_dict(state)
    result.card = network.card
    return result


def _widened(rows: Tensor, places: Sequence[int | None]) -> Tensor:
    """Return rows at their new places, and the mean of all but the first at the others."""
    mean = rows[1:].double().mean(0, keepdim=True).to(rows.dtype)
    order = torch.tensor([len(rows) if place is None else place for place in places])
    return torch.cat([rows, mean])[order]


def _with_classes(architecture: dict[str, Any], classes: int) -> dict[str, Any]:
    """Return a configuration whose CTC head has that many classes, and its guides as many more."""
    config = copy.deepcopy(architecture)
    options = config["Head"]
    *sections, option = find("Head", config["model_type"], options).counts["ctc"].split(".")
    for section in sections:
        options = options[section]
    more = classes - options[option]
    guides = [name for name in options if name.endswith("LabelDecode")] if sections else []
    for name in {option, *guides}:
        options[name] += more
    return config
