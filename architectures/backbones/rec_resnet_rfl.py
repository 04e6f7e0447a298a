"""The backbone of RFL: FAN's residual network, its upper half once to count and once to read.

Reciprocal Feature Learning via Explicit and Implicit Tasks in Scene Text Recognition,
https://arxiv.org/abs/2105.06229; PaddleOCR: `ppocr/modeling/backbones/rec_resnet_rfl.py`.
"""

from __future__ import annotations

from torch import Tensor, nn

from architectures.backbones._fan_blocks import (
    LowerStages,
    add_upper_stages,
    run_upper_stages,
    upper_folds,
)

COUNTING = "v_"  # name prefix of the counting branch


class RFLBase(nn.Module):
    """The lower half, under the name that it has in checkpoints."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.ConvNet = LowerStages(in_channels, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, in_channels, H, W)` to `(N, out_channels / 2, H / 4, W / 4)`."""
        return self.ConvNet(x)


class ResNetRFL(nn.Module):
    """One lower half; an upper half that counts (`use_cnt`), one that reads (`use_seq`), or both.

    PaddleOCR's lower half always has 512 channels, and so have these.
    """

    def __init__(
        self, in_channels: int, out_channels: int = 512, use_cnt: bool = True, use_seq: bool = True
    ) -> None:
        super().__init__()
        if not use_cnt and not use_seq:
            raise ValueError("ResNetRFL counts (use_cnt), reads (use_seq) or does both")
        self.use_cnt, self.use_seq = use_cnt, use_seq
        self.out_channels = out_channels
        self.backbone = RFLBase(in_channels, out_channels)
        for prefix in self._prefixes():
            add_upper_stages(self, out_channels, prefix)

    def _prefixes(self) -> tuple[str, ...]:
        return (COUNTING,) * self.use_cnt + ("",) * self.use_seq

    @property
    def folds(self) -> tuple[tuple[str, str], ...]:
        """Foldable pairs of convolution and normalisation of the branches that are built."""
        return tuple(pair for prefix in self._prefixes() for pair in upper_folds(prefix))

    def forward(self, x: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """`(N, in_channels, 32, W)` to two maps `(N, out_channels, 1, W / 4 + 1)`.

        The first is for counting, the second for reading; None for a branch that is not built.
        """
        x = self.backbone(x)
        counting = run_upper_stages(self, x, COUNTING) if self.use_cnt else None
        reading = run_upper_stages(self, x) if self.use_seq else None
        return counting, reading
