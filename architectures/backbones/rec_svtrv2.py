"""SVTRv2: an image in patches, mixed by convolutions at first and by attention at last.

SVTRv2, https://arxiv.org/abs/2411.15858; PaddleOCR: `ppocr/modeling/backbones/rec_svtrv2.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from architectures.backbones.rec_svtrnet import ConvNormGelu
from architectures.layers.dropping import Drops, drop_branch, rising
from architectures.layers.pooling import avg_pool2d
from architectures.layers.svtr_blocks import Block, Mlp, Size, to_map, to_sequence
from architectures.registry import UnknownArchitecture


class POPatchEmbed(nn.Module):
    """The image at a quarter of its size."""

    def __init__(self, in_channels: int, embed_dim: int) -> None:
        super().__init__()
        self.patch_embed = nn.Sequential(
            ConvNormGelu(in_channels, embed_dim // 2), ConvNormGelu(embed_dim // 2, embed_dim)
        )

    def forward(self, x: Tensor) -> Tensor:
        """`(N, in_channels, H, W)` to `(N, embed_dim, H / 4, W / 4)`."""
        return self.patch_embed(x)


class ConvBlock(nn.Module):
    """A block of SVTR that mixes by a 5x5 convolution, in as many groups as there were heads."""

    def __init__(
        self, dim: int, num_heads: int, mlp_ratio: float, eps: float, drops: Drops
    ) -> None:
        super().__init__()
        self.drops = drops
        self.norm1 = nn.LayerNorm(dim, eps=eps)
        self.mixer = nn.Conv2d(dim, dim, 5, padding=2, groups=num_heads)
        self.norm2 = nn.LayerNorm(dim, eps=eps)
        self.mlp = Mlp(dim, int(dim * mlp_ratio), "gelu", drops)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, dim, H, W)` to the same shape."""
        size = (x.shape[2], x.shape[3])
        x = self.norm1(to_sequence(x + self._branch(self.mixer(x))))
        return to_map(self.norm2(x + self._branch(self.mlp(x))), size)

    def _branch(self, x: Tensor) -> Tensor:
        return drop_branch(x, self.drops.branches, self.training)


class FlattenTranspose(nn.Module):
    """The activation between the convolutions and attention."""

    def forward(self, x: Tensor) -> Tensor:
        """`(N, C, H, W)` to `(N, H * W, C)`."""
        return to_sequence(x)


class SubSample(nn.Module):
    """Patch merging by a 3x3 convolution."""

    def __init__(self, in_channels: int, out_channels: int, stride: Sequence[int]) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            in_channels, out_channels, 3, stride=(stride[0], stride[1]), padding=1
        )
        self.norm = nn.LayerNorm(out_channels, eps=1e-5)

    def forward(self, x: Tensor) -> tuple[Tensor, Size]:
        """`(N, in_channels, H, W)` to `(N, T, out_channels)` and the height and width of it."""
        x = self.conv(x)
        return self.norm(to_sequence(x)), (x.shape[2], x.shape[3])


class SVTRStage(nn.Module):
    """Blocks of one width; `mixer` names the token mixer of each, `Conv` in the first ones.

    All but the last stage end in a smaller map of `out_dim` channels.
    """

    def __init__(
        self,
        dim: int,
        out_dim: int | None,
        mixer: Sequence[str],
        sub_k: Sequence[int],
        num_heads: int,
        mlp_ratio: float,
        qkv_bias: bool,
        eps: float,
        drops: Sequence[Drops],
    ) -> None:
        super().__init__()
        convolutions = list(mixer).count("Conv")
        attentions = len(mixer) - convolutions
        if list(mixer) != ["Conv"] * convolutions + ["Global"] * attentions:
            raise ValueError(
                f"a stage of SVTRv2 mixes by Conv first, then by Global, not by {', '.join(mixer)}"
            )
        blocks: list[nn.Module] = [
            ConvBlock(dim, num_heads, mlp_ratio, eps, each) for each in drops[:convolutions]
        ]
        if convolutions and attentions:
            blocks.append(FlattenTranspose())
        blocks += [
            Block(
                dim, num_heads, mlp_ratio, qkv_bias, act="gelu", eps=eps, prenorm=True, drops=each
            )
            for each in drops[convolutions:]
        ]
        self.flat = attentions > 0
        self.blocks = nn.Sequential(*blocks)
        self.downsample = None if out_dim is None else SubSample(dim, out_dim, sub_k)

    def forward(self, x: Tensor, size: Size) -> tuple[Tensor, Size]:
        """`(N, dim, H, W)`, or `(N, H * W, dim)` as attention takes and gives it, and its size."""
        x = self.blocks(x)
        if self.downsample is None:
            return x, size
        x, size = self.downsample(to_map(x, size) if self.flat else x)
        return x if self.flat else to_map(x, size), size


class SVTRv2(nn.Module):
    """SVTRv2 for lines of any width; the options are PaddleOCR's.

    With `use_pool`, the result is a map of height 1; without, a sequence of patches. What training
    leaves out is as in SVTRNet.
    """

    def __init__(
        self,
        in_channels: int = 3,
        depths: Sequence[int] = (3, 6, 3),
        dims: Sequence[int] = (64, 128, 256),
        mixer: Sequence[Sequence[str]] = (
            ("Conv",) * 3,
            (*("Conv",) * 3, *("Global",) * 3),
            ("Global",) * 3,
        ),
        use_pos_embed: bool = False,
        sub_k: Sequence[Sequence[int]] = ((1, 1), (2, 1), (1, 1)),
        num_heads: Sequence[int] = (2, 4, 8),
        mlp_ratio: float = 4,
        qkv_bias: bool = True,
        last_stage: bool = False,
        eps: float = 1e-6,
        use_pool: bool = False,
        drop_rate: float = 0.0,
        attn_drop_rate: float = 0.0,
        drop_path_rate: float = 0.1,
    ) -> None:
        super().__init__()
        if use_pos_embed or last_stage:
            raise UnknownArchitecture(
                "SVTRv2 is mirrored as it was released, without use_pos_embed and last_stage"
            )
        if [len(names) for names in mixer] != list(depths):
            raise ValueError(
                f"SVTRv2 takes one mixer for each block of {', '.join(map(str, depths))}"
            )
        drops = rising(Drops(drop_rate, attn_drop_rate, drop_path_rate), sum(depths))
        starts = [sum(depths[:stage]) for stage in range(len(depths))]
        self.use_pool = use_pool
        self.out_channels = dims[-1]
        self.pope = POPatchEmbed(in_channels, dims[0])
        self.stages = nn.ModuleList(
            SVTRStage(
                dims[stage],
                dims[stage + 1] if stage + 1 < len(dims) else None,
                names,
                sub_k[stage],
                num_heads[stage],
                mlp_ratio,
                qkv_bias,
                eps,
                drops[starts[stage] : starts[stage] + len(names)],
            )
            for stage, names in enumerate(mixer)
        )
        self.starts_flat = mixer[0][0] != "Conv"
        self.ends_flat = mixer[-1][-1] != "Conv"

    def forward(self, x: Tensor) -> Tensor:
        """`(N, 3, H, W)`, sides multiples of 4, to `(N, T, out_channels)`.

        With `use_pool`, to `(N, out_channels, 1, W / 8)`.
        """
        x = self.pope(x)
        size = (x.shape[2], x.shape[3])
        x = to_sequence(x) if self.starts_flat else x
        for stage in self.stages:
            x, size = stage(x, size)
        if not self.use_pool:
            return x if self.ends_flat else to_sequence(x)
        return avg_pool2d(to_map(x, size) if self.ends_flat else x, (size[0], 2))
