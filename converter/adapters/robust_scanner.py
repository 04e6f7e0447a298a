"""RobustScanner: how much of each line is not padding, and the positions of the characters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, cast

import numpy as np

from converter.adapters.base import (
    TRACED_STEPS,
    HeadAdapter,
    RecordedInput,
    limited,
    positions,
)
from converter.adapters.sar import falling_ratio, start_tokens, unpadded_ratio

if TYPE_CHECKING:
    from torch import Tensor

    from architectures import Model
    from architectures.heads.rec_robustscanner_head import RobustScannerHead


class RobustScannerAdapter(HeadAdapter):
    """Our network takes the ratio (N,) float32 and computes the positions (N, T) int64 itself."""

    extra_inputs = ("valid_ratio", "word_positions")
    computed_inside = frozenset({"word_positions"})
    decodes: ClassVar = True

    def extra_values(self, image: np.ndarray) -> dict[str, np.ndarray]:
        """Return ratios of 1 and the positions."""
        length = self.options.get("max_text_length", 40)
        return {"valid_ratio": unpadded_ratio(image), "word_positions": positions(image, length)}

    def padded_values(self, image: np.ndarray) -> dict[str, RecordedInput]:
        """Return ratios that fall from line to line."""
        return {"valid_ratio": falling_ratio(image)}

    def prime(
        self,
        network: Model,
        image: Tensor,
        extra: Mapping[str, Tensor],  # noqa: ARG002
    ) -> None:
        """Run the decoder's LSTM over start tokens."""
        head = cast("RobustScannerHead", network.head)
        features = network.neck(network.backbone(network.transform(image)))
        head.decoder.hybrid_decoder(start_tokens(head.decoder, features))

    def first_steps(
        self, network: Model, image: Tensor, /, **extra: Tensor
    ) -> Tensor | dict[str, Tensor]:
        """Write `TRACED_STEPS` characters."""
        head = cast("RobustScannerHead", network.head)
        with limited(head.decoder, "max_text_length", TRACED_STEPS):
            return network(image, **extra)
