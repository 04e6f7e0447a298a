"""The interface that every reference implements."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from architectures import Model
    from converter.parity.comparison import Comparison
    from converter.parity.layerwise import SideBySide


class Reference(Protocol):
    """Something independent of our networks that knows what they should compute."""

    kind: str

    def compare(self, network: Model, batch: np.ndarray, limit: float) -> list[Comparison]:
        """Run both sides on `batch`, (N, C, H, W) float32, and compare."""
        ...

    def layers(self, network: Model, batch: np.ndarray) -> SideBySide:
        """Run both sides on `batch` and return their layers in order."""
        ...
