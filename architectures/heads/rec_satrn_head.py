"""SATRN: a transformer over the map itself, and one that writes the text of it.

On Recognizing Texts of Arbitrary Shapes with 2D Self-Attention, https://arxiv.org/abs/1910.04396;
PaddleOCR: `ppocr/modeling/heads/rec_satrn_head.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from architectures.interfaces import OutputPart
from architectures.layers.attention import Cache, KeysValues, attend, causal, sinusoids, split_heads
from architectures.layers.conv import ConvBNAct
from architectures.layers.embedding import PaddedEmbedding
from architectures.layers.svtr_blocks import to_map, to_sequence

# What only the training reads of the two halves' options, and the lengths of PaddleOCR's tables.
IGNORED = ("dropout", "n_position")


class MultiHeadAttention(nn.Module):
    """Attention without biases; queries, keys and values apart."""

    def __init__(self, n_head: int, d_model: int, d_k: int, d_v: int) -> None:
        super().__init__()
        self.n_head = n_head
        self.linear_q = nn.Linear(n_head * d_k, n_head * d_k, bias=False)
        self.linear_k = nn.Linear(n_head * d_k, n_head * d_k, bias=False)
        self.linear_v = nn.Linear(n_head * d_v, n_head * d_v, bias=False)
        self.fc = nn.Linear(n_head * d_v, d_model, bias=False)

    def keys_values(self, x: Tensor) -> KeysValues:
        """Of a sequence `(N, S, d_model)`."""
        k, v = (split_heads(layer(x), self.n_head) for layer in (self.linear_k, self.linear_v))
        return k, v

    def forward(self, x: Tensor, keys_values: KeysValues, mask: Tensor | None = None) -> Tensor:
        """`(N, T, d_model)` to the same shape."""
        return self.fc(attend(split_heads(self.linear_q(x), self.n_head), keys_values, mask))


class LocalityAwareFeedforward(nn.Module):
    """Two pointwise convolutions of the map, a depthwise one between them."""

    def __init__(self, d_in: int, d_hid: int) -> None:
        super().__init__()
        self.conv1 = ConvBNAct(d_in, d_hid, 1, act="relu")
        self.depthwise_conv = ConvBNAct(d_hid, d_hid, 3, groups=d_hid, act="relu")
        self.conv2 = ConvBNAct(d_hid, d_in, 1, act="relu")

    def forward(self, x: Tensor) -> Tensor:
        """`(N, d_in, H, W)` to the same shape."""
        return self.conv2(self.depthwise_conv(self.conv1(x)))


class SATRNEncoderLayer(nn.Module):
    """A transformer block whose second half mixes each place with its neighbours on the map."""

    def __init__(self, d_model: int, d_inner: int, n_head: int, d_k: int, d_v: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(d_model)
        self.attn = MultiHeadAttention(n_head, d_model, d_k, d_v)
        self.norm2 = nn.LayerNorm(d_model)
        self.feed_forward = LocalityAwareFeedforward(d_model, d_inner)

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        """`(N, H * W, d_model)` to the same shape."""
        norm = self.norm1(x)
        x = x + self.attn(norm, self.attn.keys_values(norm))
        return x + to_sequence(self.feed_forward(to_map(self.norm2(x), size)))


class Adaptive2DPositionalEncoding(nn.Module):
    """Adds the positions of rows and of columns, each channel as strong as the whole map says."""

    def __init__(self, d_hid: int) -> None:
        super().__init__()
        self.h_scale = self._scale(d_hid)
        self.w_scale = self._scale(d_hid)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, d_hid, H, W)` to the same shape."""
        mean = F.adaptive_avg_pool2d(x, 1)
        _, channels, height, width = x.shape
        rows = sinusoids(height, channels, x).T.unsqueeze(2)
        columns = sinusoids(width, channels, x).T.unsqueeze(1)
        return x + self.h_scale(mean) * rows + self.w_scale(mean) * columns

    def _scale(self, channels: int) -> nn.Sequential:
        return nn.Sequential(
            nn.Conv2d(channels, channels, 1),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 1),
            nn.Sigmoid(),
        )


