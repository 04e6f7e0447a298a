"""NRTR, whose decoder runs the whole text again for each character; ours keeps what it computed."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from converter.adapters.base import TRACED_STEPS, HeadAdapter, limited

if TYPE_CHECKING:
    from torch import Tensor

    from architectures import Model


class NRTRAdapter(HeadAdapter):
    """Both networks take only the image; the loop ends where all lines do."""

    decodes: ClassVar = True

    def first_steps(
        self,
        network: Model,
        image: Tensor,
        /,
        **extra: Tensor,  # noqa: ARG002 - there are none
    ) -> Tensor | dict[str, Tensor]:
        """Write `TRACED_STEPS` characters behind the start token."""
        with limited(network.head, "max_len", TRACED_STEPS + 1):
            return network(image)
