"""The same network with fewer operations: branches merged, normalisation folded into convolutions.

train   as in a training checkpoint
deploy  the form of PaddleOCR's exports: every re-parameterisable block is one convolution,
        `reparam_conv`, and its `lab`; the heads that only training uses are gone
fused   deploy, with each BatchNorm, and each `lab` right after a `reparam_conv`, folded into its
        convolution, and zeros in place of weights too small to add anything

A class that takes part implements `Deployable`, `Foldable` or `FoldedInExports`
(`interfaces.py`).
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from operator import attrgetter
from typing import Any, cast

import torch
from torch import Tensor, nn

from architectures.interfaces import Deployable, Foldable, FoldedInExports, Overwriting
from architectures.layers.affine import LearnableAffine
from architectures.layers.conv import BatchNormAct
from architectures.model import FORMS, Model

Convolution = nn.Conv1d | nn.Conv2d | nn.ConvTranspose2d
Linear = Convolution | nn.Linear
BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


def fuse(model: Model, form: str = "fused") -> Model:
    """A copy of `model` in eval mode and in the form `deploy` or `fused`, computing the same.

    ValueError: the form is unknown, or `model` is already past it (nothing can be unfolded).
    """
    result = copy.deepcopy(model).eval()
    fuse_(result, form)
    return result


def fuse_(model: Model, form: str) -> None:
    """`fuse` in place: `model` itself takes the form."""
    if form not in FORMS:
        raise ValueError(f"unknown form {form!r}; known: {', '.join(FORMS)}")
    steps = FORMS[FORMS.index(model.form) :]
    if form not in steps:
        raise ValueError(f"a network in the form {model.form!r} cannot go back to {form!r}")
    with torch.no_grad():
        for step in steps[1 : steps.index(form) + 1]:
            STEPS[step](model)
            model.form, model.card = step, None
        if form == "fused":
            clear_negligible_(model)


def channel_affine(module: nn.Module) -> tuple[Tensor, Tensor]:
    """Scale and shift, `(C,)` or `(1,)` float64, of a module that is `scale * x + shift`."""
    if isinstance(module, BATCH_NORMS):
        mean, variance = module.get_buffer("running_mean"), module.get_buffer("running_var")
        scale = module.weight.double() / (variance.double() + module.eps).sqrt()
        return scale, module.bias.double() - mean.double() * scale
    if isinstance(module, LearnableAffine):
        return module.scale.double(), module.bias.double()
    raise TypeError(f"{type(module).__name__} is not known to be an affine map of the channels")


def folded(conv: Linear, affine: nn.Module) -> tuple[Tensor, Tensor]:
    """Weight and bias, float64, of the one convolution that computes `affine(conv(x))`.

    Or of the one linear layer: it is a convolution of a map of one place.
    """
    scale, shift = channel_affine(affine)
    # A transposed convolution has its output channels on the second axis.
    shape = [1] * conv.weight.dim()
    shape[1 if isinstance(conv, nn.ConvTranspose2d) else 0] = -1
    weight = conv.weight.double() * scale.reshape(shape)
    bias = shift.expand(_width(conv))
    return weight, bias if conv.bias is None else bias + scale * conv.bias.double()


def _width(conv: Linear) -> int:
    return conv.out_features if isinstance(conv, nn.Linear) else conv.out_channels


def set_convolution(conv: Linear, values: Callable[[], tuple[Tensor, Tensor]]) -> None:
    """Give `conv` the weight and bias that `values` computes, in its own precision.

    On the meta device, where there are no values, it only gets the bias.
    """
    if conv.weight.is_meta:
        conv.bias = nn.Parameter(conv.weight.new_empty(_width(conv)))
        return
    weight, bias = values()
    conv.weight = nn.Parameter(weight.to(conv.weight.dtype))
    conv.bias = nn.Parameter(bias.to(conv.weight.dtype))


def merged_into(conv: Convolution, values: Callable[[], tuple[Tensor, Tensor]]) -> nn.Sequential:
    """Return parallel branches as one convolution: `conv` with the sum of all branches."""
    set_convolution(conv, values)
    return nn.Sequential(OrderedDict(reparam_conv=conv))


def silence(module: nn.Module) -> None:
    """Set every tensor of a module to zero, and the variances to one: its branches add nothing."""
    for tensor in module.state_dict().values():
        tensor.zero_()
    for each in module.modules():
        if isinstance(each, BATCH_NORMS):
            each.get_buffer("running_var").fill_(1)


def set_identity(affine: nn.Module, bias: Tensor | None = None) -> None:
    """Let a BatchNorm or a `LearnableAffine` return its input, plus a bias of each channel."""
    silence(affine)
    if isinstance(affine, BATCH_NORMS):
        affine.weight.fill_((1 + affine.eps) ** 0.5)
    elif isinstance(affine, LearnableAffine):
        affine.scale.fill_(1)
    if bias is not None:
        affine.get_parameter("bias").copy_(bias)


def set_branch(conv: Convolution, norm: nn.Module, values: nn.Conv2d) -> None:
    """Let one branch, a convolution and its BatchNorm, compute what another convolution does."""
    conv.weight.copy_(values.weight)
    set_identity(norm, values.bias)


def _deploy(module: nn.Module) -> None:
    for name, child in module.named_children():
        _deploy(child)
        if issubclass(type(child), Deployable):  # unlike isinstance, remembered by class
            setattr(module, name, cast("Deployable", child).deployed())


AFFINES = (*BATCH_NORMS, LearnableAffine)
"""What can be folded into the convolution before it."""


@torch.no_grad()
def fold_(network: nn.Module, kinds: tuple[type[nn.Module], ...] = AFFINES) -> None:
    """Fold, in place, all normalisations of a network in the deploy form, or of a part of one.

    Args:
        network: the network.
        kinds: those of `AFFINES` to fold.
    """
    for module in list(network.modules()):
        if not isinstance(module, Foldable):
            continue
        for conv_name, affine_name in module.folds:
            conv: Any = attrgetter(conv_name)(module) if conv_name else module
            affine = getattr(module, affine_name)
            if isinstance(affine, kinds):
                set_convolution(conv, partial(folded, conv, affine))
                rest = affine.act if isinstance(affine, BatchNormAct) else nn.Identity()
                setattr(module, affine_name, rest)


def fold_as_exported_(network: nn.Module) -> None:
    """Fold, in place, the normalisations that PaddleOCR's newer exports fold."""
    for module in list(network.modules()):
        if isinstance(module, FoldedInExports):
            fold_(module)


NEGLIGIBLE = 1e-30
"""The least size of a weight in the fused form; what smaller ones add is lost in rounding."""


def clear_negligible_(network: nn.Module) -> None:
    """Set weights below `NEGLIGIBLE` to zero, in place.

    Weight decay shrinks the weights of channels that nothing reads to subnormal numbers (below
    1.2e-38), with which processors compute a hundred times more slowly: a tenth of the weights of
    PP-OCRv6_small_det, which took most of its time.
    """
    for parameter in network.parameters():
        if parameter.is_meta:
            continue
        is_negligible = (parameter.abs() < NEGLIGIBLE) & (parameter != 0)
        if is_negligible.any():  # weights that stay keep the memory that processes share
            parameter.masked_fill_(is_negligible, 0)


def overwrite_(network: nn.Module) -> None:
    """Let layers write their output over their input, where nothing else in the network reads it.

    For inference only: hooks and gradients would see the output of the next layer.
    A new map of several megabytes costs more than the arithmetic of an activation.
    """
    for module in network.modules():
        if isinstance(module, Overwriting):  # PyTorch's activations too
            module.inplace = True


STEPS: dict[str, Callable[[nn.Module], None]] = {"deploy": _deploy, "fused": fold_}
