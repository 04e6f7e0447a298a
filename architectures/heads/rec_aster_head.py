"""The head of SEED: a decoder with attention, begun with the meaning of the word, and its search.

ASTER, https://ieeexplore.ieee.org/document/8395027; SEED, https://arxiv.org/abs/2005.10977;
PaddleOCR: `ppocr/modeling/heads/rec_aster_head.py`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from architectures.heads._beam_search import search
from architectures.interfaces import OutputPart

WORD_VECTOR = 300  # as long as fastText's


class Embedding(nn.Module):
    """The meaning of the word, as training wants it: fastText's vector of it."""

    def __init__(self, in_channels: int, time_step: int) -> None:
        super().__init__()
        self.eEmbed = nn.Linear(time_step * in_channels, WORD_VECTOR)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, time_step, in_channels)` to `(N, 300)`."""
        return self.eEmbed(x.flatten(1))


class AttentionUnit(nn.Module):
    """How much of each place of the sequence a state attends to."""

    def __init__(self, state_size: int, in_channels: int, width: int) -> None:
        super().__init__()
        self.sEmbed = nn.Linear(state_size, width)
        self.xEmbed = nn.Linear(in_channels, width)
        self.wEmbed = nn.Linear(width, 1)

    def keys(self, x: Tensor) -> Tensor:
        """Project features to attention keys: `(N, T, in_channels)` to `(N, T, width)`."""
        return self.xEmbed(x.flatten(0, 1)).unflatten(0, x.shape[:2])

    def forward(self, state: Tensor, keys: Tensor) -> Tensor:
        """`state: (N, state_size)`, `keys: (N, T, width)`, to weights `(N, T)`."""
        fit = torch.tanh(self.sEmbed(state).unsqueeze(1) + keys)
        return self.wEmbed(fit.flatten(0, 1)).unflatten(0, fit.shape[:2]).squeeze(2).softmax(1)


class DecoderUnit(nn.Module):
    """One step of a GRU on the attended features and the last character."""

    def __init__(self, in_channels: int, classes: int, state_size: int, width: int) -> None:
        super().__init__()
        self.attention_unit = AttentionUnit(state_size, in_channels, width)
        self.tgt_embedding = nn.Embedding(classes + 1, width)  # the last is the start
        self.gru = nn.GRUCell(in_channels + width, state_size)
        self.fc = nn.Linear(state_size, classes)
        self.embed_fc = nn.Linear(WORD_VECTOR, state_size)

    def forward(
        self, state: Tensor, x: Tensor, keys: Tensor, last: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Logits `(N, classes)` and the next of `state: (N, state_size)`.

        `x: (N, T, in_channels)`, its attention `keys: (N, T, width)`, `last: (N,) int64`.
        """
        weights = self.attention_unit(state, keys)
        seen = torch.matmul(weights.unsqueeze(1), x).squeeze(1)
        state = self.gru(torch.cat([self.tgt_embedding(last), seen], 1), state)
        return self.fc(state), state


class AttentionRecognitionHead(nn.Module):
    """The decoder under the name that it has in checkpoints."""

    def __init__(self, in_channels: int, classes: int, state_size: int, width: int) -> None:
        super().__init__()
        self.start = classes
        self.decoder = DecoderUnit(in_channels, classes, state_size, width)

    def search(self, x: Tensor, meaning: Tensor, eos: int, beam_width: int, length: int) -> Tensor:
        """The best text of `length` classes, `(N, length) int64`; behind its `eos` it says nothing.

        `x: (N, T, in_channels)`, `meaning: (N, 300)`.
        """
        x = x.repeat_interleave(beam_width, 0)
        keys = self.decoder.attention_unit.keys(x)

        def step(state: Tensor, last: Tensor) -> tuple[Tensor, Tensor]:
            logits, state = self.decoder(state, x, keys, last)
            return logits.log_softmax(1), state

        state = self.decoder.embed_fc(meaning).repeat_interleave(beam_width, 0)
        return search(step, state, self.start, eos, beam_width, length)

    def score_tokens(self, x: Tensor, meaning: Tensor, tokens: Tensor) -> Tensor:
        """Return the logits `(N, L, classes)` after each of the teacher-forced `tokens: (N, L)`."""
        keys, state = self.decoder.attention_unit.keys(x), self.decoder.embed_fc(meaning)
        steps = []
        for last in tokens.unbind(1):
            logits, state = self.decoder(state, x, keys, last)
            steps.append(logits)
        return torch.stack(steps, 1)


class AsterHead(OutputPart):
    """Finds the best text of `max_len_labels` classes in a sequence of `time_step` places.

    The third last class ends the text; behind the last is one more that begins it.
    """

    logits_layers = ("decoder.decoder.fc", "embedder.eEmbed")
    results = ("rec_pred", "rec_pred_scores", "embedding_vectors")

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        sDim: int,  # noqa: N803, PaddleOCR's name
        attDim: int,  # noqa: N803, PaddleOCR's name
        max_len_labels: int,
        time_step: int = 25,
        beam_width: int = 5,
    ) -> None:
        super().__init__()
        self.max_len_labels = max_len_labels
        self.beam_width = beam_width
        self.eos = out_channels - 3
        self.decoder = AttentionRecognitionHead(in_channels, out_channels, sDim, attDim)
        self.embedder = Embedding(in_channels, time_step)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """`(N, time_step, in_channels)` to the text, and ones in the place of scores.

        `rec_pred` and `rec_pred_scores` are `(N, max_len_labels) int64`; `embedding_vectors
        (N, 300)` is the meaning of the word.
        """
        meaning = self.embedder(x)
        text = self.decoder.search(x, meaning, self.eos, self.beam_width, self.max_len_labels)
        return {
            "rec_pred": text,
            "rec_pred_scores": torch.ones_like(text),
            "embedding_vectors": meaning,
        }

    def score_tokens(self, x: Tensor, tokens: Tensor) -> Tensor:
        """Return the logits `(N, L, classes)` after each of the teacher-forced `tokens: (N, L)`."""
        return self.decoder.score_tokens(x, self.embedder(x), tokens)
