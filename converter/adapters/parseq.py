"""PARSeq, which writes the text character by character and then reads it again."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, cast

from converter.adapters.base import TRACED_STEPS, HeadAdapter

if TYPE_CHECKING:
    from torch import Tensor

    from architectures import Model
    from architectures.heads.rec_parseq_head import ParseQHead


class ParseQAdapter(HeadAdapter):
    """Both networks take only the image; the loop ends where all lines do."""

    decodes: ClassVar = True

    def first_steps(
        self,
        network: Model,
        image: Tensor,
        /,
        **extra: Tensor,  # noqa: ARG002 - there are none
    ) -> Tensor | dict[str, Tensor]:
        """Score the start token, then texts, each time the one that was written before."""
        import torch

        head = cast("ParseQHead", network.head)
        memory = network.neck(network.backbone(network.transform(image)))
        start = torch.full((len(memory), 1), head.start)
        if head.decode_ar:
            scores = head.score_tokens(memory, start)
            text = start.expand(-1, TRACED_STEPS)
            for _ in range(TRACED_STEPS):
                scores = head.score_tokens(memory, torch.cat([start, text], 1))
                text = scores[:, :-1].argmax(-1)
        else:
            scores = head.guess(memory)
        for _ in range(head.refine_iters):
            scores = head.refine(memory, scores[:, :-1].argmax(-1))
        return scores.softmax(-1)
