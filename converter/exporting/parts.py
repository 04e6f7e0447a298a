"""Networks, or parts of them, as modules that take their inputs by position, for exporters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

import architectures
from architectures.backbones.kie_unet_sdmgr import Kie_backbone
from architectures.heads.kie_sdmgr_head import SDMGRHead
from converter.exporting.artefact import Artefact


class GraphPart(nn.Module):
    """A module that takes tensors by position.

    Attributes:
        inputs: their names, in order.
    """

    inputs: tuple[str, ...]

    def arguments(self, given: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        """Return what the module takes, of the network's inputs by name."""
        return tuple(given[name] for name in self.inputs)


class Positional(GraphPart):
    """A network.

    Args:
        network: the network.
        first: the name of its first input.
    """

    def __init__(self, network: architectures.Model, first: str) -> None:
        super().__init__()
        self.network = network
        self.inputs = (first, *network.extra_inputs)

    def forward(self, x: Tensor, *extra: Tensor) -> Any:
        """Run the network on its first input and on the others, in the network's order."""
        return self.network(x, **dict(zip(self.inputs[1:], extra, strict=True)))


class OnePage(GraphPart):
    """SDMGR for one page, in arrays that have no rows but those of its boxes."""

    inputs = ("x", "boxes", "relations", "texts")

    def __init__(self, network: architectures.Model) -> None:
        super().__init__()
        assert isinstance(network.backbone, Kie_backbone)
        assert isinstance(network.head, SDMGRHead)
        self.backbone, self.head = network.backbone, network.head

    def arguments(self, given: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        """Return the image and the boxes' arrays of the only page, cut to what it has."""
        (count, longest), *others = given["tag"].tolist()
        assert not others
        cut = {
            "boxes": given["boxes"][:, :count],
            "relations": given["relations"][:, :count, :count],
            "texts": given["texts"][:, :count, :longest],
        }
        # A graph would keep the strides of views, which are PaddleOCR's sizes.
        return super().arguments({**given, **{name: cut[name].contiguous() for name in cut}})

    def forward(self, x: Tensor, *extra: Tensor) -> dict[str, Tensor]:
        """Return the scores of the boxes and of their pairs.

        Args:
            x: (1, 3, H, W) float32, all of it the page.
            *extra: boxes (1, B, 4) float32, relations (1, B, B, 5) float32, texts (1, B, L) int64.
        """
        boxes, relations, texts = extra
        features = self.backbone.pool(self.backbone.img_feat(x), boxes[0])
        edges = relations[0].flatten(0, 1)
        return self.head.score(features, edges, texts[0], [boxes.shape[1]])


def whole(artefact: Artefact) -> GraphPart:
    """Return a whole network."""
    network = artefact.network
    if isinstance(network.head, SDMGRHead):
        return OnePage(network)
    return Positional(network, artefact.adapter.first_input)
