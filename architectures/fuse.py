"""The same network with fewer operations: branches merged, normalisation folded into convolutions.

train   as in a training checkpoint
deploy  what PaddleOCR's export writes: every re-parameterisable block is one convolution,
        `reparam_conv`, and its `lab`; the heads that only training uses are gone
fused   deploy, with each BatchNorm, and each `lab` right after a `reparam_conv`, folded into its
        convolution

A class that takes part says so itself: `deployed()` returns what stands in its place in the deploy
form, and `folds` names its pairs (convolution, affine map after it).
"""

from __future__ import annotations

import copy
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from architectures.layers import BatchNormReLU, LearnableAffine
from architectures.model import FORMS, Model

Convolution = nn.Conv2d | nn.ConvTranspose2d


@runtime_checkable
class Deployable(Protocol):
    """A module that looks different in the deploy form."""

    def deployed(self) -> nn.Module:
        """What stands in its place; may be the module itself, changed."""


def fuse(model: Model, form: str = "fused") -> Model:
    """A copy of `model` in eval mode and in the form `deploy` or `fused`, computing the same.

    ValueError: the form is unknown, or `model` is already past it (nothing can be unfolded).
    """
    if form not in FORMS:
        raise ValueError(f"unknown form {form!r}; known: {', '.join(FORMS)}")
    have, want = FORMS.index(model.form), FORMS.index(form)
    if want < have:
        raise ValueError(f"a network in the form {model.form!r} cannot go back to {form!r}")
    result = copy.deepcopy(model).eval()
    with torch.no_grad():
        if have < FORMS.index("deploy") <= want:
            _deploy(result)
        if have < FORMS.index("fused") <= want:
            _fold(result)
    result.form = form
    result.card = None
    return result


def channel_affine(module: nn.Module) -> tuple[Tensor, Tensor]:
    """Scale and shift, `(C,)` or `(1,)` float64, of a module that is `scale * x + shift`."""
    if isinstance(module, nn.BatchNorm2d):
        mean, variance = module.get_buffer("running_mean"), module.get_buffer("running_var")
        scale = module.weight.double() / (variance.double() + module.eps).sqrt()
        return scale, module.bias.double() - mean.double() * scale
    if isinstance(module, LearnableAffine):
        return module.scale.double(), module.bias.double()
    raise TypeError(f"{type(module).__name__} is not known to be an affine map of the channels")


def folded(conv: Convolution, affine: nn.Module) -> tuple[Tensor, Tensor]:
    """Weight and bias, float64, of the one convolution that computes `affine(conv(x))`."""
    scale, shift = channel_affine(affine)
    # A transposed convolution has its output channels on the second axis.
    shape = (1, -1, 1, 1) if conv.transposed else (-1, 1, 1, 1)
    weight = conv.weight.double() * scale.reshape(shape)
    bias = shift.expand(conv.out_channels)
    return weight, bias if conv.bias is None else bias + scale * conv.bias.double()


def set_convolution(conv: Convolution, weight: Tensor, bias: Tensor) -> None:
    """Give `conv` these values in its own precision."""
    dtype = conv.weight.dtype
    conv.weight = nn.Parameter(weight.to(dtype))
    conv.bias = nn.Parameter(bias.to(dtype))


def _deploy(module: nn.Module) -> None:
    for name, child in module.named_children():
        _deploy(child)
        if isinstance(child, Deployable):
            setattr(module, name, child.deployed())


def _fold(model: Model) -> None:
    for module in list(model.modules()):
        for conv_name, affine_name in getattr(module, "folds", ()):
            conv, affine = getattr(module, conv_name), getattr(module, affine_name)
            set_convolution(conv, *folded(conv, affine))
            rest = nn.ReLU() if isinstance(affine, BatchNormReLU) else nn.Identity()
            setattr(module, affine_name, rest)
