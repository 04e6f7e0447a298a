"""PicoDet: records also hold the neck's maps and the decoded boxes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, cast

from converter.adapters.base import SIZES, HeadAdapter, RecordRows

if TYPE_CHECKING:
    from torch import Tensor

    from architectures import Model
    from architectures.heads.pico_head import PicoHead

SUPPRESSED = "boxes after non-maximum suppression, which is no part of the network"


class PicoAdapter(HeadAdapter):
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
        """Return the neck's maps, the network's results, and the boxes in pixels of the input."""
        from architectures.heads.pico_head import decode_boxes

        maps = network.neck(network.backbone(image))
        head = cast("PicoHead", network.head)
        results: dict[str, Tensor] = head(maps)
        distances = [results[f"distances.{level}"] for level in range(len(maps))]
        sizes = [(x.shape[2], x.shape[3]) for x in maps]
        boxes = decode_boxes(distances, sizes, head.strides, head.cell_offset)
        return {**{f"neck.{n}": x for n, x in enumerate(maps)}, **results, "boxes": boxes}
