"""What is exported: a converted network, its description, and inputs to compare results on."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import architectures
from architectures.loading import ArtefactError
from converter.adapters.base import HeadAdapter
from converter.adapters.registry import adapter_for
from converter.adapters.running import extra_tensors, run_network
from converter.catalog import cards
from converter.catalog.cards import ModelCard
from converter.errors import SourceError
from converter.parity import rendered_inputs
from schemas.artefact import ArtefactCard, CardError

SIZES: dict[str, tuple[tuple[int, int], ...]] = {
    "page": ((320, 320), (256, 384)),
    "line": ((48, 320), (48, 160)),
    "table": ((488, 488), (488, 488)),
}
"""(height, width) of the images for a model that no config knows, by kind, in pixels."""
BLUR = 12.0
"""The standard deviation of the blur of images that are unwarped, in pixels."""
KINDS = {"rec": "line", "cls": "line", "sr": "line", "formula": "line", "table": "table"}
"""What a task's images show, unless they are pages."""


@dataclass(frozen=True)
class Artefact:
    """A converted network with its JSON.

    Attributes:
        path: the weights file.
        network: in eval mode, in the form that the file has.
        card: the JSON beside it.
    """

    path: Path
    network: architectures.Model
    card: ArtefactCard

    @property
    def kind(self) -> str:
        """What the network's images show: `line`, `page` or `table`."""
        known = self._known()
        return known.proof.kind if known else KINDS.get(self.card.task or "", "page")

    def inputs(self) -> list[np.ndarray]:
        """Render two batches of images of the network's own sizes, (N, C, H, W) float32."""
        known = self._known()
        if known is not None:
            return [self.images(*size, known.proof.images) for size in known.proof.sizes[:2]]
        fixed = self.card.input
        sizes = ((fixed.height or h, fixed.width or w) for h, w in SIZES[self.kind])
        return [self.images(*size) for size in sizes]

    def images(self, height: int, width: int, count: int | None = None) -> np.ndarray:
        """Render a batch of images, (N, C, height, width) float32, normalised.

        Those that a network unwarps are blurred: where an image changes from one pixel to the next,
        sampling makes much of the rounding of places.

        Args:
            height, width: in pixels.
            count: how many; None for one page or two lines.
        """
        scale = self.card.input
        mean, std = (each or (0.5,) * scale.channels for each in (scale.mean, scale.std))
        (batch,) = rendered_inputs.batches(self.kind, [(height, width)], mean, std, count)
        return blurred(batch) if self.card.task == "unwarp" else batch

    def fused(self) -> Artefact:
        """Return the artefact with its network in the fused form, the fastest, for inference."""
        return replace(self, network=architectures.fuse(self.network).requires_grad_(False))

    def double(self) -> Artefact:
        """Return the artefact with its network in double precision; it takes float64 images."""
        return replace(self, network=copy.deepcopy(self.network).double())

    def _known(self) -> ModelCard | None:
        name = self.card.name
        return cards.card(name) if name is not None and name in cards.names() else None

    @property
    def adapter(self) -> HeadAdapter:
        """What makes the network's other inputs of the first."""
        return adapter_for(self.network.architecture)

    def arguments(self, batch: np.ndarray) -> dict[str, Tensor]:
        """Return the network's inputs by name, in its order.

        Args:
            batch: the first: images (N, C, H, W) float32, or tokens (N, T) int64.
        """
        first = torch.from_numpy(batch)
        return {self.adapter.first_input: first, **extra_tensors(self.network, first)}

    def results(self, batch: np.ndarray) -> dict[str, np.ndarray]:
        """Run the network on a batch, and return its results by name."""
        return named_results(self.network, batch)


def blurred(images: np.ndarray) -> np.ndarray:
    """Return images (N, C, H, W) float32 that change little from one pixel to the next."""
    import cv2

    planes = images.reshape(-1, *images.shape[2:])
    return np.stack([cv2.GaussianBlur(each, (0, 0), BLUR) for each in planes]).reshape(images.shape)


def named_results(network: architectures.Model, batch: np.ndarray) -> dict[str, np.ndarray]:
    """Run a network on a batch, and return its results by name, `output` if there is one alone."""
    with torch.inference_mode():
        results = run_network(network, torch.from_numpy(batch))
    results = results if isinstance(results, dict) else {"output": results}
    return {name: result.numpy() for name, result in results.items()}


def read_artefact(path: Path) -> Artefact:
    """Read converted weights and the JSON beside them.

    Raises:
        SourceError: a file is missing, foreign or damaged, or the two do not belong together.
    """
    try:
        network = architectures.load(path)
    except (ArtefactError, CardError, OSError) as error:
        raise SourceError(str(error)) from error
    assert network.card is not None
    return Artefact(path, network, network.card)
