"""SAR: how much of each line's width is not padding."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, cast

import numpy as np

from converter.adapters.base import TRACED_STEPS, HeadAdapter, RecordedInput

if TYPE_CHECKING:
    from torch import Tensor

    from architectures import Model
    from architectures.heads.rec_robustscanner_head import RobustScannerDecoder
    from architectures.heads.rec_sar_head import ParallelSARDecoder, SARHead


class SARAdapter(HeadAdapter):
    """Both networks take the ratio, (N,) float32."""

    extra_inputs = ("valid_ratio",)
    decodes: ClassVar = True

    def extra_values(self, image: np.ndarray) -> dict[str, np.ndarray]:
        """Return ratios of 1."""
        return {"valid_ratio": unpadded_ratio(image)}

    def padded_values(self, image: np.ndarray) -> dict[str, RecordedInput]:
        """Return ratios that fall from line to line."""
        return {"valid_ratio": falling_ratio(image)}

    def prime(self, network: Model, image: Tensor, extra: Mapping[str, Tensor]) -> None:
        """Decode a text of start tokens, whose embedding PaddleOCR computes only once."""
        head = cast("SARHead", network.head)
        features = network.neck(network.backbone(network.transform(image)))
        starts = start_tokens(head.decoder, features)
        head.decoder.embedding(starts[:, 0])
        head.score_tokens(features, starts, extra["valid_ratio"])

    def first_steps(
        self, network: Model, image: Tensor, /, **extra: Tensor
    ) -> Tensor | dict[str, Tensor]:
        """Write `TRACED_STEPS` characters, each with the whole text so far, as PaddleOCR does.

        The glimpse of the map is a sum of products, which no order of operands marks.
        """
        import torch

        head, ratio = cast("SARHead", network.head), extra["valid_ratio"]
        decoder = head.decoder
        x = network.neck(network.backbone(network.transform(image)))
        line = head.encoder(x, ratio).unsqueeze(1)
        starts = decoder.embedding(torch.full((len(x), TRACED_STEPS), decoder.start))
        text = torch.cat([line, starts], 1)
        lines = line.expand(-1, text.shape[1], -1)
        scores = x.new_zeros(0)
        for step in range(1, TRACED_STEPS + 1):
            written, _ = decoder.rnn_decoder(text)
            weights = decoder.attention(written, x, ratio)
            seen = (x.unsqueeze(1) * weights).sum((3, 4))
            joined = [written, seen, lines] if decoder.pred_concat else [seen]
            scores = decoder.prediction(torch.cat(joined, 2)).softmax(2)
            text[:, step] = decoder.embedding(scores[:, step].argmax(1))
        return scores


def unpadded_ratio(image: np.ndarray) -> np.ndarray:
    """Return the ratios, (N,) float32, of lines without padding."""
    return np.ones(len(image), np.float32)


def falling_ratio(image: np.ndarray) -> RecordedInput:
    """Return ratios, (N,) float32, for a record: each line has more padding than the last."""
    ratios = np.linspace(1.0, 0.55, len(image)).astype(np.float32)
    return RecordedInput("stored: from 1.0 to 0.55", ratios)


def start_tokens(decoder: ParallelSARDecoder | RobustScannerDecoder, features: Tensor) -> Tensor:
    """Return as many start tokens as the decoder writes characters, (N, max_text_length) int64.

    Args:
        decoder: SAR's or RobustScanner's.
        features: (N, C, H, W) float32.
    """
    import torch

    return torch.full((len(features), decoder.max_text_length), decoder.start)
