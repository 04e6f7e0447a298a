"""RobustScanner's head: attention by the decoded text, and by position only.

RobustScanner: Dynamically Enhancing Positional Clues for Robust Text Recognition,
https://arxiv.org/abs/2007.07542; PaddleOCR: `ppocr/modeling/heads/rec_robustscanner_head.py`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from architectures.heads.rec_sar_head import hidden_columns
from architectures.interfaces import OutputPart


class ChannelReductionEncoder(nn.Module):
    """A 1x1 convolution to fewer channels."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.layer = nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, in_channels, H, W)` to `(N, out_channels, H, W)`."""
        return self.layer(x)


def glimpse(queries: Tensor, keys: Tensor, values: Tensor, valid_ratio: Tensor) -> Tensor:
    """Unscaled dot-product attention to the columns that are not padding.

    `queries: (N, L, D)`, `keys: (N, D, H, W)`, `values: (N, C, H, W)`, to `(N, L, C)`.
    """
    width = keys.shape[3]
    # Rounded to the nearest column, where SAR keeps those that are filled in part.
    columns = (valid_ratio * width + 0.5).long()
    hidden = hidden_columns(columns, width)[:, None, None]
    fit = torch.matmul(queries, keys.flatten(2)).unflatten(2, keys.shape[2:])
    weights = fit.masked_fill(hidden, float("-inf")).flatten(2).softmax(2)
    return torch.matmul(weights, values.flatten(2).transpose(1, 2))


