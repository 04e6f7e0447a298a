"""Decoder of PP-DocLayoutV2: RT-DETR's, with a transformer that reads the order of the regions.

PaddleX: `paddlex/inference/models/object_detection/modeling/pp_doclayout_v2.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from architectures.heads._reading_order import KINDS, PAGE, ReadingOrder
from architectures.heads.rtdetr_head import RTDETRTransformer


class PPDocLayoutV2(RTDETRTransformer):
    """RT-DETR's decoder, and the reading order of the regions that it is sure of.

    Args:
        in_channels: of the maps of the neck.
        num_classes: number of classes.
        class_thresholds: for each class, the score from which on a query is a region.
        class_order: for each class, its kind, of which the reading order knows 20.
        hidden_dim, num_queries, nhead, num_decoder_layers, dim_feedforward: as in RT-DETR.
        order_hidden_size, order_nhead, order_dim_feedforward, order_layers: of the transformer
            that reads the order.
        global_pointer_head_size: width of the vectors whose products give the order.
    """

    results = ("boxes", "logits", "order")

    def __init__(
        self,
        in_channels: Sequence[int],
        num_classes: int,
        class_thresholds: Sequence[float],
        class_order: Sequence[int],
        hidden_dim: int = 256,
        num_queries: int = 300,
        nhead: int = 8,
        num_decoder_layers: int = 6,
        dim_feedforward: int = 1024,
        order_hidden_size: int = 512,
        order_nhead: int = 8,
        order_dim_feedforward: int = 2048,
        order_layers: int = 6,
        global_pointer_head_size: int = 64,
    ) -> None:
        super().__init__(
            in_channels,
            num_classes,
            hidden_dim,
            num_queries,
            nhead=nhead,
            num_decoder_layers=num_decoder_layers,
            dim_feedforward=dim_feedforward,
        )
        for option, values in (
            ("class_thresholds", class_thresholds),
            ("class_order", class_order),
        ):
            if len(values) != num_classes:
                raise ValueError(f"{option} has {len(values)} numbers for {num_classes} classes")
        if not all(0 <= kind < KINDS for kind in class_order):
            raise ValueError(f"class_order has numbers that are not from 0 to {KINDS - 1}")
        self.class_thresholds, self.class_order = tuple(class_thresholds), tuple(class_order)
        self.reading_order_predictor = ReadingOrder(
            order_hidden_size,
            order_nhead,
            order_dim_feedforward,
            order_layers,
            pointer_size=global_pointer_head_size,
        )

    def forward(self, maps: Sequence[Tensor]) -> dict[str, Tensor]:
        """Find the regions of each image, those that are sure enough first.

        Args:
            maps: of the neck, `(N, C, H, W)`, fine to coarse.

        Returns:
            `boxes` `(N, Q, 4)` centre, width and height, 0 to 1 of the image; `logits` `(N, Q,
            num_classes)`; `order` `(N, Q, Q)`, logits above the diagonal that are high where the
            first region is read before the second.
        """
        found = super().forward(maps)
        boxes, logits, is_region = self.regions_first(found["boxes"], found["logits"])
        order = self.read_order(boxes, logits, is_region)
        return {"boxes": boxes, "logits": logits, "order": order}

    def regions_first(self, boxes: Tensor, logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Sort queries: those whose best class reaches its threshold, then the others.

        Both keep their order. PaddleX's sort is not stable, so there the order among them depends
        on the machine; the transformer sees it as the places of its tokens.

        Args:
            boxes: `(N, Q, 4)`.
            logits: `(N, Q, num_classes)`.

        Returns:
            Both, sorted, and which queries are regions, `(N, Q) bool`.
        """
        best = logits.max(2)
        thresholds = torch.tensor(self.class_thresholds, dtype=logits.dtype, device=logits.device)
        is_region = best.values.sigmoid() >= thresholds[best.indices]
        # Distinct places, since ONNX has no sort that keeps the order of equal values.
        regions, others = is_region.long(), (~is_region).long()
        places = torch.where(
            is_region, regions.cumsum(1), regions.sum(1, keepdim=True) + others.cumsum(1)
        )
        sequence = places.argsort(1)
        boxes, logits = (
            x.gather(1, sequence[..., None].expand(-1, -1, x.shape[2])) for x in (boxes, logits)
        )
        return boxes, logits, is_region.gather(1, sequence)

    def read_order(self, boxes: Tensor, logits: Tensor, is_region: Tensor) -> Tensor:
        """Score the pairs of regions; Args as `regions_first` returns them, result `(N, Q, Q)`."""
        kinds = torch.tensor(self.class_order, device=logits.device)
        classes = logits.argmax(2).masked_fill(~is_region, 0)
        centres, sizes = boxes.split(2, 2)
        corners = torch.cat([centres - 0.5 * sizes, centres + 0.5 * sizes], 2) * PAGE
        corners = corners.clamp(0.0, float(PAGE)).masked_fill(~is_region[..., None], 0.0)
        return self.reading_order_predictor(corners, kinds[classes], is_region)
