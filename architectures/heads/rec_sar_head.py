"""SAR's head: an LSTM reads the map's columns, another writes, and attends to the map in 2D.

Show, Attend and Read: A Simple and Strong Baseline for Irregular Text Recognition,
https://arxiv.org/abs/1811.00751; PaddleOCR: `ppocr/modeling/heads/rec_sar_head.py`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from architectures.interfaces import OutputPart


def columns_of_text(valid_ratio: Tensor, width: int) -> Tensor:
    """How many of a map's columns are not padding, the last in part: `(N,)` int64."""
    return (valid_ratio * width).ceil().clamp(max=width).long()


def hidden_columns(columns: Tensor, width: int) -> Tensor:
    """Which columns are padding: `(N, width)` bool, of `columns: (N,)` that are not."""
    return torch.arange(width, device=columns.device) >= columns.unsqueeze(1)


def recurrent(
    in_channels: int, hidden_size: int, gru: bool, bidirectional: bool = False
) -> nn.LSTM | nn.GRU:
    """Two recurrent layers."""
    kind = nn.GRU if gru else nn.LSTM
    return kind(in_channels, hidden_size, 2, batch_first=True, bidirectional=bidirectional)


class SAREncoder(nn.Module):
    """The LSTM output at the last column that is not padding."""

    def __init__(self, in_channels: int, width: int, gru: bool, bidirectional: bool) -> None:
        super().__init__()
        self.rnn_encoder = recurrent(in_channels, width, gru, bidirectional)
        self.out_channels = width * (2 if bidirectional else 1)
        self.linear = nn.Linear(self.out_channels, self.out_channels)

    def forward(self, x: Tensor, valid_ratio: Tensor) -> Tensor:
        """`x: (N, in_channels, H, W)`, `valid_ratio: (N,)`, to `(N, out_channels)`."""
        columns, _ = self.rnn_encoder(x.amax(2).transpose(1, 2))
        last = columns_of_text(valid_ratio, columns.shape[1]) - 1
        return self.linear(columns[torch.arange(x.shape[0], device=x.device), last])