class SequenceAttentionDecoder(nn.Module):
    """An LSTM over the text so far predicts where to look."""

    def __init__(self, out_channels: int, dim: int, layers: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(out_channels, dim)
        self.sequence_layer = nn.LSTM(dim, dim, layers, batch_first=True)

    def forward(
        self, tokens: Tensor, state: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """`tokens: (N, L) int64` to queries `(N, L, dim)`, and the state behind the last."""
        return self.sequence_layer(self.embedding(tokens), state)


class PositionAwareLayer(nn.Module):
    """An LSTM along each row of the map, and two convolutions."""

    def __init__(self, dim: int, layers: int) -> None:
        super().__init__()
        self.rnn = nn.LSTM(dim, dim, layers, batch_first=True)
        self.mixer = nn.Sequential(
            nn.Conv2d(dim, dim, 3, padding=1), nn.ReLU(), nn.Conv2d(dim, dim, 3, padding=1)
        )

    def forward(self, x: Tensor) -> Tensor:
        """`(N, dim, H, W)` to the same shape."""
        rows, _ = self.rnn(x.permute(0, 2, 3, 1).flatten(0, 1))
        return self.mixer(rows.unflatten(0, (x.shape[0], -1)).permute(0, 3, 1, 2))


class PositionAttentionDecoder(nn.Module):
    """The position of the character determines where to look."""

    def __init__(self, dim: int, layers: int, max_text_length: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(max_text_length + 1, dim)
        self.position_aware_module = PositionAwareLayer(dim, layers)

    def forward(self, encoded: Tensor, length: int) -> tuple[Tensor, Tensor]:
        """`encoded: (N, dim, H, W)` to queries `(N, length, dim)`, and keys of its shape."""
        places = torch.arange(length, device=encoded.device).expand(encoded.shape[0], -1)
        return self.embedding(places), self.position_aware_module(encoded)


class RobustScannerFusionLayer(nn.Module):
    """Of both glimpses at once, one half weighs the other."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear_layer = nn.Linear(2 * width, 2 * width)

    def forward(self, by_text: Tensor, by_place: Tensor) -> Tensor:
        """Two times `(…, width)` to the same shape."""
        return F.glu(self.linear_layer(torch.cat([by_text, by_place], -1)), -1)


class RobustScannerDecoder(nn.Module):
    """One character after the other, greedily."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        dim: int,
        text_layers: int,
        place_layers: int,
        max_text_length: int,
        start: int,
        encode_value: bool,
    ) -> None:
        super().__init__()
        self.start = start
        self.max_text_length = max_text_length
        self.encode_value = encode_value
        width = dim if encode_value else in_channels
        self.hybrid_decoder = SequenceAttentionDecoder(out_channels, dim, text_layers)
        self.position_decoder = PositionAttentionDecoder(dim, place_layers, max_text_length)
        self.fusion_module = RobustScannerFusionLayer(width)
        self.prediction = nn.Linear(width, out_channels - 1)  # all but the padding

    def forward(self, x: Tensor, encoded: Tensor, valid_ratio: Tensor) -> Tensor:
        """Probabilities `(N, max_text_length, out_channels - 1)`, also beyond the text's end.

        `x: (N, in_channels, H, W)`, `encoded: (N, dim, H, W)`, `valid_ratio: (N,)`.
        """
        values = encoded if self.encode_value else x
        by_place = self._by_place(values, encoded, valid_ratio, self.max_text_length)
        last = torch.full((x.shape[0], 1), self.start, device=x.device)
        state: tuple[Tensor, Tensor] | None = None
        steps = []
        for place in by_place.unbind(1):
            queries, state = self.hybrid_decoder(last, state)
            by_text = glimpse(queries, encoded, values, valid_ratio).squeeze(1)
            steps.append(self.prediction(self.fusion_module(by_text, place)).softmax(1))
            last = steps[-1].argmax(1, keepdim=True)
        return torch.stack(steps, 1)

    def score_tokens(
        self, x: Tensor, encoded: Tensor, valid_ratio: Tensor, tokens: Tensor
    ) -> Tensor:
        """Return logits `(N, L, out_channels - 1)` after each of the teacher-forced `tokens`."""
        values = encoded if self.encode_value else x
        by_place = self._by_place(values, encoded, valid_ratio, tokens.shape[1])
        by_text = glimpse(self.hybrid_decoder(tokens)[0], encoded, values, valid_ratio)
        return self.prediction(self.fusion_module(by_text, by_place))

    def _by_place(
        self, values: Tensor, encoded: Tensor, valid_ratio: Tensor, length: int
    ) -> Tensor:
        queries, keys = self.position_decoder(encoded, length)
        return glimpse(queries, keys, values, valid_ratio)


class RobustScannerHead(OutputPart):
    """Encoder and decoder; columns beyond `valid_ratio` of the width are padding, and not seen.

    `enc_outchannles` is PaddleOCR's spelling. Class `start_idx` begins the text and ends it, the
    last is padding and never predicted.
    """

    extra_inputs = ("valid_ratio",)
    logits_layers = ("decoder.prediction",)

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        enc_outchannles: int = 128,
        hybrid_dec_rnn_layers: int = 2,
        position_dec_rnn_layers: int = 2,
        start_idx: int = 0,
        max_text_length: int = 40,
        encode_value: bool = False,
    ) -> None:
        super().__init__()
        self.encoder = ChannelReductionEncoder(in_channels, enc_outchannles)
        self.decoder = RobustScannerDecoder(
            in_channels,
            out_channels,
            enc_outchannles,
            hybrid_dec_rnn_layers,
            position_dec_rnn_layers,
            max_text_length,
            start_idx,
            encode_value,
        )

    def forward(self, x: Tensor, valid_ratio: Tensor) -> Tensor:
        """`x: (N, in_channels, H, W)`, `valid_ratio: (N,)`, to `(N, max_text_length, classes)`.

        Probabilities of all classes but the padding.
        """
        return self.decoder(x, self.encoder(x), valid_ratio)

    def score_tokens(self, x: Tensor, tokens: Tensor, valid_ratio: Tensor) -> Tensor:
        """Return the logits `(N, L, classes)` after each of the teacher-forced `tokens: (N, L)`."""
        return self.decoder.score_tokens(x, self.encoder(x), valid_ratio, tokens)
