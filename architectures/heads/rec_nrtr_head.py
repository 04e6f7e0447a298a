"""NRTR: a transformer that writes the text of an encoded image, one character after the other.

NRTR: A No-Recurrence Sequence-to-Sequence Model For Scene Text Recognition,
https://arxiv.org/abs/1806.00926; PaddleOCR: `ppocr/modeling/heads/rec_nrtr_head.py`.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from architectures.interfaces import OutputPart
from architectures.layers.attention import Cache, TransformerBlock, causal, sinusoids
from architectures.layers.embedding import PaddedEmbedding

PADDING, START, END = 0, 2, 3  # classes of NRTRLabelEncode; 1 is what it does not know


class Embeddings(nn.Module):
    """The classes as vectors, enlarged by the root of their width."""

    def __init__(self, d_model: int, vocab: int, scale_embedding: bool) -> None:
        super().__init__()
        self.embedding = PaddedEmbedding(vocab, d_model, PADDING)
        self.scale = math.sqrt(d_model) if scale_embedding else 1.0

    def forward(self, tokens: Tensor) -> Tensor:
        """`(N, T)` int64 to `(N, T, d_model)`."""
        return self.embedding(tokens) * self.scale


class Transformer(OutputPart):
    """An encoder of the image's columns, unless it has no layers, and a decoder of the text.

    The text is decoded greedily; `beam_size` above 0 asks for a search that is not mirrored here.
    """

    logits_layers = ("tgt_word_prj",)
    results = ("tokens", "probabilities")

    def __init__(
        self,
        in_channels: int | None,  # noqa: ARG002, the backbone's width is `d_model`
        out_channels: int,
        d_model: int = 512,
        nhead: int = 8,
        num_encoder_layers: int = 6,
        beam_size: int = 0,
        num_decoder_layers: int = 6,
        max_len: int = 25,
        dim_feedforward: int = 1024,
        scale_embedding: bool = True,
    ) -> None:
        super().__init__()
        if beam_size > 0:
            raise ValueError(f"beam_size {beam_size}: NRTR is mirrored with greedy decoding alone")
        self.max_len = max_len
        self.d_model = d_model
        self.embedding = Embeddings(d_model, out_channels + 1, scale_embedding)

        def blocks(count: int, decoder: bool) -> nn.ModuleList:
            return nn.ModuleList(
                TransformerBlock(d_model, nhead, dim_feedforward, with_cross_attn=decoder)
                for _ in range(count)
            )

        self.encoder = blocks(num_encoder_layers, False) if num_encoder_layers > 0 else None
        self.decoder = blocks(num_decoder_layers, True)
        self.tgt_word_prj = nn.Linear(d_model, out_channels + 1, bias=False)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """`x: (N, S, d_model)` to the text, and how probable each of its characters is.

        `tokens: (N, T) int64` begins with START, which has probability 1. T is at most `max_len`;
        it is less where all lines end at the same character, which is then left out. What stands
        behind a line's first END means nothing.
        """
        memory = self.encode(x)
        caches = [Cache(block.cross_attn.keys_values(memory)) for block in self._blocks()]
        positions = sinusoids(self.max_len, self.d_model, memory)
        tokens = [torch.full((x.shape[0], 1), START, device=x.device)]
        probabilities = [torch.ones_like(tokens[0], dtype=x.dtype)]
        for place in range(self.max_len - 1):
            y = self.embedding(tokens[-1]) + positions[place]
            for block, cache in zip(self._blocks(), caches, strict=True):
                y = block.step(y, cache)
            probability, token = self.tgt_word_prj(y[:, -1]).softmax(-1).max(-1, keepdim=True)
            if bool((token == END).all()):
                break
            tokens.append(token)
            probabilities.append(probability)
        return {"tokens": torch.cat(tokens, 1), "probabilities": torch.cat(probabilities, 1)}

    def score_tokens(self, x: Tensor, tokens: Tensor) -> Tensor:
        """Return the scores `(N, T, classes)` after each of the teacher-forced `tokens (N, T)`."""
        return self.score_memory(self.encode(x), tokens)

    def score_memory(self, memory: Tensor, tokens: Tensor) -> Tensor:
        """Return the scores as `score_tokens`, from an encoded image `(N, S, d_model)`."""
        y = self.embedding(tokens) + sinusoids(tokens.shape[1], self.d_model, memory)
        mask = causal(tokens.shape[1], memory.device)
        for block in self._blocks():
            y = block(y, memory, mask)
        return self.tgt_word_prj(y)

    def encode(self, x: Tensor) -> Tensor:
        """`(N, S, d_model)` to the same shape."""
        if self.encoder is not None:
            x = x + sinusoids(x.shape[1], self.d_model, x)
            for block in self.encoder:
                x = block(x)
        return x

    def _blocks(self) -> list[TransformerBlock]:
        return list(self.decoder)  # type: ignore[arg-type]
