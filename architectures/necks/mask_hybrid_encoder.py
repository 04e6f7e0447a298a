"""The hybrid encoder of PP-DocLayoutV3, which also gives prototypes of masks.

PaddleX: `paddlex/inference/models/object_detection/modeling/pp_doclayout_v3.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from architectures.necks.hybrid_encoder import ConvBN, HybridEncoder


class MaskFeatFPN(nn.Module):
    """Sums maps at the size of the finest, each brought there by convolutions and doublings."""

    def __init__(self, in_channels: Sequence[int], channels: int, out_channels: int) -> None:
        super().__init__()
        heads = []
        for level, width in enumerate(in_channels):
            layers: list[nn.Module] = [nn.Sequential(ConvBN(width, channels, 3))]
            for step in range(level):
                if step:
                    layers.append(nn.Sequential(ConvBN(channels, channels, 3)))
                layers.append(nn.Upsample(scale_factor=2, mode="bilinear"))
            heads.append(nn.Sequential(*layers))
        self.scale_heads = nn.ModuleList(heads)
        self.output_conv = ConvBN(channels, out_channels, 3)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps, fine to coarse, to `(N, out_channels, H, W)` of the finest."""
        first, *others = (head(x) for head, x in zip(self.scale_heads, maps, strict=True))
        for x in others:
            first = first + F.interpolate(x, first.shape[2:], mode="bilinear")
        return self.output_conv(first)


class MaskHybridEncoder(HybridEncoder):
    """`HybridEncoder` on all maps but the finest, and prototypes of masks at the size of that one.

    Args:
        in_channels: of the maps, from fine to coarse; the first is for the prototypes alone.
        mask_feature_channels: inner and outer width of the map that they are made of.
        num_prototypes: number of prototypes.
        hidden_dim, use_encoder_idx, num_encoder_layers, nhead, dim_feedforward, expansion: as in
            `HybridEncoder`.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        hidden_dim: int = 256,
        use_encoder_idx: Sequence[int] = (2,),
        num_encoder_layers: int = 1,
        nhead: int = 8,
        dim_feedforward: int = 1024,
        expansion: float = 1.0,
        mask_feature_channels: Sequence[int] = (64, 64),
        num_prototypes: int = 32,
    ) -> None:
        finest, *coarser = in_channels
        super().__init__(
            coarser,
            hidden_dim,
            use_encoder_idx,
            num_encoder_layers,
            nhead,
            dim_feedforward,
            expansion,
        )
        inner, outer = mask_feature_channels
        self.mask_feat_head = MaskFeatFPN(self.out_channels, inner, outer)
        self.enc_mask_lateral = ConvBN(finest, outer, 3)
        self.enc_mask_output = nn.Sequential(
            ConvBN(outer, outer, 3), nn.Conv2d(outer, num_prototypes, 1)
        )
        self.out_channels = [*self.out_channels, num_prototypes]

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Maps of `in_channels`, fine to coarse, to those of `HybridEncoder` and the prototypes."""
        finest, *coarser = maps
        fused = super().forward(coarser)
        features = F.interpolate(self.mask_feat_head(fused), scale_factor=2.0, mode="bilinear")
        prototypes = self.enc_mask_output(features + self.enc_mask_lateral(finest))
        return [*fused, prototypes]
