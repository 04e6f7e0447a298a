"""The feature pyramid of FCENet: one map for each size of text.

Feature Pyramid Networks for Object Detection, https://arxiv.org/abs/1612.03144;
PaddleOCR: `ppocr/modeling/necks/fce_fpn.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn


class FCEFPN(nn.Module):
    """Each map of the backbone, the coarser ones added to it, after a convolution of its own.

    The last maps of ResNet's four stages come in, `res2` to `res5`, and name the layers. With
    `extra_stage` 1, every second pixel of the coarsest map makes one more; further stages, and
    those with convolutions of their own (`has_extra_convs`), no network of PaddleOCR has.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        out_channels: int,
        has_extra_convs: bool = False,
        extra_stage: int = 1,
    ) -> None:
        super().__init__()
        if has_extra_convs or extra_stage not in (0, 1):
            raise ValueError(
                f"FCEFPN with has_extra_convs {has_extra_convs} and extra_stage {extra_stage} is "
                "not mirrored here; known: false, and 0 or 1"
            )
        self.out_channels = out_channels
        self.extra_stage = extra_stage
        stages = range(6 - len(in_channels), 6)
        self.laterals = [
            "fpn_inner_res5_sum" if stage == 5 else f"fpn_inner_res{stage}_sum_lateral"
            for stage in stages
        ]
        self.convolutions = [f"fpn_res{stage}_sum" for stage in stages]
        for name, channels in zip(self.laterals, in_channels, strict=True):
            self.add_module(name, nn.Conv2d(channels, out_channels, 1))
        for name in self.convolutions:
            self.add_module(name, nn.Conv2d(out_channels, out_channels, 3, padding=1))

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Maps, each half as large as the one before, to as many of `out_channels` channels."""
        maps = [self.get_submodule(n)(x) for n, x in zip(self.laterals, features, strict=True)]
        for finer in reversed(range(len(maps) - 1)):
            enlarged = F.interpolate(maps[finer + 1], scale_factor=2.0, mode="nearest")
            maps[finer] = maps[finer] + enlarged
        maps = [self.get_submodule(n)(x) for n, x in zip(self.convolutions, maps, strict=True)]
        return [*maps, maps[-1][:, :, ::2, ::2]] if self.extra_stage else maps
