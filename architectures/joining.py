"""Layers that become one operation, for inference alone: the results differ by rounding.

- A convolution and its activation are one operation of oneDNN on a CPU, so that the map is written
  and read once less.
- Linear layers that follow each other are one linear layer.
- A recurrent cell that is written out in operations is PyTorch's own.

The names of the tensors change, so a network that is joined can neither be saved nor trained.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from architectures.interfaces import Activating, Foldable, WrittenOut

ONEDNN_NAMES: dict[type[nn.Module], str] = {
    nn.Hardswish: "hardswish",
    nn.ReLU: "relu",
    nn.SiLU: "swish",
}
"""oneDNN's names of the activations that it computes with a convolution."""


class ActivatedConv2d(nn.Module):
    """A convolution and its activation, in float32 on a CPU.

    Its weights take oneDNN's own order, that of the size of the first map.

    Args:
        conv: padded with zeros.
        activation: oneDNN's name.
    """

    def __init__(self, conv: nn.Conv2d, activation: str) -> None:
        super().__init__()
        # One attribute, so that a thread never reads a weight in an order that it does not expect.
        self._weight = conv.weight.detach(), False
        self.bias = None if conv.bias is None else conv.bias.detach()
        self.activation = activation
        self.geometry = conv.padding, conv.stride, conv.dilation, conv.groups

    def forward(self, x: Tensor) -> Tensor:
        """`(N, in_channels, H, W)` to `(N, out_channels, H', W')`."""
        weight, is_ordered = self._weight
        if not is_ordered:
            order = torch.ops.mkldnn._reorder_convolution_weight
            weight = order(weight, *self.geometry, x.shape)
            self._weight = weight, True
        return torch.ops.mkldnn._convolution_pointwise(
            x, weight, self.bias, *self.geometry, self.activation, [], ""
        )


def has_onednn() -> bool:
    """Return whether this PyTorch computes convolutions with their activations."""
    return torch.backends.mkldnn.is_available() and hasattr(
        torch.ops.mkldnn, "_reorder_convolution_weight"
    )


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
        for name, child in module.named_children():
            if isinstance(child, WrittenOut):
                setattr(module, name, child.native())
            elif type(child) is nn.Sequential:
                setattr(module, name, _with_joined_linears(child))


def _activated(module: nn.Module) -> Iterator[tuple[str, str]]:
    """Yield the names of a convolution and of the activation right after it."""
    activates = dict(module.activates) if isinstance(module, Activating) else {}
    norms = dict(module.folds) if isinstance(module, Foldable) else {}
    for conv, norm in norms.items():
        if "." not in conv and type(getattr(module, norm)) in ONEDNN_NAMES:
            yield conv, norm  # an activation that was in the normalisation
    for conv, activation in activates.items():
        if conv not in norms or isinstance(getattr(module, norms[conv]), nn.Identity):
            yield conv, activation


def _join_activation(module: nn.Module, conv_name: str, activation_name: str) -> None:
    """Join a convolution with an activation, if oneDNN can."""
    conv, activation = getattr(module, conv_name), getattr(module, activation_name)
    name = ONEDNN_NAMES.get(type(activation))
    if type(conv) is not nn.Conv2d or name is None:
        return
    if isinstance(conv.padding, str) or conv.padding_mode != "zeros":
        return
    setattr(module, conv_name, ActivatedConv2d(conv, name))
    setattr(module, activation_name, nn.Identity())


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
