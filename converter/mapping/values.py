"""Values of converted tensors that no trained network has: refused, or warned of."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import torch

from converter.errors import SourceError

_SHOWN = 10
_VARIANCE = "running_var"


def check_values(state: Mapping[str, torch.Tensor], when: str = "") -> None:
    """Refuse weights with which a network computes nothing, whatever they are compared with.

    Args:
        state: the tensors that the network uses.
        when: what was done to them since they were read, for the message.

    Raises:
        SourceError: a tensor holds NaN or infinity, or a variance is negative; all are listed.
    """
    faults = [
        f"  {name}: {fault}" for name, tensor in state.items() for fault in _faults(name, tensor)
    ]
    if not faults:
        return
    more = [f"  and {len(faults) - _SHOWN} more"] if len(faults) > _SHOWN else []
    raise SourceError(
        "\n".join(
            [
                f"impossible values in {len(faults)} of the tensors that the network uses"
                f"{when and f' {when}'}",
                *faults[:_SHOWN],
                *more,
                "The training diverged or the file is damaged; convert an earlier checkpoint, or "
                "download it again.",
            ]
        )
    )


def unusual_values(state: Mapping[str, torch.Tensor]) -> tuple[str, ...]:
    """Return warnings: variances of exactly 0, and weights that are zero throughout.

    Args:
        state: the tensors that the network uses.
    """
    variances, zeros = [], []
    for name, tensor in state.items():
        if name.endswith(_VARIANCE):
            count = int((tensor == 0).sum())
            variances += [f"{name} ({count} of {tensor.numel()})"] if count else []
        elif tensor.is_floating_point() and tensor.ndim > 1 and not tensor.any():
            zeros.append(name)
    titles = {
        "channels have a variance of exactly 0, as if nothing ever reached them": variances,
        "weights are zero throughout, so these layers compute nothing": zeros,
    }
    return tuple(
        f"{title}: {', '.join(names[:3])}{f' and {len(names) - 3} more' if len(names) > 3 else ''}"
        for title, names in titles.items()
        if names
    )


def _faults(name: str, tensor: torch.Tensor) -> Iterator[str]:
    if not tensor.is_floating_point():
        return
    total, variances = tensor.numel(), name.endswith(_VARIANCE)
    # Both NaN and infinity make a sum that is not finite; counting them takes much longer.
    if math.isfinite(float(tensor.sum())) and not variances:
        return
    for count, kind in (
        (int(tensor.isnan().sum()), "NaN"),
        (int(tensor.isinf().sum()), "infinite"),
        (int((tensor < 0).sum()) if variances else 0, "negative variances"),
    ):
        if count:
            yield f"{count} of {total} are {kind}"
