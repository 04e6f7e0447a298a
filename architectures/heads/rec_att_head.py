"""The head that reads character by character, each time from where it attends to.

RARE, https://arxiv.org/abs/1603.03915; PaddleOCR: `ppocr/modeling/heads/rec_att_head.py`.
"""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from architectures.interfaces import OutputPart

START = 0  # the class that stands before the first character

State = tuple[Tensor, ...]  # of a GRU one tensor, of an LSTM two; the first predicts the character


class GRUCell(nn.GRUCell):
    """PyTorch's GRU cell, written out as the operations of Paddle's programs."""

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        """`input: (N, input_size)` and the state `hx: (N, hidden_size)` to the next state."""
        if hx is None:
            hx = input.new_zeros(input.shape[0], self.hidden_size)
        new = F.linear(input, self.weight_ih, self.bias_ih).chunk(3, 1)
        old = F.linear(hx, self.weight_hh, self.bias_hh).chunk(3, 1)
        reset, update = (new[0] + old[0]).sigmoid(), (new[1] + old[1]).sigmoid()
        candidate = torch.tanh(new[2] + reset * old[2])
        return (hx - candidate) * update + candidate


class AttentionCell(nn.Module):
    """One step: the sequence weighed by its fit to the state, and a GRU, or with `lstm` an LSTM.

    PaddleOCR's `AttentionGRUCell` and `AttentionLSTMCell`.
    """

    def __init__(
        self, input_size: int, hidden_size: int, num_embeddings: int, lstm: bool = False
    ) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        self.num_embeddings = num_embeddings
        self.i2h = nn.Linear(input_size, hidden_size, bias=False)
        self.h2h = nn.Linear(hidden_size, hidden_size)
        self.score = nn.Linear(hidden_size, 1, bias=False)
        cell = nn.LSTMCell if lstm else GRUCell
        self.rnn = cell(input_size + num_embeddings, hidden_size)

    def start(self, features: Tensor) -> tuple[State, Tensor]:
        """Return the initial state and the attention keys `(N, T, hidden_size)`."""
        nothing = features.new_zeros(features.shape[0], self.hidden_size)
        count = 2 if isinstance(self.rnn, nn.LSTMCell) else 1
        return (nothing,) * count, self.i2h(features)

    def forward(self, state: State, features: Tensor, keys: Tensor, last: Tensor) -> State:
        """The next `state`, of tensors `(N, hidden_size)`.

        `features: (N, T, input_size)`, `keys` as `start` makes them, `last: (N,) int64`.
        """
        fit = self.score(torch.tanh(keys + self.h2h(state[0]).unsqueeze(1)))
        seen = torch.matmul(fit.softmax(1).transpose(1, 2), features).squeeze(1)
        character = F.one_hot(last, self.num_embeddings).to(seen.dtype)
        joined = torch.cat([seen, character], 1)
        if isinstance(self.rnn, nn.LSTMCell):
            hidden, memory = state
            return self.rnn(joined, (hidden, memory))
        return (self.rnn(joined, state[0]),)

    def joined(self) -> nn.Module:
        """Return the same step in fewer operations; with an LSTM, this one."""
        return JoinedAttentionCell(self) if isinstance(self.rnn, GRUCell) else self


class JoinedAttentionCell(nn.Module):
    """One step of an `AttentionCell` with a GRU, for inference.

    The state is multiplied once, for its gates and for the attention, and the product of a
    character, whose vector is 0 but for a 1, is looked up.
    """

    def __init__(self, cell: AttentionCell) -> None:
        super().__init__()
        self.hidden_size = cell.hidden_size
        self.i2h = cell.i2h
        self.score = cell.score.weight.detach()[0]
        states = cell.rnn.weight_hh, cell.h2h.weight
        self.state_weight = torch.cat(states).detach()
        self.state_bias = torch.cat([cell.rnn.bias_hh, cell.h2h.bias]).detach()
        seen, characters = cell.rnn.weight_ih.detach().split(
            [cell.i2h.in_features, cell.num_embeddings], 1
        )
        self.seen_weight = seen.t()
        self.characters = (characters.t() + cell.rnn.bias_ih.detach()).contiguous()

    def start(self, features: Tensor) -> tuple[State, Tensor]:
        """Return the initial state and the attention keys, as `AttentionCell`."""
        return (features.new_zeros(features.shape[0], self.hidden_size),), self.i2h(features)

    def forward(self, state: State, features: Tensor, keys: Tensor, last: Tensor) -> State:
        """Return the next state, as `AttentionCell`."""
        hidden = state[0]
        batch, places, width = keys.shape
        parts = [2 * width, width, width]
        old_gates, old, query = F.linear(hidden, self.state_weight, self.state_bias).split(parts, 1)
        fit = torch.tanh_(keys + query.unsqueeze(1)).view(-1, width).mv(self.score)
        seen = fit.view(batch, 1, places).softmax(2).bmm(features).squeeze(1)
        new = torch.addmm(F.embedding(last, self.characters), seen, self.seen_weight)
        new_gates, new = new.split(parts[:2], 1)
        reset, update = torch.sigmoid_(new_gates + old_gates).chunk(2, 1)
        candidate = torch.addcmul(new, reset, old).tanh_()
        return (candidate.lerp(hidden, update),)


class AttentionHead(OutputPart):
    """Reads `batch_max_length` characters, also beyond the end of the text."""

    logits_layers = ("generator",)
    lstm: ClassVar = False

    def __init__(
        self, in_channels: int, out_channels: int, hidden_size: int, batch_max_length: int = 25
    ) -> None:
        super().__init__()
        self.batch_max_length = batch_max_length
        self.attention_cell = AttentionCell(in_channels, hidden_size, out_channels, self.lstm)
        self.generator = nn.Linear(hidden_size, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, T, in_channels)` to probabilities `(N, batch_max_length, out_channels)`."""
        state, keys = self.attention_cell.start(x)
        last = torch.full((x.shape[0],), START, device=x.device)
        logits = x.new_zeros(x.shape[0], 0, self.generator.out_features)
        for _ in range(self.batch_max_length):
            state = self.attention_cell(state, x, keys, last)
            scores = self.generator(state[0])
            logits = torch.cat([logits, scores.unsqueeze(1)], 1)
            last = scores.argmax(1)
        return logits.softmax(2)

    def score_tokens(self, x: Tensor, tokens: Tensor) -> Tensor:
        """Return logits `(N, L, out_channels)` after each of the teacher-forced `tokens (N, L)`."""
        state, keys = self.attention_cell.start(x)
        seen = []
        for last in tokens.unbind(1):
            state = self.attention_cell(state, x, keys, last)
            seen.append(state[0])
        return self.generator(torch.stack(seen, 1))


class AttentionLSTM(AttentionHead):
    """The same with an LSTM in the place of the GRU."""

    lstm = True
