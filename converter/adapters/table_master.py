"""TableMASTER: records hold the first tokens of its decoding loop, whose cost grows fast."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, cast

from converter.adapters.base import TRACED_STEPS, HeadAdapter, limited

if TYPE_CHECKING:
    from torch import Tensor

    from architectures import Model
    from architectures.heads.table_master_head import TableMasterHead

RECORDED_TOKENS = 24


class TableMasterAdapter(HeadAdapter):
    """Both networks take only the image."""

    record_call_inputs: ClassVar = ()
    decodes: ClassVar = True
    fewer_steps: ClassVar = {"max_text_length": RECORDED_TOKENS}

    def record_paddle(self, network: Any, image: Any, extra: Mapping[str, Any]) -> Any:
        """Run PaddleOCR's network for `RECORDED_TOKENS` tokens."""
        with limited(network.head, "max_text_length", RECORDED_TOKENS):
            return self.call_paddle(network, image, extra)

    def record_results(
        self,
        network: Model,
        image: Tensor,
        inputs: Mapping[str, Tensor],  # noqa: ARG002 - there are none
    ) -> Mapping[str, Tensor]:
        """Run our network for `RECORDED_TOKENS` tokens."""
        with limited(network.head, "max_text_length", RECORDED_TOKENS):
            return cast("Mapping[str, Tensor]", network(image))

    @contextmanager
    def shortened(self, network: Model) -> Iterator[None]:
        """Let our loop end after the tokens of the export, which does not see the end token."""
        with super().shortened(network), limited(network.head, "stops_at_end", False):
            yield

    def first_steps(
        self,
        network: Model,
        image: Tensor,
        /,
        **extra: Tensor,  # noqa: ARG002 - there are none
    ) -> Tensor | dict[str, Tensor]:
        """Decode `TRACED_STEPS` tokens, each time with all tokens so far."""
        head = cast("TableMasterHead", network.head)
        results = head.decode_again(network.neck(network.backbone(image)), TRACED_STEPS)
        return {name: results[name] for name in head.results}
