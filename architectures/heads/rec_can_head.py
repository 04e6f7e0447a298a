"""The head of CAN: counts the symbols of a formula, then spells it out by a recurrent decoder.

When Counting Meets HMER, https://arxiv.org/abs/2207.11463; PaddleOCR:
`ppocr/modeling/heads/rec_can_head.py`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from architectures.interfaces import OutputPart

COUNTED, REDUCTION = 512, 16
COVERAGE, COVERAGE_KERNEL = 512, 11
SINES, TEMPERATURE = 256, 10000
START = 1  # symbol
STEPS = 36  # symbols that are spelled out


class ChannelAtt(nn.Module):
    """Weighs each channel by two linear layers over the channel means."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc = nn.Sequential(
            nn.Linear(channels, channels // REDUCTION),
            nn.ReLU(),
            nn.Linear(channels // REDUCTION, channels),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """`(N, C, H, W)` to the same shape."""
        return x * self.fc(x.mean((2, 3)))[..., None, None]


class TransLayer(nn.Sequential):
    """A convolution and its BatchNorm."""

    folds: ClassVar = (("0", "1"),)

    def __init__(self, in_channels: int, kernel_size: int) -> None:
        super().__init__(
            nn.Conv2d(in_channels, COUNTED, kernel_size, padding=kernel_size // 2, bias=False),
            nn.BatchNorm2d(COUNTED),
        )


class CountingDecoder(nn.Module):
    """A map of each symbol, whose sum counts it."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int) -> None:
        super().__init__()
        self.trans_layer = TransLayer(in_channels, kernel_size)
        self.channel_att = ChannelAtt(COUNTED)
        self.pred_layer = nn.Sequential(
            nn.Conv2d(COUNTED, out_channels, 1, bias=False), nn.Sigmoid()
        )

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """`x: (N, in_channels, H, W)`, `mask: (N, 1, H, W)` to counts `(N, out_channels)`."""
        return (self.pred_layer(self.channel_att(self.trans_layer(x))) * mask).sum((2, 3))


def positions(mask: Tensor) -> Tensor:
    """Sine and cosine encoding of rows and columns, relative to the unmasked area.

    `mask: (N, H, W)` to `(N, 2 * SINES, H, W)`.
    """
    exponents = torch.arange(SINES, device=mask.device) // 2 * 2 / SINES
    waves = []
    for axis in (1, 2):
        places = mask.cumsum(axis)
        last = places.narrow(axis, places.shape[axis] - 1, 1)
        angles = (places / (last + 1e-6) * 2 * math.pi)[..., None] / TEMPERATURE**exponents
        pairs = torch.stack([angles[..., 0::2].sin(), angles[..., 1::2].cos()], -1)
        waves.append(pairs.flatten(3))
    return torch.cat(waves, 3).permute(0, 3, 1, 2)


class Attention(nn.Module):
    """Coverage attention: attends to the map by the decoder state and past attention."""

    def __init__(self, hidden_size: int, attention_dim: int) -> None:
        super().__init__()
        self.hidden_weight = nn.Linear(hidden_size, attention_dim)
        self.attention_conv = nn.Conv2d(
            1, COVERAGE, COVERAGE_KERNEL, padding=COVERAGE_KERNEL // 2, bias=False
        )
        self.attention_weight = nn.Linear(COVERAGE, attention_dim, bias=False)
        self.alpha_convert = nn.Linear(attention_dim, 1)

    def forward(self, keys: Tensor, hidden: Tensor, looked: Tensor, mask: Tensor) -> Tensor:
        """`keys: (N, H, W, attention_dim)`, `hidden: (N, hidden_size)`, `looked: (N, 1, H, W)`.

        How much it looks at each place, `(N, 1, H, W)`.
        """
        coverage = self.attention_weight(self.attention_conv(looked).permute(0, 2, 3, 1))
        query = self.hidden_weight(hidden)[:, None, None]
        energy = self.alpha_convert(torch.tanh(query + coverage + keys)).permute(0, 3, 1, 2)
        weights = (energy - energy.max()).exp() * mask
        return weights / (weights.sum((2, 3), keepdim=True) + 1e-10)


class AttDecoder(nn.Module):
    """A GRU cell over the symbols, with attention to the map; the options are PaddleOCR's."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        encoder_out_channel: int,
        word_num: int,
        counting_decoder_out_channel: int,
        attention: Mapping[str, int],
    ) -> None:
        super().__init__()
        width, kernel = attention["attention_dim"], attention["word_conv_kernel"]
        self.init_weight = nn.Linear(encoder_out_channel, hidden_size)
        self.embedding = nn.Embedding(word_num, input_size)
        self.word_input_gru = nn.GRUCell(input_size, hidden_size)
        self.word_attention = Attention(hidden_size, width)
        self.encoder_feature_conv = nn.Conv2d(
            encoder_out_channel, width, kernel, padding=kernel // 2
        )
        self.word_state_weight = nn.Linear(hidden_size, hidden_size)
        self.word_embedding_weight = nn.Linear(input_size, hidden_size)
        self.word_context_weight = nn.Linear(encoder_out_channel, hidden_size)
        self.counting_context_weight = nn.Linear(counting_decoder_out_channel, hidden_size)
        self.word_convert = nn.Linear(hidden_size, word_num)

    def forward(self, x: Tensor, counts: Tensor, mask: Tensor, tokens: Tensor | None) -> Tensor:
        """`x: (N, C, H, W)`, `counts: (N, word_num)`, `mask: (N, 1, H, W)` to `(N, T, word_num)`.

        Each symbol follows the likeliest ones before it, or the teacher-forced
        `tokens (N, T) int64`.
        """
        hidden = torch.tanh(self.init_weight((x * mask).sum((2, 3)) / mask.sum((2, 3))))
        expected = self.counting_context_weight(counts)
        keys = self.encoder_feature_conv(x) + positions(mask[:, 0])
        keys = keys.permute(0, 2, 3, 1)
        looked = torch.zeros_like(mask)
        word = torch.full((x.shape[0],), START, device=x.device)
        scores = []
        for step in range(STEPS if tokens is None else tokens.shape[1]):
            embedded = self.embedding(word)
            hidden = self.word_input_gru(embedded, hidden)
            looks = self.word_attention(keys, hidden, looked, mask)
            looked = looked + looks
            state = self.word_state_weight(hidden) + self.word_embedding_weight(embedded)
            state = state + self.word_context_weight((looks * x).sum((2, 3))) + expected
            scores.append(self.word_convert(state))
            word = scores[-1].argmax(1) if tokens is None else tokens[:, step]
        return torch.stack(scores, 1)


class CANHead(OutputPart):
    """Two counters with kernels of 3 and 5, and the decoder; the options are PaddleOCR's."""

    extra_inputs = ("image_mask",)
    results = ("word_probs", "counting_preds", "counting_preds1", "counting_preds2")
    text_scores = "word_probs"
    logits_layers = ("decoder.word_convert",)

    def __init__(
        self, in_channels: int, out_channel: int, ratio: int, attdecoder: Mapping[str, Any]
    ) -> None:
        super().__init__()
        self.ratio = ratio
        self.counting_decoder1 = CountingDecoder(in_channels, out_channel, 3)
        self.counting_decoder2 = CountingDecoder(in_channels, out_channel, 5)
        options = {key: value for key, value in attdecoder.items() if key not in TRAINING}
        self.decoder = AttDecoder(**options)

    def forward(self, features: Tensor, image_mask: Tensor) -> dict[str, Tensor]:
        """`features: (N, C, H, W)`, `image_mask: (N, 1, H * ratio, W * ratio) float32`, 1 or 0.

        `word_probs (N, 36, out_channel)`: scores of the symbols, in order; `counting_preds`
        `(N, out_channel)`: how often each is expected, the mean of `counting_preds1` and `2`.
        """
        return self._spell(features, image_mask, None)

    def score_tokens(
        self, features: Tensor, tokens: Tensor, image_mask: Tensor
    ) -> dict[str, Tensor]:
        """Return the results of `forward` for teacher-forced `tokens (N, T) int64`.

        Before the first one is the start symbol, which `tokens` do not hold.
        """
        return self._spell(features, image_mask, tokens)

    def _spell(self, x: Tensor, image_mask: Tensor, tokens: Tensor | None) -> dict[str, Tensor]:
        mask = image_mask[:, :, :: self.ratio, :: self.ratio]
        first, second = self.counting_decoder1(x, mask), self.counting_decoder2(x, mask)
        counts = (first + second) / 2
        scores = self.decoder(x, counts, mask, tokens)
        return dict(zip(self.results, (scores, counts, first, second), strict=True))


# What inference does not read of `attdecoder`.
TRAINING = ("is_train", "dropout", "dropout_ratio")
