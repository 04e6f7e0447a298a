"""SVTRv2: sizes, options, traps. The recorded network proves its values."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from architectures.backbones.rec_svtrv2 import SVTRv2
from architectures.registry import UnknownArchitecture

OPTIONS = {
    "dims": [8, 16, 24],
    "depths": [1, 2, 1],
    "num_heads": [2, 2, 2],
    "mixer": [["Conv"], ["Conv", "Global"], ["Global"]],
    "sub_k": [[2, 1], [2, 1], [-1, -1]],
}


def small(**options) -> SVTRv2:
    torch.manual_seed(0)
    return SVTRv2(3, **OPTIONS | options).eval()


@torch.no_grad()
@pytest.mark.parametrize(
    ("options", "shape"),
    [
        ({"use_pool": True}, (1, 24, 1, 5)),
        ({}, (1, 3 * 10, 24)),
        ({"mixer": [["Conv"], ["Conv", "Conv"], ["Conv"]]}, (1, 3 * 10, 24)),
        ({"mixer": [["Conv"], ["Conv", "Conv"], ["Conv"]], "use_pool": True}, (1, 24, 1, 5)),
        ({"mixer": [["Global"], ["Global", "Global"], ["Global"]]}, (1, 3 * 10, 24)),
        ({"sub_k": [[1, 1], [2, 1], [1, 1]], "use_pool": True}, (1, 24, 1, 5)),
    ],
)
def test_sizes(options, shape):
    assert small(**options)(torch.randn(1, 3, 48, 40)).shape == shape


def test_names_count_what_stands_between_convolutions_and_attention():
    names = small().state_dict()
    assert "stages.1.blocks.0.mixer.weight" in names
    assert "stages.1.blocks.2.mixer.qkv.weight" in names
    assert "stages.0.downsample.norm.weight" in names
    assert not [name for name in names if name.startswith("stages.2.downsample")]


def test_norms_have_paddles_eps():
    for name, module in small().named_modules():
        if isinstance(module, (nn.LayerNorm, nn.BatchNorm2d)):
            assert module.eps == (1e-6 if ".blocks." in name else 1e-5), name


@torch.no_grad()
def test_a_block_normalises_sums():
    block = small().stages[0].blocks[0]
    x = torch.randn(1, 8, 4, 5)
    once = block.norm1((x + block.mixer(x)).flatten(2).transpose(1, 2))
    expected = block.norm2(once + block.mlp(once)).transpose(1, 2).unflatten(2, (4, 5))
    torch.testing.assert_close(block(x), expected)


def test_unknown_options():
    with pytest.raises(ValueError, match="mixes by Conv first, then by Global, not by Global, Con"):
        small(mixer=[["Conv"], ["Global", "Conv"], ["Global"]])
    with pytest.raises(ValueError, match="one mixer for each block of 1, 2, 1"):
        small(mixer=[["Conv"], ["Conv"], ["Global"]])
    for option in ("use_pos_embed", "last_stage"):
        with pytest.raises(UnknownArchitecture, match="without use_pos_embed and last_stage"):
            small(**{option: True})
