"""The losses that recognisers by CTC and detectors by DB are trained with, as functions.

CTC: https://www.cs.toronto.edu/~graves/icml_2006.pdf; DB: https://arxiv.org/abs/1911.08947; focal
loss: https://arxiv.org/abs/1708.02002. They are PaddleOCR's, `ppocr/losses/rec_ctc_loss.py` and
`det_db_loss.py`, which differ from the papers where the functions say so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

EPSILON = 1e-6
MAIN_LOSSES = ("dice", "dice_focal", "bce")


def ctc_loss(
    logits: Tensor, labels: Tensor, lengths: Tensor, *, focal: bool = False, blank: int = 0
) -> Tensor:
    """Return the mean over the lines of minus the logarithm of their texts' probability.

    A text that is too long for its line, repeated characters counted twice, adds 0.

    Args:
        logits: (N, T, C) float, what a recogniser in training mode returns.
        labels: (N, L) int, the class of each character; what follows a text is not read.
        lengths: (N,) int, the number of characters of each text.
        focal: whether each line counts by the square of the probability that it is misread.
        blank: the class of the blank.
    """
    if int(lengths.max()) > labels.shape[1] or len(lengths) != len(logits):
        raise ValueError(
            f"{tuple(labels.shape)} labels do not hold texts of {lengths.tolist()} characters for "
            f"{len(logits)} lines"
        )
    steps = torch.full((len(logits),), logits.shape[1], dtype=torch.long)
    likely = logits.log_softmax(2).transpose(0, 1)
    losses = F.ctc_loss(likely, labels, steps, lengths, blank, reduction="none", zero_infinity=True)
    if focal:
        losses = losses * (1 - torch.exp(-losses)).square()
    return losses.mean()


@dataclass(frozen=True)
class DBTargets:
    """What the maps of a DB detector should be; each map is (N, H, W) float.

    Attributes:
        shrink: 1 inside the shrunken outlines of texts, 0 elsewhere.
        shrink_mask: 0 where a text is that nobody can read, 1 elsewhere.
        thresh: the thresholds near the outlines of texts.
        thresh_mask: 1 where `thresh` counts, 0 elsewhere.
    """

    shrink: Tensor
    shrink_mask: Tensor
    thresh: Tensor
    thresh_mask: Tensor


def db_loss(
    maps: Mapping[str, Tensor],
    targets: DBTargets,
    *,
    main: str = "dice",
    alpha: float = 5,
    beta: float = 10,
    binary: float = 1,
    negatives: float = 3,
) -> Tensor:
    """Return the loss of a DB detector: of probabilities, of thresholds, and of both together.

    Args:
        maps: `shrink`, `thresh` and `binary`, (N, 1, H, W) from 0 to 1, what a detector in training
            mode returns.
        targets: what they should be.
        main: the loss of the probabilities, PaddleOCR's `main_loss_type`: `dice`, `dice_focal`, of
            PP-OCRv6, or `bce`, the paper's, which counts the worst of the background alone.
        alpha: the weight of the probabilities.
        beta: the weight of the thresholds.
        binary: the weight of the binary map; PaddleOCR adds that of PFHeadLocal twice.
        negatives: of `bce`, how many places of the background count for each of text.
    """
    if main not in MAIN_LOSSES:
        raise ValueError(f"there is no loss {main!r}; known: {', '.join(MAIN_LOSSES)}")
    shrink, thresh, both = (maps[name].squeeze(1) for name in ("shrink", "thresh", "binary"))
    text, mask = targets.shrink, targets.shrink_mask
    if main == "bce":
        of_text = balanced_bce_loss(shrink, text, mask, negatives)
        of_both = dice_loss(both, text, mask)
    else:
        # PaddleOCR balances text and background here too: it counts the loss only if there is text.
        present = 1.0 if main == "dice_focal" else ((text * mask).sum() >= 1).to(shrink.dtype)
        of_text, of_both = (
            dice_loss(each, text, mask)
            + (focal_loss(each, text, mask) if main == "dice_focal" else 0)
            for each in (shrink, both)
        )
        of_text = of_text * present
    of_thresholds = masked_l1_loss(thresh, targets.thresh, targets.thresh_mask)
    return alpha * of_text + beta * of_thresholds + binary * of_both


def dice_loss(x: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Return 1 minus the share of text that two maps have in common, where `mask` is 1.

    Args:
        x: probabilities, (N, H, W).
        target: 0 or 1, (N, H, W).
        mask: 0 or 1, (N, H, W).
    """
    common = (x * target * mask).sum()
    return 1 - 2 * common / ((x * mask).sum() + (target * mask).sum() + EPSILON)


def balanced_bce_loss(x: Tensor, target: Tensor, mask: Tensor, negatives: float = 3) -> Tensor:
    """Return the mean cross-entropy of all text and of the worst of the background.

    Args:
        x: probabilities, (N, H, W).
        target: 0 or 1, (N, H, W).
        mask: 0 or 1, (N, H, W).
        negatives: how many places of the background count for each of text.
    """
    losses = F.binary_cross_entropy(x, target, reduction="none")
    text, background = target * mask, (1 - target) * mask
    found = int(text.sum())
    count = int(min(float(background.sum()), found * negatives))
    worst = (losses * background).flatten().topk(count).values
    return ((losses * text).sum() + worst.sum()) / (found + count + EPSILON)


def focal_loss(
    x: Tensor, target: Tensor, mask: Tensor, alpha: float = 0.25, gamma: float = 2
) -> Tensor:
    """Return the mean focal loss where `mask` is 1.

    Args:
        x: probabilities, (N, H, W).
        target: 0 or 1, (N, H, W).
        mask: 0 or 1, (N, H, W).
        alpha: the weight of text; that of background is the rest.
        gamma: how much less a place counts that is nearly right.
    """
    x = x.clamp(EPSILON, 1 - EPSILON)
    right = torch.where(target > 0, x, 1 - x)
    weight = torch.where(target > 0, alpha, 1 - alpha)
    losses = -weight * (1 - right) ** gamma * right.log()
    return (losses * mask).sum() / (mask.sum() + EPSILON)


def masked_l1_loss(x: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Return the mean difference where `mask` is 1; all are (N, H, W)."""
    return ((x - target).abs() * mask).sum() / (mask.sum() + EPSILON)
