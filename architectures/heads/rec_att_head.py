"""The head that reads character by character, each time from where it attends to.

RARE, https://arxiv.org/abs/1603.03915; PaddleOCR: `ppocr/modeling/heads/rec_att_head.py`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

START = 0  # the class that stands before the first character


class AttentionGRUCell(nn.Module):
    """One step: the sequence weighed by its fit to the state, and with the last character a GRU."""

    def __init__(self, input_size: int, hidden_size: int, num_embeddings: int) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        self.num_embeddings = num_embeddings
        self.i2h = nn.Linear(input_size, hidden_size, bias=False)
        self.h2h = nn.Linear(hidden_size, hidden_size)
        self.score = nn.Linear(hidden_size, 1, bias=False)
        self.rnn = nn.GRUCell(input_size + num_embeddings, hidden_size)

    def forward(self, hidden: Tensor, features: Tensor, keys: Tensor, last: Tensor) -> Tensor:
        """`hidden: (N, hidden_size)` to the next of its shape.

        `features: (N, T, input_size)`, `keys` what `i2h` makes of them, `last: (N,) int64`.
        """
        fit = self.score(torch.tanh(keys + self.h2h(hidden).unsqueeze(1)))
        seen = torch.matmul(fit.softmax(1).transpose(1, 2), features).squeeze(1)
        character = F.one_hot(last, self.num_embeddings).to(seen.dtype)
        return self.rnn(torch.cat([seen, character], 1), hidden)


class AttentionHead(nn.Module):
    """Reads `batch_max_length` characters, also beyond the end of the text."""

    logits_layers = ("generator",)

    def __init__(
        self, in_channels: int, out_channels: int, hidden_size: int, batch_max_length: int = 25
    ) -> None:
        super().__init__()
        self.batch_max_length = batch_max_length
        self.attention_cell = AttentionGRUCell(in_channels, hidden_size, out_channels)
        self.generator = nn.Linear(hidden_size, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, T, in_channels)` to probabilities `(N, batch_max_length, out_channels)`."""
        hidden, keys = self._start(x)
        last = torch.full((len(x),), START, device=x.device)
        steps = []
        for _ in range(self.batch_max_length):
            hidden = self.attention_cell(hidden, x, keys, last)
            steps.append(self.generator(hidden))
            last = steps[-1].argmax(1)
        return torch.stack(steps, 1).softmax(2)

    def teach(self, x: Tensor, tokens: Tensor) -> Tensor:
        """Logits `(N, L, out_channels)` of what follows each of the `tokens: (N, L) int64`."""
        hidden, keys = self._start(x)
        states = []
        for last in tokens.unbind(1):
            hidden = self.attention_cell(hidden, x, keys, last)
            states.append(hidden)
        return self.generator(torch.stack(states, 1))

    def _start(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The first state, and what each state is compared with."""
        hidden = x.new_zeros(len(x), self.attention_cell.hidden_size)
        return hidden, self.attention_cell.i2h(x)