class ParallelSARDecoder(nn.Module):
    """One character after the other, greedily; with `pred_concat` the last layer sees all."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        width: int,
        d_k: int,
        max_text_length: int,
        pred_concat: bool,
        gru: bool,
        bidirectional: bool,
    ) -> None:
        super().__init__()
        self.start = out_channels - 2
        self.max_text_length = max_text_length
        self.pred_concat = pred_concat
        self.bidirectional = bidirectional
        written = width * (2 if bidirectional else 1)
        self.conv1x1_1 = nn.Linear(written, d_k)
        self.conv3x3_1 = nn.Conv2d(in_channels, d_k, 3, padding=1)
        self.conv1x1_2 = nn.Linear(d_k, 1)
        self.rnn_decoder = recurrent(width, width, gru, bidirectional)
        self.embedding = nn.Embedding(out_channels, width, padding_idx=out_channels - 1)
        seen = written + in_channels + width if pred_concat else in_channels
        self.prediction = nn.Linear(seen, out_channels - 1)  # all but the padding

    def forward(self, x: Tensor, line: Tensor, valid_ratio: Tensor) -> Tensor:
        """Probabilities `(N, max_text_length, out_channels - 1)`, also beyond the text's end.

        `x: (N, in_channels, H, W)`, `line: (N, width)` from the encoder, `valid_ratio: (N,)`.
        """
        if self.bidirectional:
            return self._rewrite(x, line, valid_ratio)
        keys, hidden = self.conv3x3_1(x), self._hidden(x, valid_ratio)
        _, state = self.rnn_decoder(line.unsqueeze(1))
        last = torch.full((x.shape[0],), self.start, device=x.device)
        steps = []
        for _ in range(self.max_text_length):
            written, state = self.rnn_decoder(self.embedding(last).unsqueeze(1), state)
            steps.append(self._predict(written, x, keys, hidden, line).softmax(2))
            last = steps[-1].squeeze(1).argmax(1)
        return torch.cat(steps, 1)

    def _rewrite(self, x: Tensor, line: Tensor, valid_ratio: Tensor) -> Tensor:
        """Do as `forward`, but read the text anew at each step.

        The layers that read backwards see start tokens where nothing is written yet.
        """
        keys, hidden = self.conv3x3_1(x), self._hidden(x, valid_ratio)
        tokens = torch.full((len(x), self.max_text_length), self.start, device=x.device)
        steps: list[Tensor] = []
        for step in range(self.max_text_length):
            if steps:
                tokens[:, step] = steps[-1].squeeze(1).argmax(1)
            embedded = torch.cat([line.unsqueeze(1), self.embedding(tokens)], 1)
            written = self.rnn_decoder(embedded)[0][:, step + 1 : step + 2]
            steps.append(self._predict(written, x, keys, hidden, line).softmax(2))
        return torch.cat(steps, 1)

    def score_tokens(self, x: Tensor, line: Tensor, valid_ratio: Tensor, tokens: Tensor) -> Tensor:
        """Return logits `(N, L, out_channels - 1)` after each of the teacher-forced `tokens`."""
        keys, hidden = self.conv3x3_1(x), self._hidden(x, valid_ratio)
        embedded = torch.cat([line.unsqueeze(1), self.embedding(tokens)], 1)
        return self._predict(self.rnn_decoder(embedded)[0], x, keys, hidden, line)[:, 1:]

    def attention(self, written: Tensor, x: Tensor, valid_ratio: Tensor) -> Tensor:
        """How much each state `(N, L, width)` looks at each place of the map `(N, L, 1, H, W)`."""
        weights = self._weights(written, self.conv3x3_1(x), self._hidden(x, valid_ratio))
        return weights.unflatten(2, (1, *x.shape[2:]))

    @staticmethod
    def _hidden(x: Tensor, valid_ratio: Tensor) -> Tensor:
        """Where the map is padding: `(N, 1, 1, W)` bool."""
        width = x.shape[3]
        return hidden_columns(columns_of_text(valid_ratio, width), width)[:, None, None]

    def _weights(self, written: Tensor, keys: Tensor, hidden: Tensor) -> Tensor:
        """How much each state `(N, L, width)` looks at each place, `(N, L, H * W)`."""
        queries = self.conv1x1_1(written)[..., None, None]
        fit = torch.tanh(keys.unsqueeze(1) + queries).permute(0, 1, 3, 4, 2)
        fit = self.conv1x1_2(fit).squeeze(4).masked_fill(hidden, float("-inf"))
        return fit.flatten(2).softmax(2)

    def _predict(
        self, written: Tensor, x: Tensor, keys: Tensor, hidden: Tensor, line: Tensor
    ) -> Tensor:
        """Logits `(N, L, out_channels - 1)` of each state `(N, L, width)`."""
        weights = self._weights(written, keys, hidden)
        seen = torch.matmul(weights, x.flatten(2).transpose(1, 2))
        if self.pred_concat:
            lines = line.unsqueeze(1).expand(-1, written.shape[1], -1)
            seen = torch.cat([written, seen, lines], 2)
        return self.prediction(seen)


class SARHead(OutputPart):
    """Encoder and decoder; columns beyond `valid_ratio` of the width are padding, and not seen.

    Class `out_channels - 2` begins the text and ends it, the last is padding and never predicted.
    """

    extra_inputs = ("valid_ratio",)
    logits_layers = ("decoder.prediction",)

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        enc_dim: int = 512,
        max_text_length: int = 30,
        enc_bi_rnn: bool = False,
        enc_gru: bool = False,
        dec_bi_rnn: bool = False,
        dec_gru: bool = False,
        d_k: int = 512,
        pred_concat: bool = True,
    ) -> None:
        super().__init__()
        self.encoder = SAREncoder(in_channels, enc_dim, enc_gru, enc_bi_rnn)
        width = self.encoder.out_channels
        self.decoder = ParallelSARDecoder(
            in_channels,
            out_channels,
            width,
            d_k,
            max_text_length,
            pred_concat,
            dec_gru,
            dec_bi_rnn,
        )

    def forward(self, x: Tensor, valid_ratio: Tensor) -> Tensor:
        """`x: (N, in_channels, H, W)`, `valid_ratio: (N,)`, to `(N, max_text_length, classes)`.

        Probabilities of all classes but the padding.
        """
        return self.decoder(x, self.encoder(x, valid_ratio), valid_ratio)

    def score_tokens(self, x: Tensor, tokens: Tensor, valid_ratio: Tensor) -> Tensor:
        """Return the logits `(N, L, classes)` after each of the teacher-forced `tokens: (N, L)`."""
        return self.decoder.score_tokens(x, self.encoder(x, valid_ratio), valid_ratio, tokens)
