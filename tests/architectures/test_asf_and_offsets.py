"""DB++'s record sees mistakes in what other detectors have not: offsets, their masks, ASF."""

import pytest
import torch
from torch import Tensor

from architectures import Model
from architectures.layers.deformable import DeformConv2D
from architectures.necks.db_fpn import ASFBlock
from tests.support.mistakes import wrong_sign
from tests.support.recorded_mistakes import prove_changed, prove_mistaken

RECORD = "det__det_r50_db++_icdar15"
DEFORMABLE = "backbone.res3a.conv1._conv"
LAYERS = [
    f"{DEFORMABLE}.conv_offset",
    f"{DEFORMABLE}.conv_dcn",
    "neck.asf.conv",
    "neck.asf.channel_scale.0",
    "neck.asf.spatial_scale.0",
    "neck.asf.spatial_scale.2",
]


def across_first(offset: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Take the offset to the right for the one downwards."""
    return offset.unflatten(1, (-1, 2)).flip(2).flatten(1, 2), mask


def upwards(offset: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    return -offset, mask


def unmoved(offset: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    return torch.zeros_like(offset), mask


def unmasked(offset: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    return offset, torch.ones_like(mask)


def same(network: Model) -> Model:
    return network


@pytest.mark.parametrize("layer", LAYERS)
def test_a_wrong_layer_is_seen(monkeypatch, layer):
    report = prove_mistaken(monkeypatch, RECORD, layer, wrong_sign)
    assert not report.passed
    # Noise may hide the values of one layer of ASF, not those of the next.
    seen = "neck.asf." if layer == "neck.asf.conv" else f"{layer}: "
    assert report.first_difference.startswith(seen)


@pytest.mark.parametrize("mistake", [across_first, upwards, unmoved, unmasked])
def test_offsets_and_masks_that_are_taken_wrongly_are_seen(monkeypatch, mistake):
    honest = DeformConv2D.forward

    def forward(layer: DeformConv2D, x: Tensor, offset: Tensor, mask: Tensor) -> Tensor:
        return honest(layer, x, *mistake(offset, mask))

    monkeypatch.setattr(DeformConv2D, "forward", forward)
    report = prove_changed(monkeypatch, RECORD, same)
    assert not report.passed
    assert report.first_difference.startswith("backbone.res3a.conv1._conv.conv_dcn: ")


def test_attention_that_is_left_out_is_seen(monkeypatch):
    """No layer comes after it in the neck, and what the head gives is mostly noise by then."""
    monkeypatch.setattr(ASFBlock, "forward", lambda _block, maps: torch.cat(list(maps), 1))
    report = prove_changed(monkeypatch, RECORD, same)
    assert not report.passed
