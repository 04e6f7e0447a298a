"""SLANet, SLANeXt and EDD, whose heads write a token and a box at each step of a loop."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, cast

from converter.adapters.base import TRACED_STEPS, HeadAdapter, limited

if TYPE_CHECKING:
    from torch import Tensor

    from architectures import Model
    from architectures.heads.table_att_head import TableAttentionHead


class SLAAdapter(HeadAdapter):
    """Both networks take only the image; the loop ends at the end token, or is at its limit."""

    decodes: ClassVar = True

    def first_steps(
        self,
        network: Model,
        image: Tensor,
        /,
        **extra: Tensor,  # noqa: ARG002 - there are none
    ) -> Tensor | dict[str, Tensor]:
        """Run the loop for `TRACED_STEPS` steps: one more than the limit of the text."""
        with limited(network.head, "max_text_length", TRACED_STEPS - 1):
            return network(image)


class TableAttentionAdapter(HeadAdapter):
    """Both networks take only the image; the loop has one number of steps."""

    decodes: ClassVar = True

    def first_steps(
        self,
        network: Model,
        image: Tensor,
        /,
        **extra: Tensor,  # noqa: ARG002 - there are none
    ) -> Tensor | dict[str, Tensor]:
        """Run the loop for `TRACED_STEPS` steps."""
        head = cast("TableAttentionHead", network.head)
        results = head.decode(network.neck(network.backbone(image)), TRACED_STEPS)
        return {name: results[name] for name in head.results}
