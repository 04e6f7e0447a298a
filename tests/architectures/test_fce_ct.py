"""FCENet and CentripetalText: stages, options, and what their results are made of."""

from __future__ import annotations

import pytest
import torch

from architectures.heads.det_ct_head import CT_Head
from architectures.heads.det_fce_head import FCEHead
from architectures.necks.ct_fpn import CTFPN
from architectures.necks.fce_fpn import FCEFPN


def halving(*channels: int) -> list[torch.Tensor]:
    return [torch.randn(1, c, 16 >> i, 24 >> i) for i, c in enumerate(channels)]


@pytest.mark.parametrize(
    ("channels", "coarser"),
    [((4, 8, 16), []), ((4, 8, 16), [(2, 3)]), ((2, 4, 8, 16), [])],
    ids=["three maps", "one more", "four maps"],
)
def test_fce_maps(channels, coarser):
    neck = FCEFPN(channels, 8, extra_stage=len(coarser))
    first = 6 - len(channels)
    assert f"fpn_inner_res{first}_sum_lateral.weight" in neck.state_dict()
    assert "fpn_inner_res5_sum.weight" in neck.state_dict()
    maps = halving(*channels)
    with torch.no_grad():
        found = neck(maps)
    sizes = [tuple(x.shape[2:]) for x in maps]
    assert [tuple(x.shape[2:]) for x in found] == [*sizes, *coarser]
    assert {x.shape[1] for x in found} == {8}
    for extra in found[len(maps) :]:
        assert torch.equal(extra, torch.nn.functional.max_pool2d(found[-2], 1, stride=2))


@pytest.mark.parametrize("options", [{"has_extra_convs": True}, {"extra_stage": 2}])
def test_fce_stages_that_no_network_has(options):
    with pytest.raises(ValueError, match="is not mirrored here; known: false, and 0 or 1"):
        FCEFPN((4, 8, 16), 8, **options)


def test_fce_probabilities_of_text_then_of_cores_then_contours():
    head = FCEHead(8, fourier_degree=2)
    maps = halving(8, 8)
    with torch.no_grad():
        results = head(maps)
        assert list(results) == ["level_0", "level_1"]
        for x, found in zip(maps, results.values(), strict=True):
            powers = head.out_conv_cls(x).exp()
            text, core = powers[:, :2], powers[:, 2:]
            expected = [text / text.sum(1, True), core / core.sum(1, True), head.out_conv_reg(x)]
            torch.testing.assert_close(found, torch.cat(expected, 1))
            assert found.shape[1] == 4 + 10


def test_ct_score_is_the_probability_of_cores():
    head = CT_Head(8, 4, 3).eval()
    with torch.no_grad():
        results = head(torch.randn(1, 8, 5, 6))
    torch.testing.assert_close(results["score"], 1 / (1 + (-results["maps"][:, 0]).exp()))


def test_ct_norms_have_paddles_eps():
    modules = [*CTFPN((2, 4, 8, 16)).modules(), *CT_Head(8, 4, 3).modules()]
    assert {m.eps for m in modules if isinstance(m, torch.nn.BatchNorm2d)} == {1e-5}
