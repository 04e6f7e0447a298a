"""Applying a plan: the arrays of a checkpoint or an export become a `state_dict`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import torch

from converter.errors import MappingError
from converter.mapping import ops
from converter.mapping.plan import Plan, Target


def apply(
    plan: Plan, source: Mapping[str, np.ndarray], targets: Mapping[str, Target]
) -> dict[str, torch.Tensor]:
    """Convert arrays to the tensors of the network, in the order of `targets`.

    Args:
        plan: where each array goes, and the operations on the way.
        source: the arrays by name; they are read, never written.
        targets: the tensors of the network.

    Raises:
        MappingError: two names of one tensor hold different arrays.
    """
    _require_equal(
        (name, of)
        for name, of in plan.aliases.items()
        if not np.array_equal(source[name], source[of], equal_nan=True)
    )
    state: dict[str, torch.Tensor] = {}
    for move in plan.moves:
        arrays = [ops.array_after(move.operations, source[name]) for name in move.sources]
        array = np.concatenate(arrays, move.axis) if len(arrays) > 1 else arrays[0]
        if move.parts > 1:
            array = np.split(array, move.parts, move.axis)[move.part]
        state[move.target] = _tensor(array, targets[move.target])
    for name, value in plan.fills.items():
        signature = targets[name].signature
        state[name] = torch.full(signature.shape, value, dtype=getattr(torch, signature.dtype))
    _require_equal(
        (name, of)
        for name, of in plan.ties.items()
        if name in state and not torch.equal(state[name], state[of])
    )
    for name, of in plan.ties.items():
        state[name] = state[of]
    return {name: state[name] for name in targets}


def _require_equal(different: Iterable[tuple[str, str]]) -> None:
    rows = [f"  {name} differs from {of}" for name, of in different]
    if rows:
        table = "\n".join(rows)
        raise MappingError(
            f"{len(rows)} tensors should be second names of others but hold other "
            f"values\n{table}\nThe checkpoint was edited or is damaged; convert the original."
        )


def _tensor(array: np.ndarray, target: Target) -> torch.Tensor:
    """Return a tensor of its own (the source is read-only), in the target's dtype and shape."""
    signature = target.signature
    if array.shape != signature.shape:
        raise AssertionError(f"planned {signature.shape}, got {array.shape}")
    return torch.from_numpy(np.array(array, dtype=signature.dtype, order="C"))
