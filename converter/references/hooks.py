"""Watching the outputs of named modules of a PyTorch network."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import numpy as np
import torch
from torch import nn

from architectures import Model
from architectures.interfaces import Foldable
from converter.adapters.running import run_network
from converter.alignment.trace import OUTPUT, named_tensors
from converter.parity.comparison import INNER
from converter.parity.layerwise import FullTensor, Pair, Run, SideBySide

T = TypeVar("T")


def observe(
    network: Model, batch: np.ndarray, names: Iterable[str], run: Run = run_network
) -> dict[str, np.ndarray]:
    """Run `network` on `batch`, by `run`, and return the first outputs of the named modules.

    A module that returns several tensors gives `NAME.0`, `NAME.1`, ...; names that the network does
    not have are left out. The result of the whole network stands under `output`; several, under
    names that begin so (`results_of`).
    """
    found: dict[str, np.ndarray] = {}
    modules = dict(network.named_modules())
    hooks = [
        modules[name].register_forward_hook(_note(name, found)) for name in names if name in modules
    ]
    try:
        with torch.inference_mode():
            result = run(network, torch.from_numpy(batch))
    finally:
        for hook in hooks:
            hook.remove()
    _note_first(OUTPUT, result, found)
    return found


def results_of(observed: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the results of the whole network: `output`, or several as `output.NAME`."""
    return {name: array for name, array in observed.items() if name.partition(".")[0] == OUTPUT}


def by_our_names(theirs: Mapping[str, T], ours: Iterable[str]) -> dict[str, T]:
    """Return several results of Paddle's by our names; those of a tuple are told by their places.

    They come in the order of ours, those that we lack after them.
    """
    names = list(ours)
    if all(name.rpartition(".")[2].isdecimal() for name in theirs) and len(theirs) == len(names):
        return dict(zip(names, theirs.values(), strict=True))
    known = [name for name in names if name in theirs]
    return {name: theirs[name] for name in dict.fromkeys((*known, *theirs))}


def folded_into(network: Model) -> dict[str, str]:
    """Return, for each normalisation that was folded away, the convolution that does its work."""
    if network.form != "fused":
        return {}
    return {
        f"{owner}.{affine}": f"{owner}.{convolution}"
        for owner, module in network.named_modules()
        if isinstance(module, Foldable)
        for convolution, affine in module.folds
    }


def layer_names(network: Model) -> list[str]:
    """Return the modules whose outputs tell most: those without others inside, or with tensors."""
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
) -> SideBySide:
    """Run `network` and lay its layers beside those of the same names, in the order of ours.

    Args:
        network: ours.
        batch: the input, (N, C, H, W) float32.
        expected: what the reference observed of `layer_names(network)`.
        epsilons: what it adds to the variance, by the name of the normalisation.
    """
    names, epsilons = set(layer_names(network)), epsilons or {}
    actual = observe(network, batch, names)
    pairs = []
    for key, array in actual.items():
        name = key if key in names else key.removesuffix(".0")  # of several outputs the first
        if name in names and key in expected:
            slack = 1.0 if name in network.logits_layers else INNER
            stated = {"epsilon": epsilons[name]} if name in epsilons else {}
            pairs.append(Pair(name, name, FullTensor(expected[key]), array, slack, (), stated))
    return SideBySide(network, batch, tuple(pairs), results_of(actual), run_network)


def _is_leaf(module: nn.Module) -> bool:
    return next(module.children(), None) is None


def _owns_tensors(module: nn.Module) -> bool:
    return next(module.parameters(recurse=False), None) is not None


def _note(name: str, found: dict[str, np.ndarray]) -> Callable[..., None]:
    def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
        _note_first(name, output, found)

    return hook


def _note_first(name: str, output: Any, found: dict[str, np.ndarray]) -> None:
    for place, tensor in named_tensors(name, output):
        found.setdefault(place, tensor.numpy())
