"""Networks as functions from NumPy arrays to NumPy arrays, whichever framework computes them."""

from __future__ import annotations

import copy
import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import cv2
import numpy as np
import torch

import architectures
from architectures.joining import join_
from architectures.model import Model
from architectures.reparameterize import fuse_, overwrite_
from cores.allocator import give_back_memory, keep_freed_memory
from cores.memory import weights_are_shared
from cores.threads import cores_are_contended, threads_spin
from schemas.artefact import ArtefactCard

if TYPE_CHECKING:
    from pipelines.compiled import Package

logger = logging.getLogger(__name__)

NetworkOutput: TypeAlias = "np.ndarray | Mapping[str, np.ndarray]"
"""The output of a network: one array, or several by PaddleOCR's names."""

Network = Callable[..., NetworkOutput]
"""Maps `(N, C, H, W) float32`, normalised, to the network's output.

Two attributes are optional. `card` is an `ArtefactCard`, or a mapping like the JSON beside
converted weights, which describes the network's input and output. `extra_inputs` names the arrays
that the network takes by keyword, in addition to the images, such as SAR's `valid_ratio`.
"""

NetworkSource: TypeAlias = "Network | Model | str | Path"
"""A network: the path of converted weights, an `architectures.Model`, or any `Network`."""


_warned_of_contention = False

if hasattr(os, "register_at_fork"):  # not on Windows
    # A forked process has none of OpenMP's threads, and would wait for them for ever.
    os.register_at_fork(after_in_child=lambda: torch.set_num_threads(1))


class DeviceError(ValueError):
    """The device is not available, or does not support half precision."""


class TorchNetwork:
    """Runs a PyTorch network on NumPy arrays, without gradients, in its fastest form.

    Branches are merged, normalisation and, on a CPU, activations are folded into the convolutions,
    and tensors are stored in channels-last order. The outputs are those of the network up to
    rounding. On a CPU the process keeps freed memory for the next layers, and gives it back from
    time to time (`cores.allocator`).

    Attributes:
        card: the description beside the weights; empty if the network was not loaded from a file.
        extra_inputs: names of the arrays that the network takes in addition to the images.
        module: the module that runs, on `device` and in `dtype`; compiled if `compiled`. Where the
            network is compiled ahead of time, it runs on images that the compiled code is not for.

    Args:
        network: the path of `X.pth` or `X.safetensors` with `X.json` beside it, or a network, which
            is copied.
        device: cpu, cuda, cuda:N or mps.
        half: compute in half precision (`half_precision`).
        compile: compile the network, which is then faster. On a CPU, weights of a file are compiled
            once ahead of time, for a minute or more, and kept in the user's cache
            (`pipelines.compiled`). Other networks use `torch.compile`: the first call is slow in
            each process. It compiles separately for a batch of one and for very small images, but
            not for each image size.

    Raises:
        ArtefactError: the files are missing or damaged.
        DeviceError: the device is not available, or has no half precision.
    """

    _package: Package | None = None

    def __init__(
        self,
        network: Model | str | Path,
        device: str = "cpu",
        *,
        half: bool = False,
        compile: bool = False,
    ) -> None:
        self.device = find_device(device, half=half)
        self.dtype = half_precision(self.device) if half else torch.float32
        if self.device.type == "cpu":
            _warn_of_contention()
            keep_freed_memory()
        if isinstance(network, Model):
            model = copy.deepcopy(network).eval()
        else:
            model = architectures.load(network, mmap=weights_are_shared())
        self.card = model.card or ArtefactCard()
        self.extra_inputs: tuple[str, ...] = model.extra_inputs
        fuse_(model, "fused")
        overwrite_(model)
        model.to(self.device, self.dtype)
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if compile and self.device.type == "cpu" and not isinstance(network, Model):
            self._package = _open_package(model, self.card, self.dtype)
        self.compiled = compile and self._package is None
        if self.device.type == "cpu" and not self.compiled:  # which joins more by itself
            join_(model)
        self.module = torch.compile(model, dynamic=True) if self.compiled else model
        name = "a network" if isinstance(network, Model) else network
        logger.info("loaded %s on %s in %s", name, self.device, self.dtype)

    @torch.inference_mode()
    def __call__(self, batch: np.ndarray, **extra_inputs: np.ndarray) -> NetworkOutput:
        """Run a batch.

        Args:
            batch: `(N, C, H, W) float32`, normalised, or tokens `(N, T) int64`.
            extra_inputs: the arrays named in `extra_inputs`.

        Returns:
            The network's output as an array, or several as a dict; floats are float32.
        """
        if batch.ndim == 4 and self.device.type == "cpu":
            batch = _channels_last(batch)
        images = self._to_tensor(batch)
        if images.dim() == 4:
            images = images.to(memory_format=torch.channels_last)
        if (
            self.compiled and images.dim() == 4
        ):  # else a first image that is square is compiled for squares alone
            torch._dynamo.maybe_mark_dynamic(images, (2, 3))
        tensors = {name: self._to_tensor(array) for name, array in extra_inputs.items()}
        if self._package is not None and not tensors and self._package.takes(images):
            outputs = _to_arrays(self._package(images))
        else:
            outputs = _to_arrays(self.module(images, **tensors))
        if self.device.type == "cpu":
            give_back_memory()
        return outputs

    def _to_tensor(self, array: np.ndarray) -> torch.Tensor:
        tensor = torch.from_numpy(array).to(self.device)
        return tensor.to(self.dtype) if tensor.is_floating_point() else tensor


