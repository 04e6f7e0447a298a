"""Convolutions and linear layers that oneDNN computes: for inference on a CPU.

oneDNN orders weights in blocks. The best order depends on the size of the map; changing one into
another can take it longer than the convolution. So a layer keeps each order that it has needed.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
import torch.nn.functional as F
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
    return (
        torch.backends.mkldnn.is_available()
        and hasattr(torch.ops.mkldnn, "_reorder_convolution_weight")
        and hasattr(torch.ops.mkldnn, "_get_mkldnn_serialized_md")
    )


MOST_SHAPES = 1000
"""How many shapes of maps a layer remembers the order for."""


class OrderedConv2d(nn.Module):
    """A convolution whose weights are put in order once for a shape; a subclass adds `forward`.

    Args:
        conv: padded with zeros.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.weight = conv.weight.detach()
        self.bias = None if conv.bias is None else conv.bias.detach()
        self.geometry = conv.padding, conv.stride, conv.dilation, conv.groups
        self._by_order: dict[bytes, Tensor] = {}
        self._by_shape: dict[torch.Size, Tensor] = {}

    def ordered_weight(self, shape: torch.Size) -> Tensor:
        """Return the weight in oneDNN's order for a map of this shape; for several threads."""
        weight = self._by_shape.get(shape)
        if weight is None:
            operations = torch.ops.mkldnn
            weight = operations._reorder_convolution_weight(self.weight, *self.geometry, shape)
            order = operations._get_mkldnn_serialized_md(weight).numpy().tobytes()
            weight = self._by_order.setdefault(order, weight)
            if len(self._by_shape) >= MOST_SHAPES:
                self._by_shape.clear()
            self._by_shape[shape] = weight
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


class ActivatedConv1d(ActivatedConv2d):
    """A convolution along a sequence and its activation: that of a map of one row.

    Args:
        conv: padded with zeros.
        activation: oneDNN's names of it and of its algorithm, or `NO_ACTIVATION`.
    """

    def __init__(self, conv: nn.Conv1d, activation: tuple[str, str] = NO_ACTIVATION) -> None:
        super().__init__(_of_one_row(conv), activation)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, in_channels, T)` to `(N, out_channels, T')`."""
        return super().forward(x.unsqueeze(2)).squeeze(2)


def _of_one_row(conv: nn.Conv1d) -> nn.Conv2d:
    """Return the convolution of maps of one row that computes what one of sequences does."""
    result = nn.Conv2d(conv.in_channels, conv.out_channels, 1, groups=conv.groups, device="meta")
    padding, stride, dilation = map(int, (*conv.padding, *conv.stride, *conv.dilation))
    result.padding, result.stride, result.dilation = (0, padding), (1, stride), (1, dilation)
    result.weight = nn.Parameter(conv.weight.detach().unsqueeze(2), requires_grad=False)
    result.bias = conv.bias
    return result


class AddedConv2d(OrderedConv2d):
    """A convolution that is added to another map, and the ReLU of the sum, if asked for.

    The sum is a new map: for the operation that changes the other one, oneDNN (of PyTorch 2.13) may
    want the weights in another order, and then orders them again in each call.

    Args:
        conv: padded with zeros.
        relu: whether negative sums become 0.
    """

    def __init__(self, conv: nn.Conv2d, relu: bool = False) -> None:
        super().__init__(conv)
        self.activation = "relu" if relu else None

    def forward(self, x: Tensor, other: Tensor) -> Tensor:
        """Return the convolution of `(N, in_channels, H, W)`, plus `other`."""
        weight = self.ordered_weight(x.shape)
        return torch.ops.mkldnn._convolution_pointwise.binary(
            x, other, weight, self.bias, *self.geometry, "add", None, self.activation, [], ""
        )


FEWEST_ROWS, FEWEST_PRODUCTS = 4, 2**20
"""Rows and multiplications of the smallest linear layer that oneDNN computes.

A call takes 10 microseconds more, and few rows do not pay for a second copy of the weights.
"""


class ActivatedLinear(nn.Linear):
    """A linear layer and its activation, with weights in oneDNN's order once it gets enough rows.

    PyTorch calls MKL, which takes two to three times as long on a processor of AMD, and writes the
    bias before it adds the products.

    Args:
        linear: the layer, whose parameters it has.
        activation: a layer of `ACTIVATION_NAMES`, or `nn.Identity`.
    """

    def __init__(self, linear: nn.Linear, activation: nn.Module) -> None:
        super().__init__(linear.in_features, linear.out_features, device="meta")
        self.weight, self.bias, self.activation = linear.weight, linear.bias, activation
        self._attributes = activation_of(activation) or NO_ACTIVATION
        self._ordered: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        """`(..., in_features)` to `(..., out_features)`."""
        rows = x.numel() // self.in_features
        if rows < FEWEST_ROWS or rows * self.weight.numel() < FEWEST_PRODUCTS:
            result: Tensor = self.activation(F.linear(x, self.weight, self.bias))
            return result
        if self._ordered is None:
            self._ordered = torch.ops.mkldnn._reorder_linear_weight(self.weight.detach())
        name, algorithm = self._attributes
        return torch.ops.mkldnn._linear_pointwise.default(
            x, self._ordered, self.bias, name, [], algorithm
        )


def split_inputs(conv: nn.Conv2d, parts: int | Sequence[int]) -> list[nn.Conv2d]:
    """Return convolutions of parts of the channels, which add up to a convolution of all.

    Args:
        conv: of one group.
        parts: how many parts of one size, or the channels of each.

    Returns:
        The convolutions, of which the last has the bias.
    """
    sizes = [conv.in_channels // parts] * parts if isinstance(parts, int) else list(parts)
    result = []
    for weight in conv.weight.detach().split(sizes, 1):
        part = copy.copy(conv)
        part.in_channels = weight.shape[1]
        part._parameters = {
            "weight": nn.Parameter(weight.contiguous(), requires_grad=False),
            "bias": None,
        }
        result.append(part)
    result[-1].bias = conv.bias
    return result
