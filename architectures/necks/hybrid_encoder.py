"""RT-DETR's hybrid encoder: a transformer on the coarsest map, then fusion from coarse to fine.

DETRs Beat YOLOs on Real-time Object Detection, https://arxiv.org/abs/2304.08069; PaddleDetection:
`ppdet/modeling/transformers/hybrid_encoder.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from architectures.layers.packed_attention import PackedAttention
from architectures.reparameterize import folded, set_branch, set_convolution

TEMPERATURE = 10000.0


class ConvBN(nn.Module):
    """Convolution that keeps the size at stride 1, BatchNorm, and SiLU if `act`."""

    folds = (("conv", "bn"),)
    activates = (("conv", "act"),)

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        act: bool = True,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            in_channels, out_channels, kernel_size, stride, kernel_size // 2, bias=False
        )
        self.bn = nn.BatchNorm2d(out_channels)
        self.act = nn.SiLU() if act else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """`(N, in_channels, H, W)` to `(N, out_channels, H / stride, W / stride)`."""
        return self.act(self.bn(self.conv(x)))


class RepVggBlock(nn.Module):
    """The sum of a 3x3 and a 1x1 convolution; one 3x3 convolution, `conv`, in the deploy form."""

    activates = (("conv", "act"),)

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1: nn.Module = ConvBN(channels, channels, 3, act=False)
        self.conv2: nn.Module = ConvBN(channels, channels, 1, act=False)
        self.conv: nn.Module | None = None
        self.act = nn.SiLU()

    def forward(self, x: Tensor) -> Tensor:
        """`(N, channels, H, W)` to the same shape."""
        y = self.conv1(x) + self.conv2(x) if self.conv is None else self.conv(x)
        return self.act(y)

    def deployed(self) -> nn.Module:
        """Return the block with one convolution in place of the two."""
        first, second = self.conv1, self.conv2
        assert isinstance(first, ConvBN)
        assert isinstance(second, ConvBN)

        def merged() -> tuple[Tensor, Tensor]:
            (weight, bias), (centre, offset) = (folded(m.conv, m.bn) for m in (first, second))
            return weight + F.pad(centre, (1, 1, 1, 1)), bias + offset

        convolution = first.conv
        set_convolution(convolution, merged)
        self.conv = convolution
        del self.conv1, self.conv2
        return self

    def restore(self, conv: nn.Conv2d) -> None:
        """Let the 3x3 branch compute `conv`; the 1x1 one is zero."""
        assert isinstance(self.conv1, ConvBN)
        set_branch(self.conv1.conv, self.conv1.bn, conv)


class CSPRepLayer(nn.Module):
    """Two pointwise branches, one of them through re-parameterisable blocks, added."""

    def __init__(self, in_channels: int, out_channels: int, blocks: int, expansion: float) -> None:
        super().__init__()
        hidden = int(out_channels * expansion)
        self.conv1 = ConvBN(in_channels, hidden, 1)
        self.conv2 = ConvBN(in_channels, hidden, 1)
        self.bottlenecks = nn.Sequential(*(RepVggBlock(hidden) for _ in range(blocks)))
        self.conv3 = ConvBN(hidden, out_channels, 1) if hidden != out_channels else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """`(N, in_channels, H, W)` to `(N, out_channels, H, W)`."""
        return self.conv3(self.bottlenecks(self.conv1(x)) + self.conv2(x))


class TransformerLayer(nn.Module):
    """A post-norm transformer block with GELU."""

    def __init__(self, dim: int, num_heads: int, dim_feedforward: int) -> None:
        super().__init__()
        self.self_attn = PackedAttention(dim, num_heads)
        self.linear1 = nn.Linear(dim, dim_feedforward)
        self.linear2 = nn.Linear(dim_feedforward, dim)
        self.norm1 = nn.LayerNorm(dim)
        self.norm2 = nn.LayerNorm(dim)

    def forward(self, x: Tensor, positions: Tensor) -> Tensor:
        """`(N, T, dim)` and position embeddings `(1, T, dim)` to `(N, T, dim)`."""
        x = self.norm1(x + self.self_attn(x, positions))
        return self.norm2(x + self.linear2(F.gelu(self.linear1(x))))


class TransformerEncoder(nn.Module):
    """Transformer blocks over the pixels of a map."""

    def __init__(self, dim: int, num_heads: int, dim_feedforward: int, depth: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            TransformerLayer(dim, num_heads, dim_feedforward) for _ in range(depth)
        )

    def forward(self, x: Tensor) -> Tensor:
        """`(N, dim, H, W)` to the same shape."""
        height, width = x.shape[2:]
        positions = position_embedding(width, height, x)
        tokens = x.flatten(2).transpose(1, 2)
        for layer in self.layers:
            tokens = layer(tokens, positions)
        return tokens.transpose(1, 2).unflatten(2, (height, width))


def position_embedding(width: int, height: int, like: Tensor) -> Tensor:
    """Return sines and cosines of columns and rows.

    PaddleDetection enumerates the grid column by column and the map row by row, so on maps that are
    not square a token does not get the embedding of its own place. Released weights are trained so.

    Args:
        width: of the map.
        height: of the map.
        like: `(N, C, H, W)`, C a multiple of 4; gives width, type and device.

    Returns:
        `(1, width * height, C)`.
    """
    quarter = like.shape[1] // 4
    steps = torch.arange(quarter, dtype=like.dtype, device=like.device) / quarter
    omega = 1.0 / TEMPERATURE**steps
    columns, rows = torch.meshgrid(
        torch.arange(width, dtype=like.dtype, device=like.device),
        torch.arange(height, dtype=like.dtype, device=like.device),
        indexing="ij",
    )
    x, y = (grid.flatten()[:, None] * omega for grid in (columns, rows))
    return torch.cat([x.sin(), x.cos(), y.sin(), y.cos()], 1)[None]


class HybridEncoder(nn.Module):
    """Attention within a map, then fusion across maps.

    Args:
        in_channels: of the maps, from fine to coarse.
        hidden_dim: channels of every fused map.
        use_encoder_idx: maps that pass through a transformer.
        num_encoder_layers: blocks of each transformer.
        nhead: heads of the transformer.
        dim_feedforward: inner width of its feed-forward layers.
        expansion: inner width of the fusing layers, as a share.
        depth_mult: share of the three blocks in a fusing layer.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        hidden_dim: int = 256,
        use_encoder_idx: Sequence[int] = (2,),
        num_encoder_layers: int = 1,
        nhead: int = 8,
        dim_feedforward: int = 1024,
        expansion: float = 1.0,
        depth_mult: float = 1.0,
    ) -> None:
        super().__init__()
        self.use_encoder_idx = tuple(use_encoder_idx) if num_encoder_layers else ()
        self.out_channels = [hidden_dim] * len(in_channels)
        self.input_proj = nn.ModuleList(
            Projection(nn.Conv2d(channels, hidden_dim, 1, bias=False), nn.BatchNorm2d(hidden_dim))
            for channels in in_channels
        )
        self.encoder = nn.ModuleList(
            TransformerEncoder(hidden_dim, nhead, dim_feedforward, num_encoder_layers)
            for _ in use_encoder_idx
        )
        blocks, steps = round(3 * depth_mult), range(len(in_channels) - 1)

        def fusing() -> CSPRepLayer:
            return CSPRepLayer(2 * hidden_dim, hidden_dim, blocks, expansion)

        self.lateral_convs = nn.ModuleList(ConvBN(hidden_dim, hidden_dim, 1) for _ in steps)
        self.fpn_blocks = nn.ModuleList(fusing() for _ in steps)
        self.downsample_convs = nn.ModuleList(ConvBN(hidden_dim, hidden_dim, 3, 2) for _ in steps)
        self.pan_blocks = nn.ModuleList(fusing() for _ in steps)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Maps of `in_channels`, fine to coarse, to maps of `hidden_dim` channels."""
        projected = [layer(x) for layer, x in zip(self.input_proj, maps, strict=True)]
        for encoder, index in zip(self.encoder, self.use_encoder_idx, strict=False):
            projected[index] = encoder(projected[index])
        fused = [projected[-1]]
        for lateral, block, finer in zip(
            self.lateral_convs, self.fpn_blocks, projected[-2::-1], strict=True
        ):
            fused[0] = lateral(fused[0])
            upsampled = F.interpolate(fused[0], scale_factor=2.0, mode="nearest")
            fused.insert(0, block(torch.cat([upsampled, finer], 1)))
        results = [fused[0]]
        for downsample, block, coarser in zip(
            self.downsample_convs, self.pan_blocks, fused[1:], strict=True
        ):
            results.append(block(torch.cat([downsample(results[-1]), coarser], 1)))
        return results


class Projection(nn.Sequential):
    """1x1 convolution and BatchNorm."""

    folds = (("0", "1"),)
