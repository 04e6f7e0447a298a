"""LC-PAN: a path aggregation network of the blocks of PP-LCNet.

PP-PicoDet, https://arxiv.org/abs/2111.00902; PaddleDetection: `ppdet/modeling/necks/lc_pan.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from architectures.backbones.det_pp_lcnet import DepthwiseSeparable, Row
from architectures.necks.csp_pan import PathAggregation


class LCPAN(PathAggregation):
    """Path aggregation by two depthwise separable layers; see `PathAggregation`."""

    def __init__(
        self,
        in_channels: Sequence[int],
        out_channels: int,
        kernel_size: int = 5,
        use_depthwise: bool = True,
        act: str = "hard_swish",
        num_features: int | None = None,
    ) -> None:
        def block() -> nn.Module:
            rows = (
                Row(kernel_size, 2 * out_channels, 2 * out_channels),
                Row(kernel_size, 2 * out_channels, out_channels),
            )
            return nn.Sequential(*(DepthwiseSeparable(row, 1, 1.0) for row in rows))

        super().__init__(
            in_channels, out_channels, kernel_size, use_depthwise, act, num_features, block
        )
