"""Declarations of results that are known functions of the logits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Activation:
    """A result that follows from the outputs of layers by one function.

    The result is `scale * mean + shift`, where `mean` is that of the function's values for each of
    the layers.

    Attributes:
        function: from logits to probabilities.
        layers: names of the layers, inside the part that declares this, whose outputs are logits.
        axis: axis of the logits that the softmax normalises.
        channel: the channel, on axis 1 of the logits, that the result holds; None for all.
        scale: factor of the mean.
        shift: added to the scaled mean.
    """

    function: Literal["sigmoid", "softmax"]
    layers: tuple[str, ...]
    axis: int = 1
    channel: int | None = None
    scale: float = 1.0
    shift: float = 0.0
