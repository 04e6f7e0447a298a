"""What the pipelines call a network: an array in, arrays out, whichever framework computes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

import architectures
from architectures.reparameterize import fuse_, overwrite_

Network = Callable[..., Any]
"""Takes `(N, C, H, W) float32`, normalised; returns the network's only result as an array, or
several in a dict of arrays by PaddleOCR's names.

Where it has an attribute `card`, that is the JSON beside converted weights, which says what the
network takes and gives; where it has `takes`, these are the names of arrays that it takes by
keyword beside the images, such as SAR's `valid_ratio`.
"""


class DeviceError(ValueError):
    """A device that is not there, or that cannot do what is asked."""


class TorchNetwork:
    """Converted weights as a `Network`, without gradients, in the form that runs fastest.

    Whatever form the weights have, branches are merged and normalisation is folded into the
    convolutions, and pixels are kept with their channels side by side. What comes out is the same
    but for rounding.

    Attributes:
        card: the JSON beside the weights.
        takes: what the network takes beside the images.
        module: what runs, on `device` and in `dtype`; `compiled` or not.

    Args:
        weights: `X.pth` or `X.safetensors`, with `X.json` beside it.
        device: cpu, cuda, cuda:N or mps.
        half: compute in half precision, on another device than a CPU.
        compile: use `torch.compile`: the first call takes long, the others are faster. A batch of
            one and very small images are compiled for themselves, but not each height and width.

    Raises:
        DeviceError: there is no such device, or it computes no halves.
    """

    def __init__(
        self,
        weights: str | Path,
        device: str = "cpu",
        *,
        half: bool = False,
        compile: bool = False,
    ) -> None:
        self.device = find_device(device, half=half)
        self.dtype = torch.float16 if half else torch.float32
        model = architectures.load(weights)
        self.card: Mapping[str, Any] = model.card or {}
        self.takes: tuple[str, ...] = model.takes
        fuse_(model, "fused")
        overwrite_(model)
        model.to(self.device, self.dtype)
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.compiled = compile
        self.module = torch.compile(model, dynamic=True) if compile else model

    @torch.inference_mode()
    def __call__(self, batch: np.ndarray, **given: np.ndarray) -> Any:
        """`(N, C, H, W) float32` to the network's result or results, float32 or whole numbers."""
        images = torch.from_numpy(batch)
        images = images.to(self.device, self.dtype, memory_format=torch.channels_last)
        if self.compiled:  # else a first image that is square is compiled for squares alone
            torch._dynamo.maybe_mark_dynamic(images, (2, 3))
        return _arrays(self.module(images, **{name: self._taken(given[name]) for name in given}))

    def _taken(self, array: np.ndarray) -> torch.Tensor:
        tensor = torch.from_numpy(array).to(self.device)
        return tensor.to(self.dtype) if tensor.is_floating_point() else tensor


def run_network(network: Network, images: np.ndarray, given: Mapping[str, np.ndarray]) -> Any:
    """Return what a network makes of images and of that which it takes of what is given."""
    return network(images, **{name: given[name] for name in getattr(network, "takes", ())})


def _arrays(results: Any) -> Any:
    """A tensor as an array, or a dict of such; halves become float32."""
    if isinstance(results, Mapping):
        return {name: _arrays(result) for name, result in results.items()}
    return (results.float() if results.is_floating_point() else results).cpu().numpy()


def find_device(name: str, *, half: bool = False) -> torch.device:
    """Return a device that is there; DeviceError if it is not, or computes no halves."""
    try:
        device = torch.device(name)
        there = {
            "cpu": True,
            "cuda": torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count(),
            "mps": torch.backends.mps.is_available(),
        }.get(device.type, False)
    except RuntimeError:
        there = False
    if not there:
        raise DeviceError(
            f"the device {name} is not there: this PyTorch ({torch.__version__}) finds "
            f"{', '.join(_devices())}"
        )
    if half and device.type == "cpu":
        raise DeviceError("half precision is for accelerators; give another device than cpu")
    return device


def _devices() -> list[str]:
    cuda = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    return ["cpu", *cuda, *(["mps"] if torch.backends.mps.is_available() else [])]


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
