"""The head of DRRG: maps of text, components along it, and a graph network that links them.

Deep Relational Reasoning Graph Network for Arbitrary Shape Text Detection,
https://arxiv.org/abs/2003.07493; PaddleOCR: `ppocr/modeling/heads/det_drrg_head.py`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from architectures.heads.drrg.gcn import GCN
from architectures.interfaces import OutputPart
from architectures.layers.roi_align import roi_align_rotated

OUT_CHANNELS = 6
ATTRIBUTES = 6  # of a component: x, y, height, width, cosine, sine
AT_ONCE = 256  # graphs that go through the network together, to bound the memory they take


class DRRGHead(OutputPart):
    """One convolution gives the maps; components are found in them and linked two by two.

    The options are PaddleOCR's: those of the components are explained in `proposal_local_graph.py`,
    those of the graphs in `local_graph.py`.
    """

    results = ("edges", "scores", "text_comps", "maps")
    logits_layers = ("out_conv",)
    on_arrays = "finds the components of lines"

    def __init__(
        self,
        in_channels: int,
        k_at_hops: Sequence[int] = (8, 4),
        num_adjacent_linkages: int = 3,
        node_geo_feat_len: int = 120,
        pooling_scale: float = 1.0,
        pooling_output_size: Sequence[int] = (4, 3),
        nms_thr: float = 0.3,
        min_width: float = 8.0,
        max_width: float = 24.0,
        comp_shrink_ratio: float = 1.03,
        comp_ratio: float = 0.4,
        comp_score_thr: float = 0.3,
        text_region_thr: float = 0.2,
        center_region_thr: float = 0.2,
        center_region_area_thr: int = 50,
    ) -> None:
        super().__init__()
        if node_geo_feat_len % ATTRIBUTES:
            raise ValueError(
                f"node_geo_feat_len is {node_geo_feat_len}; it is a multiple of {ATTRIBUTES}, the "
                "attributes of a component, in every network that is known"
            )
        self.nearest, self.next_to_them = k_at_hops
        self.linkages, self.geometry_length = num_adjacent_linkages, node_geo_feat_len
        self.pooling_scale = pooling_scale
        self.rows, self.columns = pooling_output_size
        self.text_map = ("maps", math.log(text_region_thr / (1 - text_region_thr)))
        self.thresholds: dict[str, Any] = {
            "nms_thr": nms_thr,
            "min_width": min_width,
            "max_width": max_width,
            "comp_shrink_ratio": comp_shrink_ratio,
            "comp_ratio": comp_ratio,
            "comp_score_thr": comp_score_thr,
            "text_region_thr": text_region_thr,
            "center_region_thr": center_region_thr,
            "center_region_area_thr": center_region_area_thr,
        }
        self.out_conv = nn.Conv2d(in_channels, OUT_CHANNELS, 1)
        content = (in_channels + OUT_CHANNELS) * self.rows * self.columns
        self.gcn = GCN(content + node_geo_feat_len)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """`(1, in_channels, H, W)` to the components of one image and which of them are linked.

        `text_comps (N, 9) float32`: corners, clockwise from the top left, and score. `edges
        (E, 2) int64`: pairs of components; `scores (E,) float32`: how likely they belong together.
        `maps (1, 6, H, W)`: logits of text and of its middle, sine, cosine, heights above and below
        the middle. PaddleOCR returns the first three alone, or None where nothing is found.

        ValueError: there is more than one image.
        """
        if len(x) != 1:
            raise ValueError(f"DRRG takes one image at a time, not {len(x)}")
        maps = self.out_conv(x)
        edges, scores, components = self.link(torch.cat([x, maps], 1))
        return {"edges": edges, "scores": scores, "text_comps": components, "maps": maps}

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def link(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Edges, scores and components of `(1, in_channels + 6, H, W)`, whose last are the maps."""
        # They need NumPy and OpenCV, which no other network does.
        from architectures.heads.drrg.local_graph import geometry, local_graphs
        from architectures.heads.drrg.proposal_local_graph import Proposals

        maps = features[0, -OUT_CHANNELS:].float()
        maps = torch.cat([maps[:2].sigmoid(), maps[2:]])
        components, attributes = Proposals(**self.thresholds)(maps.cpu().numpy())
        found = torch.from_numpy(components).to(features.device)
        if len(components) < 2:
            none = found[:0]
            return none[:, :2].long(), none[:, 0], none

        def tensor(array: object) -> Tensor:
            return torch.as_tensor(array, device=features.device)

        rois = tensor(attributes[:, :4]).float()
        cosine, sine = tensor(attributes[:, 4:]).float().T
        angle = cosine.clamp(-1, 1).arccos() * sine.sign()
        content = roi_align_rotated(
            features.float(),
            torch.cat([rois, angle[:, None]], 1),
            (self.rows, self.columns),
            self.pooling_scale,
        )
        shape = tensor(geometry(attributes, self.geometry_length))
        nodes = torch.cat([content.flatten(1), shape], 1).to(features.dtype)
        hops = (self.nearest, self.next_to_them)
        graphs = [tensor(a) for a in local_graphs(attributes[:, :2], hops, self.linkages)]
        logits = [
            self.gcn(
                (nodes[members] - nodes[members[:, :1]]) * there[..., None],
                links.to(nodes.dtype),
                places,
            )
            for members, there, links, _, places in zip(
                *(each.split(AT_ONCE) for each in graphs), strict=True
            )
        ]
        scores = torch.cat(logits).float().softmax(1)[:, 1]
        nearest = graphs[3]
        pivots = torch.arange(len(nearest), device=features.device)[:, None].expand_as(nearest)
        return torch.stack([pivots, nearest], 2).flatten(0, 1), scores, found
