"""The positions at which a network samples its image, where it computes them with few digits.

A thin plate's coefficients are large and cancel out, so that two libraries place its points up to
2e-5 of the image's width apart. That is a thousandth of a pixel, but at an edge between black and
white it changes the pixel, and a recogniser with seeded weights makes of it what it likes: Paddle
differs from itself as much, if the image changes by 1e-7. So the positions are compared for
themselves, and both sides sample the image at the same ones, Paddle's. Then all that follows can be
held to the usual limits.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import torch
from torch import Tensor, nn

from architectures.transforms.tps_spatial_transformer import ThinPlate
from converter.sources.ir import Operation, Program

POSITIONS = "positions where the image is sampled"

_SAMPLING = "grid_sample"


def sampling_positions(
    network: nn.Module, operations: Iterable[Operation], program: Program
) -> dict[str, str]:
    """Return the positions of a network and of its program: the names of the values, ours first.

    There are none without a thin plate, or where the two sample different numbers of times.

    Args:
        network: ours.
        operations: of its trace.
        program: the exported one.
    """
    if not plates(network):
        return {}
    ours = [operation.inputs["1"][0] for operation in operations if operation.kind == _SAMPLING]
    theirs = [
        operation.inputs["grid"][0]
        for operation in program.operations
        if operation.kind == _SAMPLING and operation.inputs.get("grid")
    ]
    return dict(zip(ours, theirs, strict=True)) if len(ours) == len(theirs) else {}


def plates(network: nn.Module) -> dict[str, str]:
    """Return each thin plate of a network, and the module around it, by their names.

    The latter is a layer in Paddle's network, too, and returns the positions, (N, P, 2), alone or
    after the image.
    """
    return {
        name: name.rpartition(".")[0]
        for name, module in network.named_modules()
        if isinstance(module, ThinPlate)
    }


def plate_positions(
    network: nn.Module, observed: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Return what Paddle's network computed for each thin plate of ours, by the plate's name.

    Args:
        network: ours.
        observed: the outputs of Paddle's layers; `NAME.1` is the second of several.
    """
    candidates = {
        name: observed.get(owner, observed.get(f"{owner}.1"))
        for name, owner in plates(network).items()
    }
    return {name: array for name, array in candidates.items() if array is not None}


def tensors_of(positions: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
    """Return positions as tensors, by the same names."""
    return {name: torch.tensor(array) for name, array in positions.items()}  # a writable copy
