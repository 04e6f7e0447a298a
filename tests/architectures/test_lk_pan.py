"""LKPAN, IntraCLBlock and PFHeadLocal: what the recorded networks do not show."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from architectures.heads.det_db_head import PFHeadLocal
from architectures.joining import join_
from architectures.necks.intracl import IntraCLBlock, JoinedIntraCLBlock
from architectures.necks.lk_pan import LKPAN, DSConv
from architectures.reparameterize import fold_, fold_as_exported_

CHANNELS = (4, 6, 8, 10)


def features() -> tuple[torch.Tensor, ...]:
    torch.manual_seed(0)
    sides = (16, 8, 4, 2)
    return tuple(torch.randn(1, c, side, 2 * side) for c, side in zip(CHANNELS, sides, strict=True))


@pytest.mark.parametrize(
    ("mode", "tensors"), [("large", 4 + 4 + 3 + 4), ("lite", 4 + 4 * 12 + 3 + 4 * 11)]
)
def test_modes_have_the_tensors_of_paddleocr(mode, tensors):
    neck = LKPAN(CHANNELS, 16, mode).eval()
    names = [n for n in neck.state_dict() if not n.endswith("num_batches_tracked")]
    assert len(names) == tensors
    assert neck(features()).shape == (1, 16, 16, 32)


def test_intra_cl_comes_before_the_maps_are_joined():
    torch.manual_seed(1)
    plain = LKPAN(CHANNELS, 16).eval()
    neck = LKPAN(CHANNELS, 16, intracl=True).eval()
    neck.load_state_dict(plain.state_dict(), strict=False)
    blocks = (neck.incl1, neck.incl2, neck.incl3, neck.incl4)
    with torch.no_grad():
        for place, block in enumerate(blocks, 1):
            nn.init.zeros_(block.bn.weight)
            nn.init.constant_(block.bn.bias, place)
        added = neck(features()) - plain(features())
    # The coarsest map stands first and belongs to the last block.
    torch.testing.assert_close(added.mean((0, 2, 3)), torch.arange(4.0, 0, -1).repeat_interleave(4))


def test_intra_cl_sees_six_rows_and_columns_to_each_side():
    block = IntraCLBlock(4, reduce_factor=2).eval()
    x = torch.zeros(1, 4, 21, 21, requires_grad=True)
    nn.init.constant_(block.bn.bias, 10.0)  # open the ReLU
    block(x)[0, :, 10, 10].sum().backward()
    reach = x.grad[0].abs().sum(0).nonzero()
    # 3 + 2 + 1 values to each side in all directions
    assert reach.min().item() == 4
    assert reach.max().item() == 16


def test_light_layer_has_a_shortcut_only_to_other_channels():
    assert DSConv(4, 4).conv_end is None
    assert DSConv(8, 4).conv_end is not None


def test_norms_have_paddles_eps():
    modules = (LKPAN(CHANNELS, 16, "lite", intracl=True), PFHeadLocal(16, mode="large"))
    norms = [m for module in modules for m in module.modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(norms) == 8 * 2 + 4 + 4 + 1
    assert {norm.eps for norm in norms} == {1e-5}


@pytest.mark.parametrize(("mode", "channels"), [("large", 4), ("small", 2)])
def test_refined_map_counts_half(mode, channels):
    head = PFHeadLocal(16, mode=mode).eval()
    assert head.cbn_layer.last_3.conv.weight.shape == (channels, 5, 3, 3)
    x = torch.randn(1, 16, 4, 4)
    with torch.no_grad():
        base = head.binarize(x)
        nn.init.zeros_(head.cbn_layer.last_1.weight)
        nn.init.constant_(head.cbn_layer.last_1.bias, 50.0)  # a probability of 1 everywhere
        torch.testing.assert_close(head(x), 0.5 * base + 0.5)


def test_deployed_head_has_no_thresholds():
    head = PFHeadLocal(16).deployed()
    assert {name.partition(".")[0] for name in head.state_dict()} == {"binarize", "cbn_layer"}


def test_exports_fold_the_first_map_alone():
    head = PFHeadLocal(16).eval().deployed()
    x = torch.randn(1, 16, 4, 4)
    with torch.no_grad():
        before = head(x)
        fold_as_exported_(head)
        torch.testing.assert_close(head(x), before)
    norms = [name for name, m in head.named_modules() if isinstance(m, nn.BatchNorm2d)]
    assert norms == ["cbn_layer.last_3.bn"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LKPAN(CHANNELS, 16, "huge"), "no mode .huge.; known: large, lite, merged"),
        (lambda: PFHeadLocal(16, mode="tiny"), "no mode 'tiny'; known: large, small"),
    ],
)
def test_unknown_mode(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@torch.inference_mode()
def test_intra_cl_with_one_kernel_for_three():
    torch.manual_seed(2)
    block = nn.Sequential(IntraCLBlock(8, reduce_factor=2)).eval()
    nn.init.uniform_(block[0].bn.running_mean)
    fold_(block)
    x = torch.randn(2, 8, 9, 11)
    expected = block(x)
    join_(block)
    assert isinstance(block[0], JoinedIntraCLBlock)
    assert torch.allclose(block(x), expected, atol=1e-6)
