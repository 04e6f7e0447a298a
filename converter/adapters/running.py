"""Running our networks with the extra inputs that their heads need."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from architectures import Model
from converter.adapters.registry import adapter_for
from converter.errors import SourceError
from converter.parity.layerwise import Run


def extra_tensors(network: Model, image: Tensor) -> dict[str, Tensor]:
    """Return the extra inputs of our network by name, for lines that fill the whole image.

    Args:
        network: ours.
        image: (N, C, H, W) float32.
    """
    if not network.extra_inputs:
        return {}
    values = adapter_for(network.architecture).extra_values(image.numpy())
    return {name: torch.from_numpy(values[name]) for name in network.extra_inputs}


def run_network(network: Model, image: Tensor) -> Any:
    """Run our network as inference does, primed for a comparison of layers at their first call."""
    return _primed(network, image, extra_tensors(network, image))


def record_run(network: Model, inputs: Mapping[str, np.ndarray]) -> Run:
    """Return the function that computes a record's results with our network from the image.

    Args:
        network: ours, as it will be run.
        inputs: the record's inputs beside the image. Those that our network computes itself are
            ignored.

    Raises:
        SourceError: the network takes an input that the record does not hold.
    """
    adapter = adapter_for(network.architecture)
    tensors = {name: torch.from_numpy(array) for name, array in inputs.items()}
    own_calls = adapter.record_call_inputs
    if own_calls is not None and set(own_calls) <= set(tensors):
        return lambda network, image: adapter.record_results(network, image, tensors)
    if missing := [name for name in network.extra_inputs if name not in tensors]:
        raise SourceError(f"the network takes {missing[0]}, which the record does not hold")
    extra = {name: tensors[name] for name in network.extra_inputs}
    return lambda network, image: _primed(network, image, extra)


def _primed(network: Model, image: Tensor, extra: Mapping[str, Tensor]) -> Any:
    adapter_for(network.architecture).prime(network, image, extra)
    return network(image, **extra)
