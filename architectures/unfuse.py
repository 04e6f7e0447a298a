"""The training form of a network that is in the deploy or fused form, computing the same.

Nothing can recover what parallel branches held before they were merged. But one branch can hold
the merged kernel while the others hold zeros, and a BatchNorm can hold the bias that was folded
away. So weights of an export get the tensors of a training checkpoint, for programs that expect
those.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from architectures.interfaces import Foldable, Restorable
from architectures.layers.affine import LearnableAffine
from architectures.model import Model
from architectures.registry import build
from architectures.reparameterize import BATCH_NORMS, set_identity, silence

MERGED = ("reparam_conv", "conv")
"""What the one convolution is called in modules that replace parallel branches."""


def unfuse(model: Model) -> Model:
    """Return a network in the training form and in eval mode that computes what `model` does.

    Branches that only training runs, such as DB's map of thresholds, are zero.

    Raises:
        ValueError: a module of the network cannot be put back.
    """
    result = build(model.architecture, class_counts=model.class_counts).eval()
    result.to(next(model.parameters()).dtype)
    with torch.no_grad():
        _restore(result, model, "")
    result.card = model.card
    return result


def _restore(module: nn.Module, given: nn.Module, where: str) -> None:
    """Fill a module of the training form, and those inside it, from its counterpart."""
    children = dict(given.named_children())
    if isinstance(module, Restorable) and (conv := _merged(module, children)) is not None:
        silence(module)
        module.restore(conv)
        lost = {name for name, child in module.named_children() if name not in children}
    else:
        _copy_own(module, given, where)
        lost = set()
        for name, child in module.named_children():
            if name not in children:
                silence(child)
                lost.add(name)
    unfolded = _unfold(module, children)
    for name, child in module.named_children():
        if name not in lost and name not in unfolded:
            _restore(child, children[name], f"{where}.{name}" if where else name)


def _merged(module: nn.Module, children: dict[str, nn.Module]) -> nn.Conv2d | None:
    """Return the convolution in place of the branches, or None where the branches are there."""
    own = dict(module.named_children())
    for name in MERGED:
        conv = children.get(name)
        if isinstance(conv, nn.Conv2d) and not isinstance(own.get(name), nn.Conv2d):
            return conv
    return None


def _unfold(module: nn.Module, children: dict[str, nn.Module]) -> set[str]:
    """Fill the pairs of a convolution and an affine map that were folded; return their names."""
    done: set[str] = set()
    for conv_name, affine_name in module.folds if isinstance(module, Foldable) else ():
        affine = getattr(module, affine_name)
        conv, given = module.get_submodule(conv_name), children.get(conv_name.split(".")[0])
        given = given.get_submodule(conv_name.partition(".")[2]) if given is not None else None
        if isinstance(children.get(affine_name), (*BATCH_NORMS, LearnableAffine)):
            continue
        if not isinstance(affine, (*BATCH_NORMS, LearnableAffine)) or given is None:
            continue
        weight, bias = conv.get_parameter("weight"), given.get_parameter("bias")
        weight.copy_(given.get_parameter("weight"))
        if getattr(conv, "bias", None) is None:
            set_identity(affine, bias)
        else:
            conv.get_parameter("bias").copy_(bias)
            set_identity(affine)
        done |= {conv_name, affine_name}
    return done


def _copy_own(module: nn.Module, given: nn.Module, where: str) -> None:
    """Copy the tensors that belong to a module itself."""
    theirs = _own_tensors(given)
    if isinstance(module, (*BATCH_NORMS, LearnableAffine)) and not theirs:
        set_identity(module)  # folded into the convolution before it
        return
    for name, tensor in _own_tensors(module).items():
        if name not in theirs or theirs[name].shape != tensor.shape:
            raise ValueError(
                f"the training form of {where or 'the network'} cannot be made from "
                f"{type(given).__name__}: it needs the tensor {name} of {tuple(tensor.shape)}"
            )
        tensor.copy_(theirs[name])


def _own_tensors(module: nn.Module) -> dict[str, Tensor]:
    own = {
        **dict(module.named_parameters(recurse=False)),
        **dict(module.named_buffers(recurse=False)),
    }
    return {name: tensor for name, tensor in own.items() if name in module.state_dict()}
