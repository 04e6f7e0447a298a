"""The decoder of mBART and its loop, which the heads of UniMERNet and PP-FormulaNet share.

Multilingual Denoising Pre-training, https://arxiv.org/abs/2001.08210; PaddleOCR:
`ppocr/modeling/heads/rec_unimernet_head.py`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from architectures.interfaces import OutputPart
from architectures.layers.embedding import PaddedEmbedding

HEADS = 16
START, PAD, END = 0, 1, 2  # tokens
LONGEST = 1537  # tokens of a text: the last of so many is its end
VOCABULARY = 50000
OFFSET = 2  # mBART's tables of positions have two rows that no position uses

Pair = tuple[Tensor, Tensor]


@dataclass
class LayerCache:
    """Keys and values `(N, HEADS, T, D)` of a layer: of the tokens so far, and of the image."""

    tokens: Pair | None = None
    image: Pair | None = None


class MBartLearnedPositionalEmbedding(nn.Embedding):
    """Learned positions, up to a largest one."""

    def __init__(self, num_embeddings: int, embedding_dim: int) -> None:
        super().__init__(num_embeddings + OFFSET, embedding_dim)

    def forward(self, input: Tensor, past: int = 0) -> Tensor:
        """`(N, T) int64`, tokens behind `past` others, to their positions `(N, T, E)`."""
        positions = torch.arange(past, past + input.shape[1], device=input.device)
        return super().forward((positions + OFFSET).expand(input.shape[0], -1))


class MBartAttention(nn.Module):
    """Attention of several heads with four projections, all with biases."""

    def __init__(self, embed_dim: int) -> None:
        super().__init__()
        self.k_proj = nn.Linear(embed_dim, embed_dim)
        self.v_proj = nn.Linear(embed_dim, embed_dim)
        self.q_proj = nn.Linear(embed_dim, embed_dim)
        self.out_proj = nn.Linear(embed_dim, embed_dim)

    def keys_and_values(self, x: Tensor) -> Pair:
        """`(N, T, E)` to twice `(N, HEADS, T, E / HEADS)`."""
        return _split(self.k_proj(x)), _split(self.v_proj(x))

    def forward(self, x: Tensor, seen: Pair, visible: Tensor | None = None) -> Tensor:
        """Attend from `x: (N, T, E)` to `seen: (N, S, E)`; `visible: (T, S) bool` masks it."""
        mixed = F.scaled_dot_product_attention(_split(self.q_proj(x)), *seen, attn_mask=visible)
        return self.out_proj(mixed.transpose(1, 2).flatten(2))


def _split(x: Tensor) -> Tensor:
    return x.unflatten(2, (HEADS, -1)).transpose(1, 2)


class MBartDecoderLayer(nn.Module):
    """Attention to the tokens, attention to the image, two linear layers, each normalised first."""

    def __init__(self, embed_dim: int, ffn_dim: int) -> None:
        super().__init__()
        self.self_attn = MBartAttention(embed_dim)
        self.self_attn_layer_norm = nn.LayerNorm(embed_dim)
        self.encoder_attn = MBartAttention(embed_dim)
        self.encoder_attn_layer_norm = nn.LayerNorm(embed_dim)
        self.fc1 = nn.Linear(embed_dim, ffn_dim)
        self.fc2 = nn.Linear(ffn_dim, embed_dim)
        self.final_layer_norm = nn.LayerNorm(embed_dim)

    def forward(
        self, x: Tensor, image: Tensor, cache: LayerCache, visible: Tensor | None
    ) -> Tensor:
        """`x: (N, T, E)`, `image: (N, S, E)` to `(N, T, E)`; `cache` grows by T tokens."""
        y = self.self_attn_layer_norm(x)
        keys, values = self.self_attn.keys_and_values(y)
        if cache.tokens is not None:
            keys = torch.cat([cache.tokens[0], keys], 2)
            values = torch.cat([cache.tokens[1], values], 2)
        cache.tokens = keys, values
        x = x + self.self_attn(y, cache.tokens, visible)
        if cache.image is None:
            cache.image = self.encoder_attn.keys_and_values(image)
        x = x + self.encoder_attn(self.encoder_attn_layer_norm(x), cache.image)
        return x + self.fc2(F.gelu(self.fc1(self.final_layer_norm(x))))


class MBartDecoder(nn.Module):
    """Tokens and their positions, embedded, through the layers."""

    def __init__(
        self, vocab_size: int, positions: int, embed_dim: int, ffn_dim: int, layers: int
    ) -> None:
        super().__init__()
        self.embed_scale = math.sqrt(embed_dim)
        self.embed_tokens = PaddedEmbedding(vocab_size, embed_dim, PAD)
        self.embed_positions = MBartLearnedPositionalEmbedding(positions, embed_dim)
        self.layers = nn.ModuleList(MBartDecoderLayer(embed_dim, ffn_dim) for _ in range(layers))
        self.layernorm_embedding = nn.LayerNorm(embed_dim)
        self.layer_norm = nn.LayerNorm(embed_dim)

    def caches(self) -> list[LayerCache]:
        """Nothing seen yet, for each layer."""
        return [LayerCache() for _ in self.layers]

    def forward(
        self,
        tokens: Tensor,
        image: Tensor,
        caches: list[LayerCache],
        visible: Tensor | None = None,
        context: Tensor | None = None,
    ) -> Tensor:
        """`tokens: (N, T) int64` behind those in `caches` to `(N, T, E)`.

        `image: (N, S, E)`; a `context (N, E)` is added to every token; of the tokens each sees
        those that are `visible (T, T) bool`, all if None.
        """
        seen = caches[0].tokens
        past = 0 if seen is None else seen[0].shape[2]
        x = self.embed_tokens(tokens) * self.embed_scale + self.embed_positions(tokens, past)
        if context is not None:
            x = x + context[:, None]
        x = self.layernorm_embedding(x)
        for layer, cache in zip(self.layers, caches, strict=True):
            x = layer(x, image, cache, visible)
        return self.layer_norm(x)


class MBartForCausalLM(nn.Module):
    """A decoder, and a linear layer to one score for each token of the vocabulary."""

    def __init__(self, decoder: MBartDecoder) -> None:
        super().__init__()
        vocab_size, embed_dim = decoder.embed_tokens.weight.shape
        self.model = nn.ModuleDict({"decoder": decoder})
        self.lm_head = nn.Linear(embed_dim, vocab_size, bias=False)

    def context(self, _image: Tensor) -> Tensor | None:
        """The bias of image features `(N, S, E)` for every token, `(N, E)`: 0 in mBART itself."""
        return None


class MBartHead(OutputPart):
    """Decodes an image `step` tokens at a time, each time the likeliest, by `decoder`.

    `max_seq_len` tokens are decoded at most, behind as many start tokens as a step has.
    """

    logits_layers = ("decoder.lm_head",)

    def __init__(
        self,
        in_channels: int,
        decoder: MBartForCausalLM,
        encoder_hidden_size: int,
        max_seq_len: int,
        step: int = 1,
    ) -> None:
        super().__init__()
        if in_channels != encoder_hidden_size:
            raise ValueError(
                f"the backbone gives {in_channels} channels, encoder_hidden_size is "
                f"{encoder_hidden_size}"
            )
        self.max_seq_len = max_seq_len
        self.step = step
        self.decoder = decoder
        width = decoder.lm_head.in_features
        # PaddleOCR has no projection where the widths agree.
        self.enc_to_dec_proj: nn.Module = nn.Identity()
        if width != encoder_hidden_size:
            self.enc_to_dec_proj = nn.Linear(encoder_hidden_size, width)

    def forward(self, features: Tensor) -> Tensor:
        """`features: (N, S, encoder_hidden_size)` to tokens `(N, T) int64`.

        A text begins with the start tokens and goes on to its end token; what follows in longer
        texts' company is padding.
        """
        image = self.enc_to_dec_proj(features)
        context, caches = self.decoder.context(image), self._mbart.caches()
        tokens = torch.full((image.shape[0], self.step), START, device=image.device)
        given, unfinished = tokens, torch.ones_like(tokens, dtype=torch.bool)
        for _ in range(self.max_seq_len // self.step):
            scores = self.decoder.lm_head(self._mbart(given, image, caches, context=context))
            given = scores[:, -self.step :].argmax(2)
            if self.step == 1 and tokens.shape[1] == LONGEST - 1:
                given = torch.full_like(given, END)
            given = torch.where(unfinished, given, PAD)
            tokens = torch.cat([tokens, given], 1)
            # Of a step's tokens each place is finished by itself, as in PaddleOCR.
            unfinished = unfinished & (given != END)
            if (tokens == END).any(1).all():
                break
        return tokens

    def score_tokens(self, features: Tensor, tokens: Tensor, causal: bool = True) -> Tensor:
        """Scores of `tokens[:, 1:]`, each from those before it: `(N, T - 1, vocab_size)`.

        `features` as in `forward`; `tokens: (N, T) int64`, from the start token on. Unless
        `causal`, every place attends to all teacher-forced tokens, as in PaddleOCR's eval mode.
        """
        starts = tokens.new_full((tokens.shape[0], self.step - 1), START)
        return self.score_steps(features, torch.cat([starts, tokens], 1)[:, : -self.step], causal)

    def score_steps(self, features: Tensor, tokens: Tensor, causal: bool = True) -> Tensor:
        """Scores of the tokens a step behind each of `tokens`: `(N, T, vocab_size)`.

        `features` as in `forward`; `tokens: (N, T) int64`, whole steps, from the start tokens on.
        """
        image = self.enc_to_dec_proj(features)
        steps = torch.arange(tokens.shape[1], device=tokens.device) // self.step
        x = self._mbart(
            tokens,
            image,
            self._mbart.caches(),
            visible=steps[:, None] >= steps if causal else None,
            context=self.decoder.context(image),
        )
        return self.decoder.lm_head(x)

    @property
    def _mbart(self) -> MBartDecoder:
        return cast("MBartDecoder", self.decoder.model["decoder"])
