"""SATRN, whose decoder runs all places at every step, those to come as padding."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, cast

from converter.adapters.base import TRACED_STEPS, HeadAdapter

if TYPE_CHECKING:
    from torch import Tensor

    from architectures import Model
    from architectures.heads.rec_satrn_head import SATRNHead


class SATRNAdapter(HeadAdapter):
    """Both networks take only the image."""

    decodes: ClassVar = True

    def first_steps(
        self,
        network: Model,
        image: Tensor,
        /,
        **extra: Tensor,  # noqa: ARG002 - there are none
    ) -> Tensor | dict[str, Tensor]:
        """Read the whole text `TRACED_STEPS` times, each time the one that was written before."""
        import torch

        head = cast("SATRNHead", network.head)
        memory = head.encoder(network.neck(network.backbone(network.transform(image))))
        start = torch.full((len(memory), 1), head.decoder.start)
        tokens = start.expand(-1, TRACED_STEPS)
        scores = memory.new_zeros(0)
        for _ in range(TRACED_STEPS):
            scores = head.decoder.score_tokens(memory, tokens)
            tokens = torch.cat([start, scores.argmax(2)[:, 1:]], 1)
        return scores.softmax(2)
