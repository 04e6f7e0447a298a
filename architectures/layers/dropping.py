"""What training leaves out at random: values, attention weights, whole branches of a sample.

Dropout, https://jmlr.org/papers/v15/srivastava14a.html; drop path, https://arxiv.org/abs/1603.09382.
The networks call functions, and have no modules for this: the converted ones keep their layers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Drops:
    """Shares, from 0 to 1, that a block of a transformer leaves out in training.

    Attributes:
        values: of the values behind each of its linear layers; PaddleOCR's `drop_rate`.
        attention: of the weights of attention; `attn_drop_rate`.
        branches: of the samples, those whose branch is left out; `drop_path_rate`.
    """

    values: float = 0.0
    attention: float = 0.0
    branches: float = 0.0

    def __post_init__(self) -> None:
        for name, share in vars(self).items():
            if not 0 <= share < 1:
                raise ValueError(f"the share of {name} to drop is {share}, expected 0 to below 1")


NOTHING = Drops()


def rising(drops: Drops, blocks: int) -> list[Drops]:
    """Return the shares of each block: of branches none in the first, all of `drops` in the last.

    Args:
        drops: the shares of the last block.
        blocks: how many there are.
    """
    steps = max(1, blocks - 1)
    return [replace(drops, branches=drops.branches * n / steps) for n in range(blocks)]


def drop_branch(x: Tensor, share: float, training: bool) -> Tensor:
    """Set `x` to zero for a share of the samples, and enlarge it for the others.

    Args:
        x: the output of a branch, (N, ...).
        share: of the samples.
        training: whether to do so; otherwise `x` is returned.
    """
    if not training or share == 0:
        return x
    return x * F.dropout(x.new_ones(x.shape[0], *[1] * (x.dim() - 1)), share)


def drop_unscaled(x: Tensor, share: float, training: bool) -> Tensor:
    """Set a share of the values to zero; outside training all are made smaller instead.

    This is Paddle's dropout mode `downscale_in_infer`.
    """
    return (F.dropout(x, share) if training else x) * (1 - share)
