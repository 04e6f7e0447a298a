"""PP-DocLayoutV3: records also hold what the decoder makes of queries that the record states."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, cast

from converter.adapters.base import SIZES, HeadAdapter, RecordRows
from converter.adapters.rtdetr import POST_PROCESSED, RTDETRAdapter

if TYPE_CHECKING:
    from torch import Tensor

    from architectures import Model
    from architectures.heads.pp_doclayout_v3_head import PPDocLayoutV3

SAMPLED = "rows follow a top-k, and too few values of each are recorded; fixed_* hold the same"
FIRST_ORDER = (
    "PaddleX runs it on the first layer's order head, which the deploy form lacks; the result "
    "fixed_out_order_logits shows what it makes of the last one's"
)
LAYERS = "fixed_intermediate"


class PPDocLayoutV3Adapter(HeadAdapter):
    """Both networks take the image alone; a record's rows are as those of RT-DETR."""

    post_processing = SIZES
    ranked_layers = RTDETRAdapter.ranked_layers
    record_call_inputs: ClassVar = ("queries", "points")
    record_rows: ClassVar = RecordRows(
        ranked={
            "intermediate_reference_points": "fixed_intermediate_reference_points",
            "intermediate_logits": "fixed_intermediate_logits",
        },
        left_out={
            **dict.fromkeys(("boxes", "count"), POST_PROCESSED),
            **dict.fromkeys(("out_order_logits", "out_masks"), SAMPLED),
        },
        untraced={"head.dec_global_pointer": FIRST_ORDER},
    )

    def record_results(
        self, network: Model, image: Tensor, inputs: Mapping[str, Tensor]
    ) -> Mapping[str, Tensor]:
        """Return the neck's maps, all scores and offsets, and what the decoder makes of queries."""
        *maps, prototypes = network.neck(network.backbone(image))
        head = cast("PPDocLayoutV3", network.head)
        memory, sizes = head.memory(maps)
        chosen = head.select(memory, sizes)
        points = head.mask_points(chosen.features, prototypes)
        # PaddleX's network describes the queries of every layer, ours those of the last; in the
        # deploy form the other order heads have no weights.
        steps = list(head.refine(chosen.features, points, memory, sizes))
        for layer, (_, features) in enumerate(steps):
            if any(True for _ in head.dec_order_head[layer].parameters()):
                logits = head.describe(features, prototypes, layer)["logits"]
        *_, (fixed_boxes, features) = head.refine(
            inputs["queries"], inputs["points"], memory, sizes
        )
        fixed = head.describe(features, prototypes)
        return {
            **{f"encoder.0.{n}": x for n, x in enumerate(maps)},
            "encoder.1": prototypes,
            "enc_score_head": chosen.scores,
            "enc_bbox_head": chosen.offsets,
            "intermediate_reference_points": steps[-1][0],
            "intermediate_logits": logits,
            "fixed_last_hidden_state": features[:, -1],
            f"{LAYERS}_hidden_states": features,
            f"{LAYERS}_logits": fixed["logits"],
            f"{LAYERS}_reference_points": fixed_boxes,
            "fixed_out_order_logits": fixed["order"].triu(1),
            "fixed_out_masks": fixed["masks"],
        }
