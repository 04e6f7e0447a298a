"""Mistakes to make on purpose in a network that is honest without them."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from architectures import Model

Mistake = Callable[[nn.Module], None]


def swapped(network: nn.Module, first: str, second: str) -> None:
    """Exchange the weights of two layers of one shape."""
    a, b = (network.get_submodule(name).weight for name in (first, second))
    assert a.shape == b.shape
    kept = a.detach().clone()
    a.copy_(b)
    b.copy_(kept)


def untransposed(layer: nn.Module) -> None:
    assert isinstance(layer, nn.Linear)
    assert layer.in_features == layer.out_features
    layer.weight.copy_(layer.weight.T.clone())


def larger_epsilon(layer: nn.Module) -> None:
    assert isinstance(layer, (nn.BatchNorm2d, nn.LayerNorm))
    layer.eps *= 1.1


def default_epsilon_of_another_framework(layer: nn.Module) -> None:
    assert isinstance(layer, nn.BatchNorm2d)
    layer.eps = 1e-3


def mean_and_variance_exchanged(layer: nn.Module) -> None:
    mean, variance = layer.get_buffer("running_mean"), layer.get_buffer("running_var")
    kept = mean.clone()
    mean.copy_(variance)
    variance.copy_(kept.abs())


def no_bias(layer: nn.Module) -> None:
    assert layer.bias.abs().max() > 0
    layer.bias.zero_()


def one_nan(layer: nn.Module) -> None:
    largest(layer.weight).fill_(math.nan)


def one_element_off(layer: nn.Module) -> None:
    largest(layer.weight).mul_(-1)


def gates_exchanged(layer: nn.Module) -> None:
    """Exchange the input and the forget gate of an LSTM."""
    assert isinstance(layer, nn.LSTM)
    size = layer.hidden_size
    for name, tensor in layer.named_parameters():
        if name.endswith("_l0"):
            tensor.copy_(torch.cat([tensor[size : 2 * size], tensor[:size], tensor[2 * size :]]))


def reset_and_update_exchanged(layer: nn.Module) -> None:
    """Exchange the reset and the update gate of a GRU's cell."""
    assert isinstance(layer, nn.GRUCell)
    size = layer.hidden_size
    for tensor in layer.parameters():
        tensor.copy_(torch.cat([tensor[size : 2 * size], tensor[:size], tensor[2 * size :]]))


def turned_kernel(layer: nn.Conv2d) -> None:
    layer.weight.copy_(layer.weight.flip(2, 3))


def wrong_sign(layer: nn.Module) -> None:
    layer.weight.neg_()


def neighbours_first(layer: nn.Module) -> None:
    """In a graph convolution, take each node for its neighbours and these for the node."""
    own, theirs = layer.weight.clone().chunk(2)
    layer.weight.copy_(torch.cat([theirs, own]))


def largest(tensor: Tensor) -> Tensor:
    """Return a view of the element with the largest magnitude."""
    flat = tensor.view(-1)
    return flat[flat.abs().argmax()]


@torch.no_grad()
def mistaken(network: Model, layer: str, mistake: Mistake | str) -> Model:
    """Return a copy with the mistake in `layer`, or swapped with the layer of another name."""
    copied = copy.deepcopy(network)
    if isinstance(mistake, str):
        swapped(copied, layer, mistake)
    else:
        mistake(copied.get_submodule(layer))
    return copied
