"""PP-DocLayoutV2: records also hold the order of regions that the record states."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, cast

from converter.adapters.rtdetr import RTDETRAdapter

if TYPE_CHECKING:
    from torch import Tensor

    from architectures import Model
    from architectures.heads.pp_doclayout_v2_head import PPDocLayoutV2

ORDER = ("order_boxes", "order_labels", "order_mask")
HELD = 40
"""Regions whose pairs a record holds."""
SORTED = "its first call is on the network's own regions, in the order of Paddle's unstable sort"


class PPDocLayoutV2Adapter(RTDETRAdapter):
    """As RT-DETR; the reading order is compared on the regions that the record states."""

    sees_order = True
    record_call_inputs: ClassVar = (*RTDETRAdapter.record_call_inputs, *ORDER)
    record_rows: ClassVar = replace(
        RTDETRAdapter.record_rows, untraced={"head.reading_order_predictor": SORTED}
    )

    def record_results(
        self, network: Model, image: Tensor, inputs: Mapping[str, Tensor]
    ) -> Mapping[str, Tensor]:
        """Return what RT-DETR's record holds, and the order of the record's regions."""
        head = cast("PPDocLayoutV2", network.head)
        boxes, kinds, is_region = (inputs[name] for name in ORDER)
        order = head.reading_order_predictor(boxes, kinds, is_region.bool())
        return {
            **super().record_results(network, image, inputs),
            "fixed_order_logits": order[:, :HELD, :HELD].triu(1),
        }
