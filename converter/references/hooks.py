"""Recording the outputs of named modules of a PyTorch network while it runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from architectures import Model
from architectures.interfaces import Foldable
from converter.adapters.running import run_network
from converter.alignment.trace import OUTPUT, named_tensors
from converter.parity.comparison import INNER
from converter.parity.layerwise import FullTensor, Pair, Run, SideBySide

T = TypeVar("T")


def observe(
    network: Model,
    batch: np.ndarray,
    names: Iterable[str],
    run: Run = run_network,
    replaced: Mapping[str, Tensor] = MappingProxyType({}),
) -> dict[str, np.ndarray]:
    """Run a network and return the outputs of named modules at their first call.

    Args:
        network: ours.
        batch: (N, C, H, W) float32.
        names: of the modules; those that the network does not have are left out.
        run: computes the network's results from the image.
        replaced: outputs that modules give instead of their own, by the modules' names.

    Returns:
        The outputs by the modules' names; `NAME.0`, `NAME.1`, ... of a module that returns several
        tensors. The network's own result is `output`; several results are `output.NAME`.
    """
    outputs: dict[str, np.ndarray] = {}
    modules = dict(network.named_modules())
    hooks = [
        modules[name].register_forward_hook(lambda *_, output=output: output)
        for name, output in replaced.items()
    ]
    hooks += [
        modules[name].register_forward_hook(_recorder(name, outputs))
        for name in names
        if name in modules
    ]
    try:
        with torch.inference_mode():
            result = run(network, torch.from_numpy(batch))
    finally:
        for hook in hooks:
            hook.remove()
    _record_first(OUTPUT, result, outputs)
    return outputs


def results_of(observed: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the results of the whole network: `output`, or several as `output.NAME`."""
    return {name: array for name, array in observed.items() if name.partition(".")[0] == OUTPUT}


def by_our_names(theirs: Mapping[str, T], ours: Iterable[str]) -> dict[str, T]:
    """Return Paddle's results by our names, in our order, those that we lack after the others.

    Args:
        theirs: Paddle's, by name; the items of a tuple are named by their positions, and then
            correspond to ours in order.
        ours: the names of our results.
    """
    names = list(ours)
    if all(name.rpartition(".")[2].isdecimal() for name in theirs) and len(theirs) == len(names):
        return dict(zip(names, theirs.values(), strict=True))
    known = [name for name in names if name in theirs]
    return {name: theirs[name] for name in dict.fromkeys((*known, *theirs))}


def folded_into(network: Model) -> dict[str, str]:
    """Return the convolution that each folded normalisation became part of, both by full names."""
    if network.form != "fused":
        return {}
    return {
        f"{owner}.{affine}": f"{owner}.{convolution}".rstrip(".")
        for owner, module in network.named_modules()
        if isinstance(module, Foldable)
        for convolution, affine in module.folds
    }


def layer_names(network: Model) -> list[str]:
    """Return the names of the modules to compare: leaves, and modules with tensors of their own.

    Convolutions with a folded normalisation are left out: their outputs have no counterpart.
    """
    altered = set(folded_into(network).values())
    return [
        name
        for name, module in network.named_modules()
        if name and name not in altered and (_is_leaf(module) or _owns_tensors(module))
    ]


def side_by_side(
    network: Model,
    batch: np.ndarray,
    expected: Mapping[str, np.ndarray],
    epsilons: Mapping[str, float] | None = None,
    replaced: Mapping[str, Tensor] = MappingProxyType({}),
) -> SideBySide:
    """Run a network and pair its layers, in their order, with the reference's by name.

    Args:
        network: ours.
        batch: (N, C, H, W) float32.
        expected: the reference's outputs, by the names in `layer_names(network)`.
        epsilons: the reference's epsilons, by the name of the normalisation.
        replaced: outputs that our modules give instead of their own, by the modules' names.
    """
    names, epsilons = set(layer_names(network)), epsilons or {}
    actual = observe(network, batch, names, replaced=replaced)
    pairs = []
    for key, array in actual.items():
        name = key if key in names else key.removesuffix(".0")  # of several outputs the first
        if name in names and key in expected:
            slack = 1.0 if name in network.logits_layers else INNER
            settings = {"epsilon": epsilons[name]} if name in epsilons else {}
            pairs.append(Pair(name, name, FullTensor(expected[key]), array, slack, (), settings))
    return SideBySide(network, batch, tuple(pairs), results_of(actual), run_network)


def _is_leaf(module: nn.Module) -> bool:
    return next(module.children(), None) is None


def _owns_tensors(module: nn.Module) -> bool:
    return next(module.parameters(recurse=False), None) is not None


def _recorder(name: str, outputs: dict[str, np.ndarray]) -> Callable[..., None]:
    def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
        _record_first(name, output, outputs)

    return hook


def _record_first(name: str, output: Any, outputs: dict[str, np.ndarray]) -> None:
    for key, tensor in named_tensors(name, output):
        outputs.setdefault(key, tensor.numpy())
