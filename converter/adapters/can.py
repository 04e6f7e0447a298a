"""CAN: a mask of the formula's pixels, and a label of which PaddleOCR reads only the length."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, cast

import numpy as np

from converter.adapters.base import HeadAdapter, RecordedInput

if TYPE_CHECKING:
    from torch import Tensor

    from architectures import Model
    from architectures.heads.rec_can_head import CANHead


class CANAdapter(HeadAdapter):
    """Our network takes the mask (N, 1, H, W) float32 and decodes 36 symbols, PaddleOCR's default.

    The label (N, T) int64 states how many symbols PaddleOCR decodes.
    """

    extra_inputs = ("image_mask", "label")
    computed_inside = frozenset({"label"})
    decodes: ClassVar = True
    image_in_list = True
    record_call_inputs = ("image_mask", "label")

    def extra_values(self, image: np.ndarray) -> dict[str, np.ndarray]:
        """Return a mask of ones and a label of ones."""
        length = self.options.get("max_text_length", 36)
        label = np.ones((len(image), length), np.int64)
        return {"image_mask": np.ones_like(image[:, :1]), "label": label}

    def padded_values(self, image: np.ndarray) -> dict[str, RecordedInput]:
        """Return the mask of a batch whose last image is padded on the right."""
        mask = np.ones_like(image[:, :1])
        mask[-1, :, :, image.shape[3] * 3 // 4 :] = 0
        rule = "stored: ones; zeros in the right quarter of the last sample"
        return {"image_mask": RecordedInput(rule, mask)}

    def record_results(
        self, network: Model, image: Tensor, inputs: Mapping[str, Tensor]
    ) -> Mapping[str, Tensor]:
        """Return the results; behind teacher-forced symbols if the head is built for training."""
        features, mask = network.backbone(image), inputs["image_mask"]
        head = cast("CANHead", network.head)
        if self.options["attdecoder"].get("is_train"):
            return head.score_tokens(features, inputs["label"], mask)
        return head(features, mask)
