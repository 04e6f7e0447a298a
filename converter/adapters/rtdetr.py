"""RT-DETR: records also hold what the decoder makes of queries that the record states."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, cast

from converter.adapters.base import SIZES, HeadAdapter, RecordRows

if TYPE_CHECKING:
    from torch import Tensor

    from architectures import Model
    from architectures.heads.rtdetr_head import RTDETRTransformer

POST_PROCESSED = "boxes in pixels of the original, chosen after the network"


class RTDETRAdapter(HeadAdapter):
    """Our network takes the image alone, PaddleDetection's its size and scale for the boxes.

    The network's own queries are the positions with the highest scores. Of nearly equal scores,
    rounding decides which comes first, so the rows of these queries are matched by value. Before
    them, scores and offsets of all positions are compared; after them, the decoder is, by what it
    makes of the record's `queries` and `points`.
    """

    post_processing = SIZES
    ranked_layers = ("head.decoder.", "head.dec_")
    record_call_inputs: ClassVar[tuple[str, ...]] = ("queries", "points")
    record_rows: ClassVar = RecordRows(
        names={
            **{f"encoder.{level}": f"neck.{level}" for level in range(3)},
            "intermediate_logits": "dec_logits",
            "intermediate_reference_points": "dec_boxes",
            "fixed_intermediate_logits": "fixed_logits",
            "fixed_intermediate_reference_points": "fixed_boxes",
            "fixed_intermediate_hidden_states": "fixed_features",
        },
        ranked={
            "enc_topk_boxes": "enc_bbox_head",
            "enc_topk_logits": "enc_score_head",
            "dec_boxes": "fixed_boxes",
            "dec_logits": "fixed_logits",
        },
        left_out=dict.fromkeys(("detections", "boxes", "count"), POST_PROCESSED),
        optional=frozenset(
            {"enc_topk_boxes", "enc_topk_logits", "fixed_features", "fixed_last_hidden_state"}
        ),
    )

    def record_results(
        self, network: Model, image: Tensor, inputs: Mapping[str, Tensor]
    ) -> Mapping[str, Tensor]:
        """Return the neck's maps, all scores and offsets, and what the decoder makes of queries."""
        maps = network.neck(network.backbone(image))
        head = cast("RTDETRTransformer", network.head)
        memory, sizes = head.memory(maps)
        chosen = head.select(memory, sizes)
        steps = list(head.refine(chosen.features, chosen.points, memory, sizes))
        # PaddleX's network scores the boxes of every layer, ours those of the last; in the deploy
        # form the other score heads have no weights.
        for (_, features), score_head in zip(steps, head.dec_score_head, strict=True):
            if any(True for _ in score_head.parameters()):
                logits = score_head(features)
        *_, (fixed_boxes, fixed) = head.refine(inputs["queries"], inputs["points"], memory, sizes)
        return {
            **{f"neck.{n}": x for n, x in enumerate(maps)},
            "enc_score_head": chosen.scores,
            "enc_bbox_head": chosen.offsets,
            "enc_topk_boxes": chosen.points.sigmoid(),
            "enc_topk_logits": head.enc_score_head(chosen.features),
            "dec_boxes": steps[-1][0],
            "dec_logits": logits,
            "fixed_boxes": fixed_boxes,
            "fixed_logits": head.dec_score_head[-1](fixed),
            "fixed_features": fixed,
            "fixed_last_hidden_state": fixed[:, -1],
        }
