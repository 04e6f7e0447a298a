"""A plan applied backwards: the tensors of a network become the arrays of a checkpoint."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

import numpy as np

from converter.errors import MappingError
from converter.mapping import ops
from converter.mapping.plan import Move, Plan, Signature


def invert(
    plan: Plan, state: Mapping[str, np.ndarray], source: Mapping[str, Signature]
) -> dict[str, np.ndarray]:
    """Return the arrays that the plan uses, in the order of `source`.

    Args:
        plan: where each array of a checkpoint went.
        state: the tensors of the network by name.
        source: the tensors of the checkpoint; the lengths of those that were joined count.

    Raises:
        MappingError: joined tensors cannot be taken apart, since their lengths are other ones.
    """
    arrays: dict[str, np.ndarray] = {}
    pieces: dict[str, list[Move]] = defaultdict(list)
    for move in plan.moves:
        if move.parts > 1:
            pieces[move.sources[0]].append(move)
        elif len(move.sources) == 1:
            arrays[move.sources[0]] = ops.array_before(move.operations, state[move.target])
        else:
            arrays |= _taken_apart(move, state[move.target], source)
    for name, moves in pieces.items():
        moves = sorted(moves, key=lambda move: move.part)
        joined = np.concatenate([state[move.target] for move in moves], moves[0].axis)
        arrays[name] = ops.array_before(moves[0].operations, joined)
    for name, of in plan.aliases.items():
        arrays[name] = arrays[of]
    return {name: arrays[name] for name in source if name in arrays}


def _taken_apart(
    move: Move, array: np.ndarray, source: Mapping[str, Signature]
) -> dict[str, np.ndarray]:
    lengths = [
        ops.shape_after(move.operations, source[name].shape)[move.axis] for name in move.sources
    ]
    if sum(lengths) != array.shape[move.axis]:
        raise MappingError(
            f"{move.target} has {array.shape[move.axis]} rows, {', '.join(move.sources)} have "
            f"{' + '.join(map(str, lengths))}: it cannot be taken apart"
        )
    parts = np.split(array, np.cumsum(lengths)[:-1], move.axis)
    return {
        name: ops.array_before(move.operations, part)
        for name, part in zip(move.sources, parts, strict=True)
    }
