"""Sequence encoders of recognisers: reshape only, BiLSTM, or SVTR blocks.

CRNN, https://arxiv.org/abs/1507.05717; SVTR, https://arxiv.org/abs/2205.00159;
PaddleOCR: `ppocr/modeling/necks/rnn.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from architectures.layers.dropping import Drops
from architectures.layers.svtr_blocks import Block


def image_to_sequence(x: Tensor) -> Tensor:
    """`(N, C, 1, W)` to `(N, W, C)`."""
    torch._assert(isinstance(x, Tensor), "the backbone returns several maps; no encoder reads them")
    torch._assert(x.shape[2] == 1, "the feature map must have height 1: check the image's height")
    return x.squeeze(2).transpose(1, 2)


class EncoderWithRNN(nn.Module):
    """Two layers of bidirectional LSTM."""

    def __init__(self, in_channels: int, hidden_size: int) -> None:
        super().__init__()
        self.out_channels = 2 * hidden_size
        self.lstm = nn.LSTM(in_channels, hidden_size, 2, batch_first=True, bidirectional=True)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, in_channels, 1, W)` to `(N, W, 2 * hidden_size)`."""
        return self.lstm(image_to_sequence(x))[0]


class EncoderWithFC(nn.Module):
    """A linear layer on each column."""

    def __init__(self, in_channels: int, hidden_size: int) -> None:
        super().__init__()
        self.out_channels = hidden_size
        self.fc = nn.Linear(in_channels, hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, in_channels, 1, W)` to `(N, W, hidden_size)`."""
        return self.fc(image_to_sequence(x))


class BidirectionalLSTM(nn.Module):
    """One layer of bidirectional LSTM, and a linear layer if `with_linear`."""

    def __init__(
        self, in_channels: int, hidden_size: int, out_channels: int, with_linear: bool
    ) -> None:
        super().__init__()
        self.rnn = nn.LSTM(in_channels, hidden_size, batch_first=True, bidirectional=True)
        self.linear = nn.Linear(2 * hidden_size, out_channels) if with_linear else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """`(N, W, in_channels)` to `(N, W, out_channels)`."""
        return self.linear(self.rnn(x)[0])


class EncoderWithCascadeRNN(nn.Module):
    """Two layers of bidirectional LSTM, each with a linear layer behind it if `with_linear`."""

    def __init__(
        self, in_channels: int, hidden_size: int, widths: Sequence[int], with_linear: bool
    ) -> None:
        super().__init__()
        first, self.out_channels = widths
        self.encoder = nn.Sequential(
            BidirectionalLSTM(in_channels, hidden_size, first, with_linear),
            BidirectionalLSTM(first, hidden_size, self.out_channels, with_linear),
        )

    def forward(self, x: Tensor) -> Tensor:
        """`(N, in_channels, 1, W)` to `(N, W, out_channels)`."""
        return self.encoder(image_to_sequence(x))


class ConvNormSwish(nn.Module):
    """Convolution that keeps the size, BatchNorm, swish."""

    folds: ClassVar = (("conv", "norm"),)

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: tuple[int, int] = (1, 1)
    ) -> None:
        super().__init__()
        padding = (kernel_size[0] // 2, kernel_size[1] // 2)
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size, padding=padding, bias=False)
        self.norm = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, in_channels, H, W)` to `(N, out_channels, H, W)`."""
        return F.silu(self.norm(self.conv(x)))


class EncoderWithSVTR(nn.Module):
    """Convolutions into a narrow map, SVTR blocks, convolutions that join it to the input."""

    def __init__(
        self,
        in_channels: int,
        dims: int,
        depth: int,
        hidden_dims: int,
        num_heads: int,
        qkv_bias: bool,
        mlp_ratio: float,
        kernel_size: tuple[int, int],
        drops: Drops,
    ) -> None:
        super().__init__()
        narrow = in_channels // 8
        self.out_channels = dims
        self.conv1 = ConvNormSwish(in_channels, narrow, kernel_size)
        self.conv2 = ConvNormSwish(narrow, hidden_dims)
        self.svtr_block = nn.Sequential(
            *(Block(hidden_dims, num_heads, mlp_ratio, qkv_bias, drops=drops) for _ in range(depth))
        )
        self.norm = nn.LayerNorm(hidden_dims, eps=1e-6)
        self.conv3 = ConvNormSwish(hidden_dims, in_channels)
        self.conv4 = ConvNormSwish(2 * in_channels, narrow, kernel_size)
        self.conv1x1 = ConvNormSwish(narrow, dims)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, in_channels, 1, W)` to `(N, W, dims)`."""
        z = self.conv2(self.conv1(x))
        size = z.shape[2:]
        z = self.norm(self.svtr_block(z.flatten(2).transpose(1, 2)))
        z = self.conv3(z.transpose(1, 2).unflatten(2, size))
        return image_to_sequence(self.conv1x1(self.conv4(torch.cat([x, z], 1))))


