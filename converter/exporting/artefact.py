"""What is exported: a converted network, its description, and inputs to compare results on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import architectures
from architectures.loading import ArtefactError
from converter.adapters.running import extra_tensors, run_network
from converter.catalog import cards
from converter.errors import SourceError
from converter.parity import rendered_inputs
from schemas.artefact import ArtefactCard, CardError

SIZES: dict[str, tuple[tuple[int, int], ...]] = {
    "page": ((320, 320), (256, 384)),
    "line": ((48, 320), (48, 160)),
    "table": ((488, 488), (488, 488)),
}
"""(height, width) of the images for a model that no config knows, by kind, in pixels."""
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

    def inputs(self) -> list[np.ndarray]:
        """Render two batches of images of the network's own sizes, (N, C, H, W) float32."""
        kind = KINDS.get(self.card.task or "", "page")
        sizes, count = SIZES[kind], None
        if self.card.name in cards.names():
            proof = cards.card(self.card.name or "").proof
            kind, sizes, count = proof.kind, proof.sizes[:2], proof.images
        elif self.card.input.height is not None:
            widths = (self.card.input.width or width for _, width in sizes)
            sizes = tuple((self.card.input.height, width) for width in widths)
        scale = self.card.input
        mean, std = (each or (0.5,) * scale.channels for each in (scale.mean, scale.std))
        return rendered_inputs.batches(kind, sizes, mean, std, count)

    def arguments(self, batch: np.ndarray) -> tuple[Tensor, ...]:
        """Return the network's inputs in its order: the image, then what its head needs beside."""
        image = torch.from_numpy(batch)
        return (image, *extra_tensors(self.network, image).values())

    def results(self, batch: np.ndarray) -> dict[str, np.ndarray]:
        """Run the network on a batch, and return its results by name."""
        return named_results(self.network, batch)


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
