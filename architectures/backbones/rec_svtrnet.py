"""SVTRNet: an image in patches, mixed by three stages of blocks, without a sequence model behind.

SVTR, https://arxiv.org/abs/2205.00159; PaddleOCR: `ppocr/modeling/backbones/rec_svtrnet.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from architectures.layers.dropping import Drops, drop_unscaled, rising
from architectures.layers.svtr_blocks import Attention, Block, ConvMixer, Size, to_map, to_sequence

MIXERS = ("Conv", "Local", "Global")
MERGING = ("Conv", "Pool")
# PaddleOCR evaluates the option `act`; its default and what stands for the others here.
ACTS = {"nn.GELU": "gelu", "nn.Swish": "swish", "nn.Silu": "swish", "nn.ReLU": "relu",
        "nn.Hardswish": "hardswish"}  # fmt: skip


class ConvNormGelu(nn.Module):
    """A 3x3 convolution that halves both sides, BatchNorm, GELU."""

    folds: ClassVar = (("conv", "norm"),)

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, in_channels, H, W)` to `(N, out_channels, H / 2, W / 2)`."""
        return F.gelu(self.norm(self.conv(x)))


class PatchEmbed(nn.Module):
    """The image at a fraction of its size, `sub_num` times halved, as a sequence."""

    def __init__(self, in_channels: int, embed_dim: int, sub_num: int) -> None:
        super().__init__()
        widths = [embed_dim // 2**i for i in reversed(range(sub_num))]
        self.proj = nn.Sequential(
            *(ConvNormGelu(*pair) for pair in pairwise([in_channels, *widths]))
        )

    def forward(self, x: Tensor) -> Tensor:
        """`(N, in_channels, H, W)` to `(N, T, embed_dim)`."""
        return to_sequence(self.proj(x))


class SubSample(nn.Module):
    """Patch merging: a map of half the height, by a convolution or by two poolings."""

    def __init__(self, in_channels: int, out_channels: int, size: Size, types: str) -> None:
        super().__init__()
        self.size = size
        self.types = types
        if types == "Pool":
            self.proj = nn.Linear(in_channels, out_channels)
        else:
            self.conv = nn.Conv2d(in_channels, out_channels, 3, stride=(2, 1), padding=1)
        self.norm = nn.LayerNorm(out_channels, eps=1e-5)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, H * W, in_channels)` to `(N, H / 2 * W, out_channels)`."""
        x = to_map(x, self.size)
        if self.types == "Pool":
            # Paddle's mean leaves the padding out.
            mean = F.avg_pool2d(x, (3, 5), (2, 1), (1, 2), count_include_pad=False)
            x = (mean + F.max_pool2d(x, (3, 5), (2, 1), (1, 2))) * 0.5
            x = self.proj(to_sequence(x))
        else:
            x = to_sequence(self.conv(x))
        return self.norm(x)


class SVTRNet(nn.Module):
    """SVTRNet for images of one size, `img_size`; the options are PaddleOCR's.

    `mixer` names the token mixer of each block: `Conv`, `Local` or `Global`. Where
    `patch_merging` is `Conv` or `Pool`, the height is halved between the stages. `last_stage` makes
    a map of height 1 and width `out_char_num` of the sequence. `act` is the activation of the
    blocks. With `use_lenhead`, a second result describes the text's length; PaddleOCR has no neck
    that reads both. In training, `drop_rate` of the values and `attn_drop_rate` of the weights of
    attention are left out, and branches of blocks, from none in the first to `drop_path_rate` in
    the last.
    """

    def __init__(
        self,
        in_channels: int = 3,
        img_size: Sequence[int] = (32, 100),
        embed_dim: Sequence[int] = (64, 128, 256),
        depth: Sequence[int] = (3, 6, 3),
        num_heads: Sequence[int] = (2, 4, 8),
        mixer: Sequence[str] = (*["Local"] * 6, *["Global"] * 6),
        local_mixer: Sequence[Sequence[int]] = ((7, 11), (7, 11), (7, 11)),
        patch_merging: str | None = "Conv",
        mlp_ratio: float = 4,
        qkv_bias: bool = True,
        drop_rate: float = 0.0,
        last_drop: float = 0.1,
        attn_drop_rate: float = 0.0,
        drop_path_rate: float = 0.1,
        epsilon: float = 1e-6,
        out_channels: int = 192,
        out_char_num: int = 25,
        last_stage: bool = True,
        sub_num: int = 2,
        prenorm: bool = True,
        act: str = "nn.GELU",
        use_lenhead: bool = False,
    ) -> None:
        super().__init__()
        if act not in ACTS:
            raise ValueError(f"SVTRNet has no act {act!r}; known: {', '.join(ACTS)}")
        if len(mixer) < sum(depth) or set(mixer) - set(MIXERS):
            raise ValueError(
                f"SVTRNet takes one mixer of {', '.join(MIXERS)} for each of {sum(depth)} blocks, "
                f"not {', '.join(map(str, mixer))}"
            )
        self.img_size = (img_size[0], img_size[1])
        self.out_channels = out_channels
        self.drop_rate = drop_rate
        self.last_drop = last_drop
        drops = iter(rising(Drops(drop_rate, attn_drop_rate, drop_path_rate), sum(depth)))
        height, width = (side // 2**sub_num for side in self.img_size)
        self.patch_embed = PatchEmbed(in_channels, embed_dim[0], sub_num)
        self.pos_embed = nn.Parameter(torch.empty(1, height * width, embed_dim[0]))
        nn.init.trunc_normal_(self.pos_embed, std=0.02)

        def block(stage: int, kind: str) -> Block:
            dim, heads, size = embed_dim[stage], num_heads[stage], (height, width)
            window = (local_mixer[stage][0], local_mixer[stage][1])
            dropped = next(drops)
            mix: nn.Module = Attention(
                dim, heads, qkv_bias, size, window if kind == "Local" else None, dropped
            )
            if kind == "Conv":
                mix = ConvMixer(dim, heads, size, window)
            return Block(
                dim,
                heads,
                mlp_ratio,
                qkv_bias,
                mixer=mix,
                act=ACTS[act],
                eps=epsilon,
                prenorm=prenorm,
                drops=dropped,
            )

        merged = patch_merging in MERGING
        kinds = iter(mixer)
        stages: list[nn.Module] = []
        merges: list[nn.Module] = []
        for stage, count in enumerate(depth):
            if stage:
                widths = embed_dim[stage - 1], embed_dim[stage]
                merge = SubSample(*widths, (height, width), str(patch_merging)) if merged else None
                merges.append(merge or nn.Identity())
                height //= 2 if merged else 1
            stages.append(nn.Sequential(*(block(stage, next(kinds)) for _ in range(count))))
        self.blocks1, self.blocks2, self.blocks3 = stages
        self.sub_sample1, self.sub_sample2 = merges
        self.size = (height, width)
        self.norm = nn.Identity() if prenorm else nn.LayerNorm(embed_dim[-1], eps=epsilon)
        self.last_conv: nn.Conv2d | None = None
        if last_stage:
            self.avg_pool = nn.AdaptiveAvgPool2d((1, out_char_num))
            self.last_conv = nn.Conv2d(embed_dim[-1], out_channels, 1, bias=False)
        self.len_conv = nn.Linear(embed_dim[-1], out_channels) if use_lenhead else None

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """`(N, 3, *img_size)` to `(N, T, embed_dim[-1])`.

        With `last_stage`, to `(N, out_channels, 1, out_char_num)`; with `use_lenhead`, to that and
        `(N, out_channels)`.
        """
        torch._assert(x.shape[2:] == self.img_size, "SVTRNet accepts images of its img_size only")
        x = self.patch_embed(x) + self.pos_embed
        x = self.blocks1(F.dropout(x, self.drop_rate) if self.training else x)
        x = self.blocks2(self.sub_sample1(x))
        x = self.norm(self.blocks3(self.sub_sample2(x)))
        sequence = x
        if self.last_conv is not None:
            x = self._last_drop(self.last_conv(self.avg_pool(to_map(x, self.size))))
        if self.len_conv is None:
            return x
        return x, self._last_drop(self.len_conv(sequence.mean(1)))

    def _last_drop(self, x: Tensor) -> Tensor:
        return drop_unscaled(F.hardswish(x), self.last_drop, self.training)
