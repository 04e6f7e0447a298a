"""UVDoc: records also hold the grid."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, cast

from converter.adapters.base import HeadAdapter

if TYPE_CHECKING:
    from torch import Tensor

    from architectures import Model
    from architectures.transforms.uvdoc import UVDoc


class UVDocAdapter(HeadAdapter):
    """Both networks take the image alone."""

    record_call_inputs: ClassVar = ()

    def record_results(
        self,
        network: Model,
        image: Tensor,
        inputs: Mapping[str, Tensor],  # noqa: ARG002 - there are none
    ) -> Mapping[str, Tensor]:
        """Return the grid and the flat page, which PaddleX's network returns as its first item."""
        from architectures.transforms.uvdoc import unwarp

        grid = cast("UVDoc", network.transform).grid(image)
        return {"grid": grid, "0": unwarp(image, grid)}