class SATRNEncoder(nn.Module):
    """The map with positions, through transformer blocks, normalised."""

    def __init__(
        self,
        n_layers: int = 12,
        n_head: int = 8,
        d_k: int = 64,
        d_v: int = 64,
        d_model: int = 512,
        d_inner: int = 256,
    ) -> None:
        super().__init__()
        self.position_enc = Adaptive2DPositionalEncoding(d_model)
        self.layer_stack = nn.ModuleList(
            SATRNEncoderLayer(d_model, d_inner, n_head, d_k, d_v) for _ in range(n_layers)
        )
        self.layer_norm = nn.LayerNorm(d_model)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, d_model, H, W)` to `(N, H * W, d_model)`."""
        size = (x.shape[2], x.shape[3])
        x = to_sequence(self.position_enc(x))
        for layer in self.layer_stack:
            x = layer(x, size)
        return self.layer_norm(x)


class PositionwiseFeedForward(nn.Module):
    """Two linear layers, a GELU between them."""

    def __init__(self, d_in: int, d_hid: int) -> None:
        super().__init__()
        self.w_1 = nn.Linear(d_in, d_hid)
        self.w_2 = nn.Linear(d_hid, d_in)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, T, d_in)` to the same shape."""
        return self.w_2(F.gelu(self.w_1(x)))


class TFDecoderLayer(nn.Module):
    """A block that looks at the text so far, then at the image."""

    def __init__(self, d_model: int, d_inner: int, n_head: int, d_k: int, d_v: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(d_model)
        self.norm2 = nn.LayerNorm(d_model)
        self.norm3 = nn.LayerNorm(d_model)
        self.self_attn = MultiHeadAttention(n_head, d_model, d_k, d_v)
        self.enc_attn = MultiHeadAttention(n_head, d_model, d_k, d_v)
        self.mlp = PositionwiseFeedForward(d_model, d_inner)

    def forward(self, x: Tensor, cache: Cache, mask: Tensor | None = None) -> Tensor:
        """`(N, T, d_model)`, the places behind those in the cache, to the same shape."""
        norm = self.norm1(x)
        x = x + self.self_attn(norm, cache.extended(self.self_attn.keys_values(norm)), mask)
        x = x + self.enc_attn(self.norm2(x), cache.memory)
        return x + self.mlp(self.norm3(x))


class SATRNDecoder(nn.Module):
    """Writes `max_seq_len` characters. `start_idx` and `padding_idx` are classes."""

    def __init__(
        self,
        num_classes: int,
        n_layers: int = 6,
        d_embedding: int = 512,
        n_head: int = 8,
        d_k: int = 64,
        d_v: int = 64,
        d_model: int = 512,
        d_inner: int = 256,
        max_seq_len: int = 40,
        start_idx: int = 1,
        padding_idx: int = 92,
    ) -> None:
        super().__init__()
        self.start = start_idx
        self.padding = padding_idx
        self.places = max_seq_len
        self.trg_word_emb = PaddedEmbedding(num_classes, d_embedding, padding_idx)
        self.layer_stack = nn.ModuleList(
            TFDecoderLayer(d_model, d_inner, n_head, d_k, d_v) for _ in range(n_layers)
        )
        self.layer_norm = nn.LayerNorm(d_model, eps=1e-6)
        self.classifier = nn.Linear(d_model, num_classes - 1)

    def forward(self, memory: Tensor) -> Tensor:
        """`(N, S, d_model)` to probabilities `(N, places, num_classes - 1)`.

        PaddleOCR runs all places at every step, those to come as padding. Here the first step alone
        does, whose layers can then be compared with PaddleOCR's; the others run the new character.
        """
        tokens = torch.full((memory.shape[0], self.places + 1), self.padding, device=memory.device)
        tokens[:, 0] = self.start
        positions = self._positions(tokens.shape[1], memory)
        caches = self._caches(memory)
        read = self._read(tokens, positions, caches)[:, 0]
        for cache in caches:
            cache.cut(1)
        probabilities = [self.classifier(read).softmax(-1)]
        for place in range(1, self.places):
            token = probabilities[-1].argmax(-1, keepdim=True)
            read = self.layer_norm(self._run(token, positions[place : place + 1], caches))[:, 0]
            probabilities.append(self.classifier(read).softmax(-1))
        return torch.stack(probabilities, 1)

    def score_tokens(self, memory: Tensor, tokens: Tensor) -> Tensor:
        """Return the scores `(N, T, classes)` after each of the teacher-forced `tokens (N, T)`."""
        positions = self._positions(tokens.shape[1], memory)
        return self.classifier(self._read(tokens, positions, self._caches(memory)))

    def _read(self, tokens: Tensor, positions: Tensor, caches: list[Cache]) -> Tensor:
        """Decode a whole text `(N, T)` to `(N, T, d_model)` with a causal mask."""
        seen = (tokens == self.padding).logical_not()[:, None, None]
        mask = seen & causal(tokens.shape[1], tokens.device)
        return self.layer_norm(self._run(tokens, positions, caches, mask))

    def _run(
        self, tokens: Tensor, positions: Tensor, caches: list[Cache], mask: Tensor | None = None
    ) -> Tensor:
        x = self.trg_word_emb(tokens) + positions
        for layer, cache in zip(self.layer_stack, caches, strict=True):
            x = layer(x, cache, mask)
        return x

    def _positions(self, length: int, like: Tensor) -> Tensor:
        return sinusoids(length, self.trg_word_emb.embedding_dim, like)

    def _caches(self, memory: Tensor) -> list[Cache]:
        layers: list[TFDecoderLayer] = list(self.layer_stack)  # type: ignore[arg-type]
        return [Cache(layer.enc_attn.keys_values(memory)) for layer in layers]


class SATRNHead(OutputPart):
    """Encoder and decoder; `enc_cfg` and `dec_cfg` are their options, as in PaddleOCR."""

    logits_layers = ("decoder.classifier",)

    def __init__(
        self,
        in_channels: int | None,  # noqa: ARG002, the backbone's width is `d_model`
        out_channels: int,
        enc_cfg: Mapping[str, Any],
        dec_cfg: Mapping[str, Any],
    ) -> None:
        super().__init__()
        encoder, decoder = (
            {name: value for name, value in options.items() if name not in IGNORED}
            for options in (enc_cfg, dec_cfg)
        )
        if (stated := decoder.pop("num_classes", out_channels)) != out_channels:
            raise ValueError(f"dec_cfg states {stated} classes, not the {out_channels} of the head")
        self.encoder = SATRNEncoder(**encoder)
        self.decoder = SATRNDecoder(out_channels, **decoder)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, d_model, H, W)` to probabilities `(N, max_seq_len, out_channels - 1)`."""
        return self.decoder(self.encoder(x))

    def score_tokens(self, x: Tensor, tokens: Tensor) -> Tensor:
        """Return the scores `(N, T, classes)` after each of the teacher-forced `tokens (N, T)`."""
        return self.decoder.score_tokens(self.encoder(x), tokens)
