"""CAN: what its record does not show, and mistakes that the record sees."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import pytest
import torch
from torch import nn

from architectures import Model
from architectures.backbones.rec_densenet import DenseNet
from architectures.heads import rec_can_head
from architectures.heads.rec_can_head import positions
from architectures.reparameterize import fuse
from tests.support.recorded_mistakes import honest, prove_changed

NAME = "rec__rec_d28_can"


def test_positions_are_parts_of_what_is_not_masked():
    mask = torch.ones(2, 3, 8)
    mask[1, :, 6:] = 0
    found = positions(mask)
    assert found.shape == (2, 512, 3, 8)
    # The slowest column wave of all turns once over the width; a masked right end does not count.
    assert found[0, 256, 0, 7].item() == pytest.approx(math.sin(2 * math.pi), abs=1e-5)
    torch.testing.assert_close(found[1, 256, 0, :3], found[1, 256, 1, :3])
    assert found[1, 257, 0, 2].item() == pytest.approx(math.cos(math.pi), abs=1e-5)
    assert found[0, 1, 0, 0].item() == pytest.approx(math.cos(2 * math.pi / 3), abs=1e-5)


def test_teacher_forced_symbols_precede_the_next():
    record, network = honest(NAME)
    given = {name: torch.from_numpy(array) for name, array in record.inputs().items()}
    with torch.no_grad():
        features, mask = network.backbone(given["image"]), given["image_mask"]
        free = network.head(features, mask)
        forced = network.head.score_tokens(features, free["word_probs"].argmax(2), mask)
        other = network.head.score_tokens(features, given["label"], mask)
    assert list(free) == ["word_probs", "counting_preds", "counting_preds1", "counting_preds2"]
    for name, result in free.items():
        torch.testing.assert_close(forced[name], result)
    assert torch.equal(other["word_probs"][:, 0], free["word_probs"][:, 0])
    assert not torch.allclose(other["word_probs"][:, 5], free["word_probs"][:, 5])


def test_what_is_masked_does_not_count():
    record, network = honest(NAME)
    image = torch.from_numpy(record.inputs()["image"])
    mask = torch.ones_like(image)
    with torch.no_grad():
        whole = network(image, image_mask=mask)["counting_preds"]
        mask[..., 64:] = 0
        assert (network(image, image_mask=mask)["counting_preds"] < whole).all()


def test_folding_changes_nothing():
    record, network = honest(NAME)
    given = {name: torch.from_numpy(array) for name, array in record.inputs().items()}
    with torch.no_grad():
        image, mask = given["image"].double(), given["image_mask"].double()
        whole = copy.deepcopy(network).double()
        expected = whole(image, image_mask=mask)
        found = fuse(whole)(image, image_mask=mask)
    for name, result in expected.items():
        torch.testing.assert_close(found[name], result)
    assert not [m for m in fuse(network).modules() if isinstance(m, nn.BatchNorm2d)]


def test_norms_have_paddles_eps():
    _, network = honest(NAME)
    norms = [m.eps for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(norms) == 3 * 16 * 2 + 2 + 2
    assert set(norms) == {1e-5}


def test_a_backbone_without_bottlenecks():
    with pytest.raises(ValueError, match="DenseNet is built with bottleneck: true"):
        DenseNet(1, 24, 0.5, False, 1)


# Mistakes that the record sees.

Change = Callable[[pytest.MonkeyPatch, Model], None]


def _gates_exchanged(_: pytest.MonkeyPatch, network: Model) -> None:
    """Exchange the reset and the update gate."""
    for tensor in network.head.decoder.word_input_gru.parameters():
        reset, update, new = tensor.data.chunk(3)
        tensor.data = torch.cat([update, reset, new])


def _never_looked(_: pytest.MonkeyPatch, network: Model) -> None:
    attention = network.head.decoder.word_attention
    forward = attention.forward
    attention.forward = lambda keys, hidden, looked, mask: forward(keys, hidden, 0 * looked, mask)


def _nothing_masked(_: pytest.MonkeyPatch, network: Model) -> None:
    network.head._spell = lambda x, mask, forced: type(network.head)._spell(
        network.head, x, torch.ones_like(mask), forced
    )


def _no_positions(patch: pytest.MonkeyPatch, _: Model) -> None:
    patch.setattr(rec_can_head, "positions", lambda _: torch.zeros(1, 512, 1, 1))


def _another_start(patch: pytest.MonkeyPatch, _: Model) -> None:
    patch.setattr(rec_can_head, "START", 0)


def _counts_left_out(_: pytest.MonkeyPatch, network: Model) -> None:
    nn.init.zeros_(network.head.decoder.counting_context_weight.weight)


@pytest.mark.parametrize(
    ("change", "layer"),
    [
        (_gates_exchanged, "head.decoder.word_input_gru"),
        (_never_looked, ""),
        (_nothing_masked, ""),
        (_no_positions, "head.decoder.word_attention.alpha_convert"),
        (_another_start, "head.decoder.embedding"),
        (_counts_left_out, "head.decoder.counting_context_weight"),
    ],
)
def test_a_mistake_is_seen(change, layer, monkeypatch):
    """In the layer that is named; where none is, in a result: each layer's first call is right."""

    def changed(network: Model) -> Model:
        copied = copy.deepcopy(network)
        change(monkeypatch, copied)
        return copied

    report = prove_changed(monkeypatch, NAME, changed)
    assert not report.passed
    if layer:
        assert report.first_difference.startswith(f"{layer}: ")
