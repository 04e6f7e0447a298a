"""UniMERNet and PP-FormulaNet, whose decoder is mBART's: teacher-forced tokens for records."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, cast

import numpy as np

from converter.adapters.base import (
    TRACED_STEPS,
    HeadAdapter,
    limited,
    limited_steps,
    seeded_tokens,
)

if TYPE_CHECKING:
    from torch import Tensor

    from architectures import Model
    from architectures.heads._mbart import MBartHead

START = 0  # the start token


class MBartAdapter(HeadAdapter):
    """Both networks take only the image; a record also holds tokens (N, T) int64.

    In eval mode PaddleOCR's decoder lets every place attend to all of the teacher-forced tokens
    (`teacher_logits`). In training mode what follows a token is hidden from it, as in the loop
    (`causal_logits`).
    """

    record_call_inputs = ("teacher_tokens",)
    decodes: ClassVar = True

    def teacher_tokens(self, image: np.ndarray) -> dict[str, np.ndarray]:
        """Return the tokens whose scores a record holds."""
        vocabulary = self.options.get("vocab_size", 4000)
        return {
            name: seeded_tokens(name, image, vocabulary, START)
            for name in ("teacher_tokens", "causal_tokens")
        }

    def record_paddle(self, network: Any, image: Any, extra: Mapping[str, Any]) -> Any:
        """Score the teacher-forced tokens with PaddleOCR's decoder, then run its loop.

        For `causal_logits` only the decoder enters training mode, without its dropout.
        """
        if "teacher_tokens" not in extra:
            return self.call_paddle(network, image, extra)
        features, head = network.backbone(image), network.head
        scores, *more = _paddle_scores(head, features, extra["teacher_tokens"])
        results = {"encoder": features[0], "teacher_logits": scores}
        if len(more) == 2 and more[0] is not None:
            results["teacher_count"] = more[0]
        decoder = head.decoder.model.decoder
        dropout = decoder.dropout
        decoder.dropout, decoder.training = 0.0, True
        results["causal_logits"], *_ = _paddle_scores(head, features, extra["causal_tokens"])
        decoder.dropout, decoder.training = dropout, False
        with limited_steps(head):
            results["tokens"] = head(features)
        return results

    def record_results(
        self, network: Model, image: Tensor, inputs: Mapping[str, Tensor]
    ) -> Mapping[str, Tensor]:
        """Score the teacher-forced tokens with our decoder, then run its loop."""
        from architectures.heads.rec_unimernet_head import UniMERNetHead

        features, head = network.backbone(image), cast("MBartHead", network.head)
        scores = head.score_tokens(features, inputs["teacher_tokens"], causal=False)
        results = {"encoder": features, "teacher_logits": scores}
        if "causal_tokens" in inputs:
            results["causal_logits"] = head.score_tokens(features, inputs["causal_tokens"])
        if isinstance(head, UniMERNetHead):
            results["teacher_count"] = head.counts(features)
        with limited_steps(head):
            results["tokens"] = head(features)
        return results

    def first_steps(
        self,
        network: Model,
        image: Tensor,
        /,
        **extra: Tensor,  # noqa: ARG002 - there are none
    ) -> Tensor | dict[str, Tensor]:
        """Run the loop for `TRACED_STEPS` steps."""
        head = cast("MBartHead", network.head)
        with limited(head, "max_seq_len", TRACED_STEPS * head.step):
            return network(image)


def _paddle_scores(head: Any, features: Any, tokens: Any) -> Any:
    return head.forwad_train(features, tokens, tokens * 0 + 1)  # PaddleOCR's spelling
