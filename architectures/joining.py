"""Layers that become one operation, for inference alone: the results differ by rounding.

- A convolution or a linear layer and its activation are one operation of oneDNN on a CPU, so that
  the map is written and read once less. The others are oneDNN's, too, with weights in its order.
- Linear layers that follow each other are one linear layer.
- A module that has a form of fewer operations takes it (`Joinable`).
- What the steps of a loop do not need of each other is computed after the last one.
- A block of which one layer is left is that layer.
- Maps of several sizes that one convolution reads are not enlarged for it.
- Convolutions with large kernels are products of Fourier coefficients.

The names of the tensors change, so a network that is joined can neither be saved nor trained.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import TypeGuard, cast

import torch
from torch import nn

from architectures.interfaces import (
    Activating,
    Chained,
    Deferring,
    Foldable,
    Joinable,
    MapJoining,
    MapReading,
    OutputPart,
)
from architectures.layers.fourier import FourierConv2d, is_faster
from architectures.layers.onednn import (
    ACTIVATION_NAMES,
    NO_ACTIVATION,
    ActivatedConv1d,
    ActivatedConv2d,
    ActivatedLinear,
    activation_of,
    has_onednn,
)
from architectures.layers.pyramid import PyramidConv2d, is_separable
from architectures.model import Model


def join_(network: nn.Module) -> None:
    """Join layers of a network in the fused form, in eval mode, in place.

    Args:
        network: on a CPU, in float32 or bfloat16.
    """
    _replace(network)
    _use_fourier(network)
    if has_onednn():
        _separate_maps(network)
        _join_activations(network, _activated)
    _shorten(network)
    if has_onednn():
        _join_activations(network, _neighbours)
        _order_weights(network)


def _replace(module: nn.Module) -> None:
    """Give the modules within a module their forms of fewer operations, in place."""
    if isinstance(module, OutputPart) and isinstance(module, Deferring):
        module.deferred = True
    for name, child in module.named_children():
        if issubclass(type(child), Joinable):  # unlike isinstance, remembered by class
            setattr(module, name, cast("Joinable", child).joined())
        elif type(child) is nn.Sequential:
            setattr(module, name, _with_joined_linears(child))
        _replace(getattr(module, name))


def _use_fourier(network: nn.Module) -> None:
    """Replace convolutions, in place, for which the products of coefficients are faster."""
    for module in list(network.modules()):
        for name, child in module.named_children():
            if _is_plain(child) and is_faster(child):
                setattr(module, name, FourierConv2d(child))


def _separate_maps(network: nn.Module) -> None:
    """Let the head's first convolution read the maps of the neck without enlarging them."""
    if not isinstance(network, Model):
        return
    neck, head = network.neck, network.head
    if not (isinstance(neck, MapJoining) and neck.map_factors and isinstance(head, MapReading)):
        return
    conv, activation = map(head.get_submodule, head.reader)
    if not is_separable(conv) or type(activation) is not nn.ReLU:
        return
    count = len(neck.map_factors)
    channels = [conv.in_channels // count] * count
    head.set_submodule(head.reader[0], PyramidConv2d(conv, channels, neck.map_factors, relu=True))
    head.set_submodule(head.reader[1], nn.Identity())
    neck.separate = True


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


def _neighbours(module: nn.Module) -> Iterator[tuple[str, str]]:
    """Yield the names of each layer of a sequence and of the layer right after it."""
    if type(module) is nn.Sequential:
        yield from pairwise(name for name, _ in module.named_children())


def _join_activations(
    network: nn.Module, pairs: Callable[[nn.Module], Iterator[tuple[str, str]]]
) -> None:
    """Join convolutions and linear layers with their activations, where oneDNN can.

    Args:
        network: the network.
        pairs: yields the names of two layers of a module; only the second reads the first.
    """
    for module in list(network.modules()):
        for name, activation_name in pairs(module):
            activation = getattr(module, activation_name)
            if activation_of(activation) is None:
                continue
            joined = _of_onednn(getattr(module, name), activation)
            if joined is not None:
                setattr(module, name, joined)
                setattr(module, activation_name, nn.Identity())


def _order_weights(network: nn.Module) -> None:
    """Let oneDNN order the weights of the other convolutions and of linear layers once."""
    for module in list(network.modules()):
        for name, child in module.named_children():
            joined = _of_onednn(child, nn.Identity())
            if joined is not None:
                setattr(module, name, joined)


def _of_onednn(layer: nn.Module, activation: nn.Module) -> nn.Module | None:
    """Return a layer and its activation as one operation of oneDNN; None for other layers."""
    if type(layer) is nn.Linear:
        return ActivatedLinear(layer, activation)
    names = activation_of(activation) or NO_ACTIVATION
    if _is_plain(layer):
        return ActivatedConv2d(layer, names)
    if type(layer) is nn.Conv1d and _pads_zeros(layer):
        return ActivatedConv1d(layer, names)
    return None


def _is_plain(layer: nn.Module) -> TypeGuard[nn.Conv2d]:
    """Return whether a layer is a convolution of maps that pads with a number of zeros."""
    return type(layer) is nn.Conv2d and _pads_zeros(layer)


def _pads_zeros(conv: nn.Conv1d | nn.Conv2d) -> bool:
    """Return whether a convolution pads with a number of zeros."""
    return not isinstance(conv.padding, str) and conv.padding_mode == "zeros"


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
