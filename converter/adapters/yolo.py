"""PP-YOLOv2: records also hold the neck's maps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from converter.adapters.base import SIZES, HeadAdapter, RecordRows
from converter.adapters.pico import SUPPRESSED

if TYPE_CHECKING:
    from torch import Tensor

    from architectures import Model


class YOLOAdapter(HeadAdapter):
    """Our network takes the image alone, PaddleDetection's its size and scale for the boxes."""

    post_processing = SIZES
    record_call_inputs: ClassVar = ()
    record_rows: ClassVar = RecordRows(left_out={"detections": SUPPRESSED, "count": SUPPRESSED})

    def record_results(
        self,
        network: Model,
        image: Tensor,
        inputs: Mapping[str, Tensor],  # noqa: ARG002 - size and scale are for the original's pixels
    ) -> Mapping[str, Tensor]:
        """Return the neck's maps and the network's results."""
        maps = network.neck(network.backbone(image))
        results: dict[str, Tensor] = network.head(maps)
        return {**{f"neck.{n}": x for n, x in enumerate(maps)}, **results}
