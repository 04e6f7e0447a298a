"""DRRG: records hold the graph network on a graph of its own.

Between the maps and the graph PaddleOCR calls a compiled operator, which is not part of Paddle.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from converter.adapters.base import HeadAdapter

if TYPE_CHECKING:
    from torch import Tensor

    from architectures import Model
    from architectures.heads.drrg.det_drrg_head import DRRGHead


class DRRGAdapter(HeadAdapter):
    """The network takes only the image; a record also holds nodes, adjacency and neighbours."""

    record_call_inputs = ("gcn_nodes", "gcn_adjacency", "gcn_knn")

    def record_paddle(self, network: Any, image: Any, extra: Mapping[str, Any]) -> Any:
        """Return the same of PaddleOCR's network."""
        if not extra:
            return self.call_paddle(network, image, extra)
        neck, head = network.neck(network.backbone(image)), network.head
        return {"neck": neck, "gcn": head.gcn(*extra.values()), "maps": head.out_conv(neck)}

    def record_results(
        self, network: Model, image: Tensor, inputs: Mapping[str, Tensor]
    ) -> Mapping[str, Tensor]:
        """Return the neck's map, the six prediction maps, and the scores of the record's graph."""
        neck = network.neck(network.backbone(image))
        head = cast("DRRGHead", network.head)
        graph = (inputs[name] for name in self.record_call_inputs)
        return {"neck": neck, "gcn": head.gcn(*graph), "maps": head.out_conv(neck)}
