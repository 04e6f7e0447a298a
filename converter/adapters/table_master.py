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
    from converter.sources.ir import Program

RECORDED_TOKENS = 24


def _is_traced_for_one(program: Program) -> bool:
    """Return whether a program's mask of later tokens is that of a single token, a constant.

    PaddleOCR's code takes the number of tokens for the mask and for the positions from the shape of
    a tensor. When Paddle (3.0, 3.3.1) traces the loop, that is the shape of the first step.
    """
    made = {value: op for op in program.every_operation() for value in op.outputs}
    masks = [op for op in program.every_operation() if op.kind in ("tril", "tril_triu")]
    operands = [made.get(mask.inputs["0"][0]) for mask in masks if mask.inputs.get("0")]
    return any(op is not None and op.attributes.get("shape") == (1, 1) for op in operands)


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
    def as_exported(self, network: Model, program: Program) -> Iterator[None]:
        """Let our loop go on after the end token, and decode with the program's faults."""
        with (
            super().as_exported(network, program),
            limited(network.head, "stops_at_end", False),
            limited(network.head, "traced_for_one", _is_traced_for_one(program)),
        ):
            yield

    def faults_of(self, program: Program) -> tuple[str, ...]:
        """Describe what PaddleOCR's export loses; its weights are not affected."""
        if not _is_traced_for_one(program):
            return ()
        return (
            "this export does not decode as PaddleOCR's network does: it was traced with one "
            "token, so it gives all tokens the first position and lets them attend to later ones. "
            "The comparison did the same; the converted network has none of these faults",
        )

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