class LocalConv(nn.Sequential):
    """A depthwise convolution along the width that keeps the size, BatchNorm, swish."""

    folds: ClassVar = (("0", "1"),)

    def __init__(self, channels: int, width: int) -> None:
        padding = (0, width // 2)
        super().__init__(
            nn.Conv2d(channels, channels, (1, width), padding=padding, groups=channels, bias=False),
            nn.BatchNorm2d(channels),
            nn.SiLU(),
        )


class EncoderWithLightSVTR(nn.Module):
    """SVTR blocks on a narrowed map, its neighbours mixed in first; the map is added behind."""

    def __init__(
        self,
        in_channels: int,
        dims: int,
        depth: int,
        num_heads: int,
        qkv_bias: bool,
        mlp_ratio: float,
        local_kernel: int,
        drops: Drops,
    ) -> None:
        super().__init__()
        self.out_channels = dims
        self.conv_reduce = ConvNormSwish(in_channels, dims)
        self.local_conv = LocalConv(dims, local_kernel)
        self.svtr_block = nn.Sequential(
            *(Block(dims, num_heads, mlp_ratio, qkv_bias, drops=drops) for _ in range(depth))
        )
        self.norm = nn.LayerNorm(dims, eps=1e-6)
        self.skip_conv = ConvNormSwish(in_channels, dims)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, in_channels, 1, W)` to `(N, W, dims)`."""
        z = self.conv_reduce(x)
        z = image_to_sequence(z + self.local_conv(z))
        return self.norm(self.svtr_block(z)) + image_to_sequence(self.skip_conv(x))


class Reshape(nn.Module):
    """The sequence of the map's columns, unchanged."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.out_channels = in_channels

    def forward(self, x: Tensor) -> Tensor:
        """`(N, in_channels, 1, W)` to `(N, W, in_channels)`."""
        return image_to_sequence(x)


class SequenceEncoder(nn.Module):
    """The encoder of that type: `reshape`, `fc`, `rnn`, `cascadernn`, `svtr` or `lightsvtr`.

    `fc`, `rnn` and `cascadernn` take `hidden_size`; only the last takes `out_channels`, of two
    layers.
    Only `svtr` takes `hidden_dims` and `kernel_size`, only `lightsvtr` takes `local_kernel`; where
    `depth` and `mlp_ratio` are not given, `lightsvtr` has one block of ratio 4, `svtr` two of 2.
    The last three are what these two leave out in training.
    """

    def __init__(
        self,
        in_channels: int,
        encoder_type: str,
        hidden_size: int = 48,
        dims: int = 64,
        depth: int | None = None,
        hidden_dims: int = 120,
        num_heads: int = 8,
        qkv_bias: bool = True,
        mlp_ratio: float | None = None,
        kernel_size: Sequence[int] = (3, 3),
        local_kernel: int = 7,
        out_channels: Sequence[int] = (),
        with_linear: bool = False,
        drop_rate: float = 0.1,
        attn_drop_rate: float = 0.1,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        drops = Drops(drop_rate, attn_drop_rate, drop_path)
        self.encoder: (
            Reshape
            | EncoderWithFC
            | EncoderWithRNN
            | EncoderWithCascadeRNN
            | EncoderWithSVTR
            | EncoderWithLightSVTR
        )
        if encoder_type == "reshape":
            self.encoder = Reshape(in_channels)
        elif encoder_type == "fc":
            self.encoder = EncoderWithFC(in_channels, hidden_size)
        elif encoder_type == "rnn":
            self.encoder = EncoderWithRNN(in_channels, hidden_size)
        elif encoder_type == "cascadernn":
            self.encoder = EncoderWithCascadeRNN(
                in_channels, hidden_size, out_channels, with_linear
            )
        elif encoder_type == "svtr":
            height, width = kernel_size
            self.encoder = EncoderWithSVTR(
                in_channels,
                dims,
                2 if depth is None else depth,
                hidden_dims,
                num_heads,
                qkv_bias,
                2.0 if mlp_ratio is None else mlp_ratio,
                (height, width),
                drops,
            )
        elif encoder_type == "lightsvtr":
            self.encoder = EncoderWithLightSVTR(
                in_channels,
                dims,
                1 if depth is None else depth,
                num_heads,
                qkv_bias,
                4.0 if mlp_ratio is None else mlp_ratio,
                local_kernel,
                drops,
            )
        else:
            raise ValueError(
                f"SequenceEncoder has no encoder_type {encoder_type!r}; known: reshape, fc, "
                "rnn, cascadernn, svtr, lightsvtr"
            )
        self.out_channels = self.encoder.out_channels

    def forward(self, x: Tensor) -> Tensor:
        """`(N, in_channels, 1, W)` to `(N, W, out_channels)`."""
        return self.encoder(x)
