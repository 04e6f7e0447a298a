"""The pyramid of DB++: how its maps are weighed, which random weights hide from a record."""

from __future__ import annotations

import torch

from architectures.necks.db_fpn import DBFPN, ASFBlock


def test_asf_weighs_each_map_by_a_share_of_its_own():
    torch.manual_seed(0)
    block = ASFBlock(16).double().eval()
    maps = torch.randn(2, 4, 4, 5, 6, dtype=torch.float64)  # image, map, channel, y, x
    with torch.no_grad():
        x = block.conv(maps.flatten(1, 2))
        first, _, second, _ = block.spatial_scale
        mean = sum(x.unbind(1))[:, None] / x.shape[1]
        spatial = 1 / (1 + (-second(first(mean).clamp(min=0))).exp())
        shares = 1 / (1 + (-block.channel_scale[0](x + spatial)).exp())
        expected = torch.cat([maps[:, i] * shares[:, i : i + 1] for i in range(4)], 1)
        torch.testing.assert_close(block(maps.unbind(1)), expected, rtol=1e-12, atol=1e-12)


def test_only_with_asf_there_is_one():
    names = DBFPN((4, 4, 4, 4), 16).state_dict().keys()
    assert not [name for name in names if name.startswith("asf.")]
    assert "asf.channel_scale.0.weight" in DBFPN((4, 4, 4, 4), 16, use_asf=True).state_dict()
