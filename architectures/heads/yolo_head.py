"""YOLOv3's head with IoU awareness, as PP-YOLO and PP-YOLOv2 have it.

PP-YOLO, https://arxiv.org/abs/2007.12099; YOLOv3, https://arxiv.org/abs/1804.02767;
PaddleDetection: `ppdet/modeling/heads/yolo_head.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from architectures.interfaces import OutputPart

ANCHORS_PER_CELL = 3
EPS = 1e-7
COCO_ANCHORS = (
    *((10, 13), (16, 30), (33, 23)),
    *((30, 61), (62, 45), (59, 119)),
    *((116, 90), (156, 198), (373, 326)),
)
Masks = Sequence[Sequence[int]]


class YOLOv3Head(OutputPart):
    """Scores and places the anchors of every cell.

    Args:
        in_channels: of the maps of the neck, coarse to fine.
        num_classes: number of classes.
        anchors: width and height of each anchor, in pixels of the input.
        anchor_masks: for each map, the anchors of its cells.
        iou_aware_factor: the share of the predicted overlap in the logit of an object; the rest is
            the object's own.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        num_classes: int,
        anchors: Sequence[Sequence[int]] = COCO_ANCHORS,
        anchor_masks: Masks = ((6, 7, 8), (3, 4, 5), (0, 1, 2)),
        iou_aware_factor: float = 0.4,
    ) -> None:
        super().__init__()
        if len(in_channels) != len(anchor_masks):
            raise ValueError(f"{len(anchor_masks)} anchor_masks for {len(in_channels)} maps")
        if any(len(mask) != ANCHORS_PER_CELL for mask in anchor_masks):
            raise ValueError(f"each of anchor_masks should name {ANCHORS_PER_CELL} anchors")
        if not all(0 <= number < len(anchors) for mask in anchor_masks for number in mask):
            raise ValueError(f"anchor_masks names an anchor that is not among the {len(anchors)}")
        self.iou_aware_factor = iou_aware_factor
        outputs = ANCHORS_PER_CELL * (num_classes + 6)
        self.yolo_output = nn.ModuleList(nn.Conv2d(c, outputs, 1) for c in in_channels)
        levels = range(len(anchor_masks))
        self.results = tuple(f"maps.{level}" for level in levels)
        self.logits_layers = tuple(f"yolo_output.{level}" for level in levels)

    def forward(self, maps: Sequence[Tensor]) -> dict[str, Tensor]:
        """Score and place the anchors.

        Args:
            maps: of the neck, coarse to fine, `(N, C, H, W)`.

        Returns:
            For each map K `maps.K` `(N, 3 * (5 + num_classes), H, W)`: of each anchor in turn, the
            logits of x and y in the cell, the logarithms of width and height by the anchor's, the
            logit of an object, and those of the classes.
        """
        return {
            f"maps.{level}": self._weighed(layer(x))
            for level, (layer, x) in enumerate(zip(self.yolo_output, maps, strict=True))
        }

    def _weighed(self, x: Tensor) -> Tensor:
        """Put the predicted overlaps, the first channels, into the logits of objects."""
        overlaps, rest = x.split([ANCHORS_PER_CELL, x.shape[1] - ANCHORS_PER_CELL], 1)
        of_anchors = rest.unflatten(1, (ANCHORS_PER_CELL, -1))
        place, own, classes = of_anchors.split([4, 1, of_anchors.shape[2] - 5], 2)
        factor = self.iou_aware_factor
        probability = own.sigmoid() ** (1 - factor) * overlaps[:, :, None].sigmoid() ** factor
        odds = (1 / probability.clamp(EPS, 1 / EPS) - 1).clamp(EPS, 1 / EPS)
        return torch.cat([place, -odds.log(), classes], 2).flatten(1, 2)
