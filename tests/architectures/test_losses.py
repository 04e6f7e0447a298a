"""The losses are PaddleOCR's, whose values on the same inputs were recorded."""

from __future__ import annotations

import json

import pytest
import torch
from torch import Tensor

from architectures.losses import DBTargets, balanced_bce_loss, ctc_loss, db_loss, dice_loss
from tests.support import paddle_losses

PADDLE = json.loads(paddle_losses.FILE.read_text(encoding="utf-8"))


def maps(texts: bool) -> tuple[dict[str, Tensor], DBTargets]:
    predicted, targets = paddle_losses.maps(texts)
    names = ("shrink", "thresh", "binary")
    given = torch.from_numpy(predicted).split(1, 1)
    thresh, thresh_mask, text, mask = map(torch.from_numpy, targets)
    return dict(zip(names, given, strict=True)), DBTargets(text, mask, thresh, thresh_mask)


@pytest.mark.parametrize(("name", "focal"), [("plain", False), ("focal", True)])
def test_ctc(name, focal):
    logits, labels, lengths = map(torch.from_numpy, paddle_losses.lines())
    loss = ctc_loss(logits.requires_grad_(), labels, lengths, focal=focal)
    loss.backward()
    assert loss.item() == pytest.approx(PADDLE["ctc"][name][0], rel=1e-5)
    assert logits.grad.abs().sum().item() == pytest.approx(PADDLE["ctc"][name][1], rel=1e-4)


def test_ctc_of_labels_that_do_not_fit():
    logits, labels, lengths = map(torch.from_numpy, paddle_losses.lines())
    with pytest.raises(ValueError, match=r"\(4, 4\) labels do not hold texts of \[5, 1, 4, 8\]"):
        ctc_loss(logits, labels[:, :4], lengths)


@pytest.mark.parametrize("suffix", ["", ", no text"])
@pytest.mark.parametrize(
    ("name", "options"),
    [("dice", {}), ("dice_focal", {"main": "dice_focal"}), ("weights", {"alpha": 2, "beta": 3})],
)
def test_db(name, options, suffix):
    predicted, targets = maps(texts=not suffix)
    loss = db_loss(predicted, targets, **options)
    assert loss.item() == pytest.approx(PADDLE["db"][name + suffix], rel=1e-5)


@pytest.mark.parametrize("suffix", ["", ", no text"])
def test_balanced_cross_entropy(suffix):
    predicted, targets = maps(texts=not suffix)
    shrink = predicted["shrink"].squeeze(1)
    loss = balanced_bce_loss(shrink, targets.shrink, targets.shrink_mask)
    assert loss.item() == pytest.approx(PADDLE["db"]["bce" + suffix], rel=1e-5, abs=1e-7)
    whole = db_loss(predicted, targets, main="bce", alpha=1, beta=0, binary=0)
    torch.testing.assert_close(whole, loss)


def test_the_binary_map_of_pfhead_counts_twice():
    predicted, targets = maps(texts=True)
    once, twice = (db_loss(predicted, targets, binary=weight) for weight in (1, 2))
    dice = dice_loss(predicted["binary"].squeeze(1), targets.shrink, targets.shrink_mask)
    torch.testing.assert_close(twice - once, dice)


def test_an_unknown_loss():
    predicted, targets = maps(texts=True)
    with pytest.raises(ValueError, match="no loss 'l2'; known: dice, dice_focal, bce"):
        db_loss(predicted, targets, main="l2")
