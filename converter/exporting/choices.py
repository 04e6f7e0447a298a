"""Choices among nearly equal scores: a network makes those of its export, for a comparison.

A network that ranks positions goes on with those of the greatest scores. Of nearly equal scores,
rounding decides which these are and in what order, in each program anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

Chooser = Callable[[np.ndarray], Sequence[np.ndarray]]
"""Runs an export on images (N, C, H, W) float32; returns the positions that it chooses, in turn."""


class RecordedChoices(TorchDispatchMode):
    """Keeps the positions that each `topk` chooses, also within programs and traces.

    Attributes:
        positions: int64, in the order of the calls.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.positions: list[np.ndarray] = []

    def __torch_dispatch__(
        self,
        func: Any,
        types: Iterable[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run an operator."""
        result = func(*args, **(kwargs or {}))
        if func is torch.ops.aten.topk.default:
            self.positions.append(result[1].numpy())
        return result


class ForcedChoices(TorchFunctionMode):
    """Lets each `topk` choose given positions, if any are left, and measures their scores.

    Attributes:
        gap: the largest difference between the scores at the given positions and the greatest
            scores, rank by rank, as a share of the greatest; infinite if the shapes differ.
    """

    def __init__(self, positions: Sequence[np.ndarray]) -> None:
        super().__init__()
        self.positions = iter(positions)
        self.gap = 0.0

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run a function of PyTorch's."""
        result = func(*args, **(kwargs or {}))
        if func not in (torch.topk, Tensor.topk):
            return result
        given = next(self.positions, None)
        if given is None:
            return result
        greatest, own = result
        if given.shape != own.shape:
            self.gap = np.inf
            return result
        options = {**dict(zip(("input", "k", "dim"), args, strict=False)), **(kwargs or {})}
        positions = torch.tensor(given)
        values = options["input"].gather(options.get("dim", -1), positions)
        gap = (values - greatest).abs().max() / greatest.abs().max()
        self.gap = max(self.gap, float(gap))
        return torch.return_types.topk((values, positions))
