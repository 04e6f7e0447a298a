"""What the pipelines call a network: an array in, an array out, whichever framework computes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

import architectures

Network = Callable[[np.ndarray], np.ndarray]
"""Takes `(N, 3, H, W) float32`, normalised; returns the network's only output as an array."""


class TorchNetwork:
    """Converted weights as a `Network`, without gradients.

    `card` is what the `.json` says. `characters` is a recogniser's alphabet without the blank; None
    for other networks. `height` is that of the images it takes, in pixels; None where it takes any.

    Args:
        weights: `X.pth` or `X.safetensors`, with `X.json` beside it.
        device: what PyTorch calls the device, such as cuda.
        half: compute in half precision.
        compile: use `torch.compile`, slow at first and for each new size, then faster.
    """

    def __init__(
        self,
        weights: str | Path,
        device: str = "cpu",
        *,
        half: bool = False,
        compile: bool = False,
    ) -> None:
        self._module = architectures.load(weights, device=device)
        self._device = torch.device(device)
        self._dtype = torch.float16 if half else torch.float32
        self._module.to(self._dtype)
        self._run = torch.compile(self._module, dynamic=True) if compile else self._module
        self.card: Mapping[str, Any] = self._module.card or {}
        dictionary = self.card.get("dictionary") or {}
        self.characters: Sequence[str] | None = dictionary.get("characters")
        self.height: int | None = self.card.get("input", {}).get("height")

    @torch.inference_mode()
    def __call__(self, batch: np.ndarray) -> np.ndarray:
        """`(N, 3, H, W) float32` to the network's output, float32."""
        output = self._run(torch.from_numpy(batch).to(self._device, self._dtype))
        return output.float().cpu().numpy()


def as_network(
    source: Network | str | Path,
    device: str = "cpu",
    *,
    half: bool = False,
    compile: bool = False,
) -> Network:
    """Load a weights file; a callable is taken as it is."""
    if not isinstance(source, (str, Path)):
        return source
    return TorchNetwork(source, device, half=half, compile=compile)