def _open_package(model: Model, card: ArtefactCard, dtype: torch.dtype) -> Package | None:
    """Return the network compiled ahead of time; None where that is not possible."""
    if os.name != "posix":  # elsewhere it cannot be seen who may write to the cache
        return None
    from pipelines.compiled import open_package

    return open_package(model, card, dtype)


def _channels_last(images: np.ndarray) -> np.ndarray:
    """Return `(N, C, H, W)` images with the values of a pixel side by side in memory.

    OpenCV does so in a quarter of the time that PyTorch takes.
    """
    count, channels, height, width = images.shape
    if channels == 1 or not images.size:
        return images
    result = np.empty((count, height, width, channels), images.dtype)
    for image, target in zip(images, result, strict=True):
        cv2.merge(list(image), target)
    return result.transpose(0, 3, 1, 2)


def _warn_of_contention() -> None:
    """Log once if other processes use the cores, and threads spin while they wait."""
    global _warned_of_contention
    if _warned_of_contention or torch.get_num_threads() == 1 or not threads_spin():
        return
    if cores_are_contended():
        _warned_of_contention = True
        logger.warning(
            "other processes use the cores, and PyTorch's threads spin while they wait, which "
            "makes networks many times slower; call pipelines.configure_threads() before PyTorch "
            "is imported, or set OMP_WAIT_POLICY=passive"
        )


def run_network(
    network: Network, batch: np.ndarray, extra_inputs: Mapping[str, np.ndarray]
) -> NetworkOutput:
    """Run a network on a batch and on those extra inputs that it takes.

    Args:
        network: the network.
        batch: `(N, C, H, W) float32`, normalised.
        extra_inputs: arrays by name; the network's `extra_inputs` selects among them.

    Returns:
        The network's output.
    """
    taken: tuple[str, ...] = getattr(network, "extra_inputs", ())
    return network(batch, **{name: extra_inputs[name] for name in taken})


def describe_outputs(outputs: NetworkOutput) -> str:
    """Describe the shapes of a network's output for an error message."""
    if isinstance(outputs, Mapping):
        return ", ".join(f"{name} of shape {array.shape}" for name, array in outputs.items())
    return f"an array of shape {outputs.shape}"


def require_finite(outputs: NetworkOutput, network: str) -> None:
    """Check that a network returned numbers only; the most probable class of NaN is arbitrary.

    Args:
        outputs: an array, or several by name.
        network: what the error message calls the network, such as "detector".

    Raises:
        ValueError: a value is NaN or infinite.
    """
    arrays = outputs.values() if isinstance(outputs, Mapping) else (outputs,)
    if not all(np.isfinite(array).all() for array in arrays):
        raise ValueError(
            f"the {network} returned values that are not finite numbers; in half precision they "
            "may have overflowed, else the weights are damaged"
        )


def _to_arrays(outputs: torch.Tensor | Mapping[str, torch.Tensor]) -> NetworkOutput:
    """Turn a tensor, or a dict of tensors, into arrays; floats become float32."""
    if isinstance(outputs, Mapping):
        return {name: _to_array(output) for name, output in outputs.items()}
    return _to_array(outputs)


def _to_array(tensor: torch.Tensor) -> np.ndarray:
    return (tensor.float() if tensor.is_floating_point() else tensor).cpu().numpy()


def find_device(name: str, *, half: bool = False) -> torch.device:
    """Return an available device.

    Args:
        name: cpu, cuda, cuda:N or mps.
        half: whether it has to support half precision; a CPU does if it computes with bfloat16.

    Raises:
        DeviceError: the device is not available, or has no half precision.
    """
    try:
        device = torch.device(name)
        available = {
            "cpu": True,
            "cuda": torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count(),
            "mps": torch.backends.mps.is_available(),
        }.get(device.type, False)
    except RuntimeError:
        available = False
    if not available:
        raise DeviceError(
            f"the device {name} is not available: this PyTorch ({torch.__version__}) finds "
            f"{', '.join(_devices())}"
        )
    if half and device.type == "cpu" and not has_bfloat16():
        raise DeviceError(
            "half precision on cpu is bfloat16, which this processor does not compute with (it "
            "has neither avx512_bf16 nor amx); choose another device, or leave it out"
        )
    return device


def half_precision(device: torch.device) -> torch.dtype:
    """Return what half precision means on a device: bfloat16 on a CPU, float16 elsewhere.

    bfloat16 has the range of float32 and 8 significant bits, float16 has 11.
    """
    return torch.bfloat16 if device.type == "cpu" else torch.float16


def has_bfloat16() -> bool:
    """Return whether the processor multiplies bfloat16 by itself, and not in many steps."""
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def _devices() -> list[str]:
    cuda = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    return ["cpu", *cuda, *(["mps"] if torch.backends.mps.is_available() else [])]


def as_network(
    source: NetworkSource,
    device: str = "cpu",
    *,
    half: bool = False,
    compile: bool = False,
) -> Network:
    """Turn weights or a model into a `Network`; any other callable is returned unchanged.

    Args:
        source: the path of converted weights, an `architectures.Model`, or a `Network`.
        device: the device of weights and models.
        half: compute in half precision.
        compile: compile the network, which is then faster (`TorchNetwork`).

    Raises:
        ArtefactError: the weights are missing or damaged.
        DeviceError: the device is not available, or has no half precision.
    """
    if isinstance(source, (str, Path, Model)):
        return TorchNetwork(source, device, half=half, compile=compile)
    return source
