"""Decoder of PP-DocLayoutV3: RT-DETR's, with a mask and the reading order of every region.

PaddleX: `paddlex/inference/models/object_detection/modeling/pp_doclayout_v3.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import repeat

import torch
from torch import Tensor, nn

from architectures.heads.rtdetr_head import (
    MLP,
    RTDETRTransformer,
    anchor_points,
    inverse_sigmoid,
)
from architectures.layers.global_pointer import GlobalPointer


class PPDocLayoutV3(RTDETRTransformer):
    """RT-DETR's decoder whose queries start from the boxes of masks.

    All layers share the heads of the encoder.

    Args:
        in_channels: of the maps of the neck; the last is the number of prototypes of masks.
        num_classes: number of classes.
        hidden_dim, num_queries, nhead, num_decoder_layers, dim_feedforward: as in RT-DETR.
        global_pointer_head_size: width of the vectors whose products give the order.
    """

    results = ("boxes", "logits", "order", "masks")
    logits_layers = ("enc_score_head",)

    def __init__(
        self,
        in_channels: Sequence[int],
        num_classes: int,
        hidden_dim: int = 256,
        num_queries: int = 300,
        nhead: int = 8,
        num_decoder_layers: int = 6,
        dim_feedforward: int = 1024,
        global_pointer_head_size: int = 64,
    ) -> None:
        *widths, prototypes = in_channels
        super().__init__(
            widths,
            num_classes,
            hidden_dim,
            num_queries,
            nhead=nhead,
            num_decoder_layers=num_decoder_layers,
            dim_feedforward=dim_feedforward,
        )
        self.dec_norm = nn.LayerNorm(hidden_dim)
        self.mask_query_head = MLP(hidden_dim, hidden_dim, prototypes, 3)
        self.dec_order_head = nn.ModuleList(
            nn.Linear(hidden_dim, hidden_dim) for _ in range(num_decoder_layers)
        )
        self.dec_global_pointer = GlobalPointer(hidden_dim, global_pointer_head_size)

    def _make_decoder_heads(self, hidden_dim: int, num_classes: int, layers: int) -> None:
        pass

    def _box_heads(self) -> Iterable[nn.Module]:
        return repeat(self.enc_bbox_head, len(self.decoder.layers))

    def deployed(self) -> nn.Module:
        """Return the head without the order that training reads of the layers before the last."""
        for layer in range(len(self.dec_order_head) - 1):
            self.dec_order_head[layer] = nn.Identity()
        return self

    def forward(self, maps: Sequence[Tensor]) -> dict[str, Tensor]:
        """Find the regions of each image.

        Args:
            maps: of the neck, fine to coarse, then the prototypes `(N, P, H, W)`.

        Returns:
            `boxes` `(N, Q, 4)` centre, width and height, 0 to 1 of the image; `logits` `(N, Q,
            num_classes)`; `order` `(N, Q, Q)`, logits above the diagonal that are high where the
            first region is read before the second; `masks` `(N, Q, H, W)`, above 0 inside.
        """
        *maps, prototypes = maps
        memory, sizes = self.memory(maps)
        _, valid = anchor_points(sizes, memory)
        queries = self.rank(memory, valid).features
        points = self.mask_points(queries, prototypes)
        *_, (boxes, features) = self.refine(queries, points, memory, sizes)
        return {"boxes": boxes, **self.describe(features, prototypes)}

    def mask_points(self, features: Tensor, prototypes: Tensor) -> Tensor:
        """Return the boxes of the masks of queries, before the sigmoid: `(N, Q, 4)`."""
        boxes = boxes_of_masks(self.masks(self.dec_norm(features), prototypes) > 0)
        return inverse_sigmoid(boxes.to(features.dtype))

    def masks(self, normed: Tensor, prototypes: Tensor) -> Tensor:
        """Queries `(N, Q, hidden_dim)` and prototypes `(N, P, H, W)` to `(N, Q, H, W)`."""
        products = self.mask_query_head(normed) @ prototypes.flatten(2)
        return products.unflatten(2, prototypes.shape[2:])

    def describe(self, features: Tensor, prototypes: Tensor, layer: int = -1) -> dict[str, Tensor]:
        """Return logits, order and masks of the queries after a layer."""
        normed = self.dec_norm(features)
        return {
            "logits": self.enc_score_head(normed),
            "order": self.dec_global_pointer(self.dec_order_head[layer](normed)),
            "masks": self.masks(normed, prototypes),
        }


def boxes_of_masks(masks: Tensor) -> Tensor:
    """Return the centre, width and height of masks, 0 to 1; zeros for an empty mask.

    Args:
        masks: `(..., H, W) bool`.

    Returns:
        `(..., 4) float32`.
    """
    edges = []
    for axis in (-2, -1):  # columns that hold any pixel, then rows
        held = masks.any(axis).float()
        size = held.shape[-1]
        first = held.argmax(-1)
        last = size - held.flip(-1).argmax(-1)
        edges.append((first / size, last / size))
    (left, right), (top, bottom) = edges
    boxes = torch.stack([(left + right) / 2, (top + bottom) / 2, right - left, bottom - top], -1)
    return boxes * masks.flatten(-2).any(-1)[..., None]
