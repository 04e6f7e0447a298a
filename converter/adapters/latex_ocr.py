"""LaTeX-OCR: teacher-forced tokens for records, and sampling replaced by the likeliest token."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, cast
from unittest import mock

import numpy as np

from converter.adapters.base import HeadAdapter, limited_steps, seeded_tokens

if TYPE_CHECKING:
    from torch import Tensor

    from architectures import Model
    from architectures.heads.rec_latexocr_head import LaTeXOCRHead

START = 1  # the start token


class LaTeXOCRAdapter(HeadAdapter):
    """Both networks take only the image; a record also holds tokens (N, T) int64."""

    record_call_inputs = ("teacher_tokens",)

    def teacher_tokens(self, image: np.ndarray) -> dict[str, np.ndarray]:
        """Return the tokens whose scores a record holds."""
        vocabulary = self.options.get("num_tokens", 4000)
        return {"teacher_tokens": seeded_tokens("teacher_tokens", image, vocabulary, START)}

    def call_paddle(self, network: Any, image: Any, extra: Mapping[str, Any]) -> Any:
        """Run PaddleOCR's network, which samples its tokens: here it takes the likeliest."""
        with greedy_sampling():
            return super().call_paddle(network, image, extra)

    def record_paddle(self, network: Any, image: Any, extra: Mapping[str, Any]) -> Any:
        """Score the teacher-forced tokens with PaddleOCR's decoder, then run its loop."""
        import paddle

        if "teacher_tokens" not in extra:
            return self.call_paddle(network, image, extra)
        features, tokens = network.backbone(image), extra["teacher_tokens"]
        mask = paddle.ones_like(tokens).cast("bool")
        scores = network.head.net(tokens, mask=mask, context=features)
        with greedy_sampling(), limited_steps(network.head):
            decoded = network.head(features)
        return {"encoder": features, "teacher_logits": scores, "tokens": decoded}

    def record_results(
        self, network: Model, image: Tensor, inputs: Mapping[str, Tensor]
    ) -> Mapping[str, Tensor]:
        """Score the teacher-forced tokens with our decoder, then run its loop."""
        features, head = network.backbone(image), cast("LaTeXOCRHead", network.head)
        scores = head.score_tokens(features, inputs["teacher_tokens"])
        with limited_steps(head):
            decoded = head(features)
        return {"encoder": features, "teacher_logits": scores, "tokens": decoded}


def greedy_sampling() -> AbstractContextManager[Any]:
    """Let `paddle.multinomial` return the likeliest class instead of a random one."""
    import paddle

    return mock.patch.object(paddle, "multinomial", lambda p, _: p.argmax(-1, keepdim=True))
