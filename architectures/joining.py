"""Layers that become one operation, for inference alone: the results differ by rounding.

- A convolution and its activation are one operation of oneDNN on a CPU, so that the map is written
  and read once less. The convolutions of a head that give logits are oneDNN's, too.
- Linear layers that follow each other are one linear layer.
- A module that has a form of fewer operations takes it (`Joinable`).
- What the steps of a loop do not need of each other is computed after the last one.
- A block of which one layer is left is that layer.

The names of the tensors change, so a network that is joined can neither be saved nor trained.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeGuard, cast

import torch
from torch import nn

from architectures.interfaces import (
    Activating,
    Chained,
    Deferring,
    Foldable,
    Joinable,
    OutputPart,
)
from architectures.layers.onednn import ACTIVATION_NAMES, ActivatedConv2d, has_onednn


def join_(network: nn.Module) -> None:
    """Join layers of a network in the fused form, in eval mode, in place.

    Args:
        network: on a CPU, in float32.
    """
    activates = has_onednn()
    for module in list(network.modules()):
        if activates:
            for conv_name, activation_name in _activated(module):
                _join_activation(module, conv_name, activation_name)
            if isinstance(module, OutputPart):
                _order_logits(module)
        if isinstance(module, OutputPart) and isinstance(module, Deferring):
            module.deferred = True
        for name, child in module.named_children():
            if issubclass(type(child), Joinable):  # unlike isinstance, remembered by class
                setattr(module, name, cast("Joinable", child).joined())
            elif type(child) is nn.Sequential:
                setattr(module, name, _with_joined_linears(child))
    _shorten(network)


def _shorten(module: nn.Module) -> None:
    """Replace blocks, in place, by those of their layers that compute something."""
    for name, child in module.named_children():
        _shorten(child)
        # A subclass may do more than the class that it inherits the declaration from.
        if isinstance(child, Chained) and "chain" in vars(type(child)):
            layers = (getattr(child, each) for each in child.chain)
            left = [layer for layer in layers if not isinstance(layer, nn.Identity)]
            setattr(module, name, left[0] if len(left) == 1 else nn.Sequential(*left))


def _activated(module: nn.Module) -> Iterator[tuple[str, str]]:
    """Yield the names of a convolution and of the activation right after it."""
    activates = dict(module.activates) if isinstance(module, Activating) else {}
    norms = dict(module.folds) if isinstance(module, Foldable) else {}
    for conv, norm in norms.items():
        if "." not in conv and type(getattr(module, norm)) in ACTIVATION_NAMES:
            yield conv, norm  # an activation that was in the normalisation
    for conv, activation in activates.items():
        if conv not in norms or isinstance(getattr(module, norms[conv]), nn.Identity):
            yield conv, activation


def _join_activation(module: nn.Module, conv_name: str, activation_name: str) -> None:
    """Join a convolution with an activation, if oneDNN can."""
    conv, activation = getattr(module, conv_name), getattr(module, activation_name)
    name = ACTIVATION_NAMES.get(type(activation))
    if name is not None and _is_onednns(conv):
        setattr(module, conv_name, ActivatedConv2d(conv, name))
        setattr(module, activation_name, nn.Identity())


def _order_logits(head: OutputPart) -> None:
    """Let oneDNN compute the convolutions of a head that give logits."""
    for path in head.logits_layers:
        parent, _, name = path.rpartition(".")
        conv = getattr(head.get_submodule(parent), name)
        if _is_onednns(conv):
            setattr(head.get_submodule(parent), name, ActivatedConv2d(conv, "none"))


def _is_onednns(layer: nn.Module) -> TypeGuard[nn.Conv2d]:
    """Return whether a layer is a convolution that `ActivatedConv2d` can compute."""
    return (
        type(layer) is nn.Conv2d
        and not isinstance(layer.padding, str)
        and layer.padding_mode == "zeros"
    )


def _with_joined_linears(layers: nn.Sequential) -> nn.Sequential:
    """Return the layers with one linear layer for several that follow each other."""
    joined: list[nn.Module] = []
    for layer in layers:
        last = joined[-1] if joined else None
        if type(layer) is nn.Linear and type(last) is nn.Linear:
            joined[-1] = _product(last, layer)
        else:
            joined.append(layer)
    return layers if len(joined) == len(layers) else nn.Sequential(*joined)


@torch.no_grad()
def _product(first: nn.Linear, second: nn.Linear) -> nn.Linear:
    """Return one linear layer that computes `second(first(x))`."""
    weight = second.weight.double() @ first.weight.double()
    bias = weight.new_zeros(second.out_features)
    if first.bias is not None:
        bias = second.weight.double() @ first.bias.double()
    if second.bias is not None:
        bias = bias + second.bias.double()
    joined = nn.Linear(first.in_features, second.out_features, device="meta")
    joined.weight = nn.Parameter(weight.to(second.weight.dtype), requires_grad=False)
    joined.bias = nn.Parameter(bias.to(second.weight.dtype), requires_grad=False)
    return joined
