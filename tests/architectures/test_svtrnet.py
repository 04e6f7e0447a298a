"""SVTRNet: windows, sizes, options, errors. The recorded reference proves its values."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from architectures.backbones.rec_svtrnet import SubSample, SVTRNet
from architectures.layers.svtr_blocks import Attention, Block, neighbours
from architectures.necks.rnn import SequenceEncoder
from architectures.registry import UnknownArchitecture, make

SMALL: dict[str, Any] = {
    "img_size": [32, 40],
    "embed_dim": [8, 16, 24],
    "depth": [1, 1, 1],
    "num_heads": [2, 2, 2],
    "mixer": ["Conv", "Local", "Global"],
    "local_mixer": [[3, 3], [3, 5], [3, 3]],
    "out_channels": 12,
    "out_char_num": 5,
}


def small(**options: Any) -> SVTRNet:
    torch.manual_seed(0)
    return SVTRNet(**SMALL | options).eval()


def image(height: int = 32, width: int = 40) -> torch.Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(1)) * 2 - 1


@pytest.mark.parametrize("window", [(3, 3), (1, 5), (7, 11), (2, 4)])
def test_neighbours_are_those_of_a_padded_map(window):
    height, width = 4, 6
    found = neighbours((height, width), window, torch.device("cpu"))
    for y in range(height):
        for x in range(width):
            padded = torch.zeros(height + window[0] - 1, width + window[1] - 1, dtype=torch.bool)
            padded[y : y + window[0], x : x + window[1]] = True
            top, left = window[0] // 2, window[1] // 2
            near = padded[top : top + height, left : left + width]
            assert torch.equal(found[y * width + x], near.flatten())


@torch.no_grad()
def test_attention_in_a_window_does_not_see_what_is_outside():
    local = Attention(8, 2, qkv_bias=True, size=(3, 4), window=(3, 3))
    x = torch.randn(1, 12, 8)
    changed = x.clone()
    changed[:, 3] += 1  # the first row's last place
    moved = (local(changed) - local(x)).abs().amax((0, 2)) > 1e-7
    assert moved.reshape(3, 4).tolist() == [
        [False, False, True, True],
        [False, False, True, True],
        [False, False, False, False],
    ]


@torch.no_grad()
@pytest.mark.parametrize("prenorm", [True, False])
def test_prenorm_normalises_sums(prenorm):
    block = Block(8, 2, 2.0, qkv_bias=True, mixer=nn.Identity(), act="gelu", prenorm=prenorm)
    x = torch.randn(1, 5, 8)

    def norm(y: torch.Tensor) -> torch.Tensor:
        return F.layer_norm(y, (8,))

    if prenorm:
        once = norm(x + x)
        expected = norm(once + block.mlp(once))
    else:
        once = x + norm(x)
        expected = once + block.mlp(norm(once))
    torch.testing.assert_close(block(x), expected)


@torch.no_grad()
def test_a_pooling_leaves_the_padding_out():
    merge = SubSample(1, 1, (4, 6), "Pool")
    nn.init.ones_(merge.proj.weight)
    nn.init.zeros_(merge.proj.bias)
    merge.norm = nn.Identity()
    torch.testing.assert_close(merge(torch.ones(1, 24, 1)), torch.ones(1, 12, 1))


class TestSizes:
    @torch.no_grad()
    @pytest.mark.parametrize(
        ("options", "shape"),
        [
            ({}, (1, 12, 1, 5)),
            ({"patch_merging": "Pool", "prenorm": False}, (1, 12, 1, 5)),
            ({"last_stage": False}, (1, 2 * 10, 24)),
            ({"last_stage": False, "sub_num": 3, "img_size": [32, 40]}, (1, 1 * 5, 24)),
            (
                {"last_stage": False, "patch_merging": None, "embed_dim": [8, 8, 8]},
                (1, 8 * 10, 8),
            ),
        ],
    )
    def test_output(self, options, shape):
        assert small(**options)(image()).shape == shape

    def test_another_image_size_is_an_error(self):
        with pytest.raises(AssertionError, match="images of its img_size only"):
            small()(image(32, 48))


class TestTraps:
    @torch.no_grad()
    def test_inference_scales_what_training_drops(self):
        full, dropped = small(last_drop=0.0)(image()), small(last_drop=0.1)(image())
        torch.testing.assert_close(dropped, 0.9 * full)

    @pytest.mark.parametrize("prenorm", [True, False])
    def test_norms_have_paddles_eps(self, prenorm):
        found = {
            name: module.eps
            for name, module in small(prenorm=prenorm).named_modules()
            if isinstance(module, (nn.LayerNorm, nn.BatchNorm2d))
        }
        assert ("norm" in found) != prenorm
        for name, eps in found.items():
            of_blocks = name == "norm" or name.startswith("blocks")
            assert eps == (1e-6 if of_blocks else 1e-5), name

    def test_blocks_have_gelu(self):
        acts = [type(block.mlp.act) for block in small().modules() if isinstance(block, Block)]
        assert acts == [nn.GELU] * 3

    def test_names_are_those_of_paddleocr(self):
        shapes = {name: tuple(tensor.shape) for name, tensor in small().state_dict().items()}
        assert shapes["pos_embed"] == (1, 80, 8)
        assert shapes["patch_embed.proj.1.norm.running_var"] == (8,)
        assert shapes["blocks1.0.mixer.local_mixer.weight"] == (8, 4, 3, 3)
        assert shapes["blocks2.0.mixer.qkv.bias"] == (48,)
        assert shapes["sub_sample2.conv.weight"] == (24, 16, 3, 3)
        assert shapes["last_conv.weight"] == (12, 24, 1, 1)


class TestErrors:
    @pytest.mark.parametrize("mixer", [["Conv"], ["Conv", "Global", "Swin"]])
    def test_mixers(self, mixer):
        with pytest.raises(ValueError, match="one mixer of Conv, Local, Global for each of 3"):
            small(mixer=mixer)

    def test_unknown_option(self):
        with pytest.raises(UnknownArchitecture, match="qk_scale is 2; supported is None only"):
            make("Backbone", "rec", {"name": "SVTRNet", "qk_scale": 2}, 3)
        with pytest.raises(UnknownArchitecture, match=r"no act .*; known: nn\.GELU"):
            make("Backbone", "rec", {"name": "SVTRNet", "act": "nn.Tanh"}, 3)

    def test_no_encoder_reads_the_length(self):
        encoder = SequenceEncoder(12, "reshape")
        with pytest.raises(AssertionError, match="several maps; no encoder reads them"):
            encoder(small(use_lenhead=True)(image()))
