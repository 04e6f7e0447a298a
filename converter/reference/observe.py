"""Watching the outputs of named modules of a PyTorch network."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from architectures import Model

OUTPUT = "output"


def observe(network: nn.Module, batch: np.ndarray, names: Iterable[str]) -> dict[str, np.ndarray]:
    """Run `network` on `batch` and return the first outputs of the named modules.

    A module that returns several tensors gives `NAME.0`, `NAME.1`, ...; names that the network does
    not have are left out. The result of the whole network stands under `output`.
    """
    found: dict[str, np.ndarray] = {}
    modules = dict(network.named_modules())
    hooks = [
        modules[name].register_forward_hook(_note(name, found)) for name in names if name in modules
    ]
    try:
        with torch.inference_mode():
            result = network(torch.from_numpy(batch))
    finally:
        for hook in hooks:
            hook.remove()
    _flatten(OUTPUT, result, found)
    return found


def folded_into(network: Model) -> set[str]:
    """Return the layers that give what their normalisation gave, which was folded into them."""
    if network.form != "fused":
        return set()
    return {
        f"{owner}.{convolution}"
        for owner, module in network.named_modules()
        for convolution, _ in getattr(module, "folds", ())
    }


def _note(name: str, found: dict[str, np.ndarray]) -> Callable[..., None]:
    def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
        _flatten(name, output, found)

    return hook


def _flatten(name: str, output: Any, found: dict[str, np.ndarray]) -> None:
    if isinstance(output, Tensor):
        found.setdefault(name, output.numpy())
    elif isinstance(output, (list, tuple)):
        for place, item in enumerate(output):
            _flatten(f"{name}.{place}", item, found)
