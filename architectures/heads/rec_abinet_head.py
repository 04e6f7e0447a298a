"""ABINet: a vision model, and a language model that corrects its text.

Read Like Humans: Autonomous, Bidirectional and Iterative Language Modeling for Scene Text
Recognition, https://arxiv.org/abs/2103.06495; PaddleOCR: `ppocr/modeling/heads/rec_abinet_head.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from architectures.interfaces import OutputPart
from architectures.layers.attention import TransformerBlock, sinusoids
from architectures.layers.svtr_blocks import to_map, to_sequence

END = 0  # the class after the last character
SHORTEST = 2  # the language model sees two characters at least, END counted


def lengths(logits: Tensor) -> Tensor:
    """How many characters each line has, END counted: `(N, T, classes)` to `(N,)`."""
    ends = logits.argmax(-1) == END
    return torch.where(ends.any(-1), ends.int().argmax(-1) + 1, logits.shape[1])


def others(length: Tensor, places: int) -> Tensor:
    """The mask by which each place sees the text but for itself: `(N, 1, places, places)` bool."""
    within = torch.arange(places, device=length.device) < length[:, None]
    itself = torch.eye(places, dtype=torch.bool, device=length.device)
    return (within[:, None] & ~itself).unsqueeze(1)


class BCNLanguage(nn.Module):
    """The bidirectional cloze network: predicts each character from all others."""

    def __init__(
        self,
        d_model: int,
        nhead: int,
        num_layers: int,
        dim_feedforward: int,
        max_length: int,
        num_classes: int,
    ) -> None:
        super().__init__()
        self.d_model = d_model
        self.max_length = max_length + 1
        self.proj = nn.Linear(num_classes, d_model, bias=False)
        self.decoder = nn.ModuleList(
            TransformerBlock(
                d_model, nhead, dim_feedforward, with_self_attn=False, with_cross_attn=True
            )
            for _ in range(num_layers)
        )
        self.cls: nn.Linear | None = nn.Linear(d_model, num_classes)

    def forward(self, tokens: Tensor, length: Tensor) -> tuple[Tensor, Tensor | None]:
        """`tokens: (N, T, classes)` probabilities to features `(N, T, d_model)` and scores.

        The scores are for training, and None in the deploy form.
        """
        positions = sinusoids(self.max_length, self.d_model, tokens)
        embedded = self.proj(tokens) + positions
        mask = others(length, self.max_length)
        query = positions.expand(tokens.shape[0], -1, -1)
        for block in self.decoder:
            query = block(query, embedded, memory_mask=mask)
        return query, None if self.cls is None else self.cls(query)


class EncoderLayer(nn.Sequential):
    """A 3x3 convolution with a stride, BatchNorm, ReLU."""

    folds: ClassVar = (("0", "1"),)

    def __init__(self, in_channels: int, channels: int, stride: tuple[int, int]) -> None:
        super().__init__(
            nn.Conv2d(in_channels, channels, 3, stride, padding=1),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
        )


class DecoderLayer(nn.Sequential):
    """The map enlarged, twofold or to a size, a 3x3 convolution, BatchNorm, ReLU."""

    folds: ClassVar = (("1", "2"),)

    def __init__(
        self, in_channels: int, channels: int, size: tuple[int, int] | None = None
    ) -> None:
        super().__init__(
            nn.Upsample(size, scale_factor=None if size else 2),
            nn.Conv2d(in_channels, channels, 3, padding=1),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
        )


class PositionAttention(nn.Module):
    """Each character's place, as a query, attends to a map of keys that a small U-Net makes."""

    def __init__(
        self, max_length: int, in_channels: int, size: tuple[int, int], num_channels: int = 64
    ) -> None:
        super().__init__()
        self.max_length = max_length
        strides = ((1, 2), (2, 2), (2, 2), (2, 2))
        widths = (in_channels, *[num_channels] * 3)
        self.k_encoder = nn.ModuleList(
            EncoderLayer(width, num_channels, stride)
            for width, stride in zip(widths, strides, strict=True)
        )
        self.k_decoder = nn.ModuleList(
            [
                *(DecoderLayer(num_channels, num_channels) for _ in range(3)),
                DecoderLayer(num_channels, in_channels, size),
            ]
        )
        self.project = nn.Linear(in_channels, in_channels)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, C, H, W)` to `(N, max_length, C)`."""
        k = x
        finer = []
        for encoder in self.k_encoder:
            k = encoder(k)
            finer.append(k)
        *decoders, last = self.k_decoder
        for decoder, skipped in zip(decoders, reversed(finer[:-1]), strict=True):
            k = decoder(k) + skipped
        k = last(k)
        q = self.project(sinusoids(self.max_length, x.shape[1], x).expand(x.shape[0], -1, -1))
        # With an axis for one head, as ONNX needs it.
        q, k, values = q[:, None], to_sequence(k)[:, None], to_sequence(x)[:, None]
        return F.scaled_dot_product_attention(q, k, values)[:, 0]


class ABINetHead(OutputPart):
    """Reads an image of `image_size`; with `use_lang`, corrects it `iter_size` times."""

    def __init__(
        self,
        in_channels: int | None,  # noqa: ARG002, the backbone's width is `d_model`
        out_channels: int,
        d_model: int = 512,
        nhead: int = 8,
        num_layers: int = 3,
        dim_feedforward: int = 2048,
        max_length: int = 25,
        use_lang: bool = False,
        iter_size: int = 1,
        image_size: Sequence[int] = (32, 128),
    ) -> None:
        super().__init__()
        self.places = max_length + 1
        size = (image_size[0] // 4, image_size[1] // 4)
        self.encoder = nn.Sequential(
            *(TransformerBlock(d_model, nhead, dim_feedforward) for _ in range(num_layers))
        )
        self.decoder = PositionAttention(self.places, d_model, size)
        self.cls = nn.Linear(d_model, out_channels)
        self.use_lang = use_lang
        self.iter_size = iter_size
        if use_lang:
            self.language = BCNLanguage(
                d_model, nhead, 4, dim_feedforward, max_length, out_channels
            )
            self.w_att_align = nn.Linear(2 * d_model, d_model)
            self.cls_align = nn.Linear(d_model, out_channels)
        # The logits are those of the last correction, where there is one.
        self.logits_layers = ("cls_align",) if use_lang else ("cls",)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, d_model, H / 4, W / 4)` to probabilities `(N, max_length + 1, out_channels)`."""
        size = (x.shape[2], x.shape[3])
        x = to_sequence(x)
        x = self.encoder(x + sinusoids(x.shape[1], x.shape[2], x))
        seen = self.decoder(to_map(x, size))
        logits = self.cls(seen)
        if self.use_lang:
            for _ in range(self.iter_size):
                length = lengths(logits).clamp(SHORTEST, self.places)
                known, _ = self.language(logits.softmax(-1), length)
                gate = self.w_att_align(torch.cat([known, seen], -1)).sigmoid()
                logits = self.cls_align(gate * seen + (1 - gate) * known)
        return logits.softmax(-1)

    def deployed(self) -> nn.Module:
        """The head without the scores of the language model, which only training uses."""
        if self.use_lang:
            self.language.cls = None
        return self
