"""Convolutions that oneDNN computes with what follows them: for inference, in float32 on a CPU.

Their weights take oneDNN's own order, that of the size of the first map.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

NO_ACTIVATION = "none", ""
ACTIVATION_NAMES: dict[type[nn.Module], str] = {
    nn.GELU: "gelu",
    nn.Hardswish: "hardswish",
    nn.ReLU: "relu",
    nn.SiLU: "swish",
}
"""oneDNN's names of the activations that it computes with a convolution."""


def activation_of(module: nn.Module) -> tuple[str, str] | None:
    """Return oneDNN's name of an activation and of its algorithm; None if it has none."""
    name = ACTIVATION_NAMES.get(type(module))
    if name is None:
        return None
    return name, module.approximate if isinstance(module, nn.GELU) else ""


def has_onednn() -> bool:
    """Return whether this PyTorch computes convolutions with their activations."""
    return torch.backends.mkldnn.is_available() and hasattr(
        torch.ops.mkldnn, "_reorder_convolution_weight"
    )


class OrderedConv2d(nn.Module):
    """A convolution whose weights are put in order once; a subclass adds `forward`.

    Args:
        conv: padded with zeros.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        # One attribute, so that a thread never reads a weight in an order that it does not expect.
        self._weight = conv.weight.detach(), False
        self.bias = None if conv.bias is None else conv.bias.detach()
        self.geometry = conv.padding, conv.stride, conv.dilation, conv.groups

    def ordered_weight(self, shape: torch.Size) -> Tensor:
        """Return the weight in oneDNN's order, that of the first `shape` it is asked for."""
        weight, is_ordered = self._weight
        if not is_ordered:
            order = torch.ops.mkldnn._reorder_convolution_weight
            weight = order(weight, *self.geometry, shape)
            self._weight = weight, True
        return weight


class ActivatedConv2d(OrderedConv2d):
    """A convolution and its activation.

    Args:
        conv: padded with zeros.
        activation: oneDNN's names of it and of its algorithm, or `NO_ACTIVATION`.
    """

    def __init__(self, conv: nn.Conv2d, activation: tuple[str, str] = NO_ACTIVATION) -> None:
        super().__init__(conv)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        """`(N, in_channels, H, W)` to `(N, out_channels, H', W')`."""
        weight = self.ordered_weight(x.shape)
        name, algorithm = self.activation
        return torch.ops.mkldnn._convolution_pointwise.default(
            x, weight, self.bias, *self.geometry, name, [], algorithm
        )


class AddedConv2d(OrderedConv2d):
    """A convolution that is added to another map."""

    def forward(self, x: Tensor, total: Tensor) -> Tensor:
        """Add the convolution of `(N, in_channels, H, W)` to `total`, which changes."""
        weight = self.ordered_weight(x.shape)
        return torch.ops.mkldnn._convolution_pointwise_.binary(
            total, x, weight, self.bias, *self.geometry, "add", None, None, [], ""
        )
