"""PARSeq's decoder: it writes the text in order, then reads it again with all else in sight.

Scene Text Recognition with Permuted Autoregressive Sequence Models,
https://arxiv.org/abs/2207.06966; PaddleOCR: `ppocr/modeling/heads/rec_parseq_head.py`.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.compiler import is_exporting

from architectures.interfaces import OutputPart
from architectures.layers.attention import Cache, KeysValues, attend, causal, split_heads

END = 0  # the class after the last character; the two last classes are START and padding


def others(places: int, length: int, device: torch.device) -> Tensor:
    """The mask by which each place sees the text but for itself: `(places, length)` bool.

    The text begins with START, so character i is at index i + 1.
    """
    return ~torch.eye(places + 1, length, dtype=torch.bool, device=device)[1:]


class MultiHeadAttention(nn.Module):
    """Paddle's own layer of attention, in PyTorch's terms: queries, keys and values apart."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.q_proj = nn.Linear(dim, dim)
        self.k_proj = nn.Linear(dim, dim)
        self.v_proj = nn.Linear(dim, dim)
        self.out_proj = nn.Linear(dim, dim)

    def keys_values(self, x: Tensor) -> KeysValues:
        """Of a sequence `(N, S, dim)`."""
        heads = self.num_heads
        return split_heads(self.k_proj(x), heads), split_heads(self.v_proj(x), heads)

    def forward(self, x: Tensor, keys_values: KeysValues, mask: Tensor | None = None) -> Tensor:
        """`(N, T, dim)` to the same shape."""
        return self.out_proj(attend(split_heads(self.q_proj(x), self.num_heads), keys_values, mask))


class DecoderLayer(nn.Module):
    """A two-stream layer: position queries, and the content of the known text.

    Both attend to the content, then to the image.
    """

    def __init__(self, d_model: int, nhead: int, dim_feedforward: int) -> None:
        super().__init__()
        self.self_attn = MultiHeadAttention(d_model, nhead)
        self.cross_attn = MultiHeadAttention(d_model, nhead)
        self.linear1 = nn.Linear(d_model, dim_feedforward)
        self.linear2 = nn.Linear(dim_feedforward, d_model)
        self.norm1 = nn.LayerNorm(d_model)
        self.norm2 = nn.LayerNorm(d_model)
        self.norm_q = nn.LayerNorm(d_model)
        self.norm_c = nn.LayerNorm(d_model)

    def forward(
        self,
        query: Tensor,
        content: Tensor,
        cache: Cache,
        mask: Tensor | None = None,
        content_mask: Tensor | None = None,
        update_content: bool = True,
    ) -> tuple[Tensor, Tensor]:
        """`query: (N, Q, d_model)` and `content: (N, T, d_model)` to the same shapes.

        The places of `content` stand behind those that are in the cache, which takes them in.
        """
        query_norm, content_norm = self.norm_q(query), self.norm_c(content)
        known = cache.extended(self.self_attn.keys_values(content_norm))
        query = self.stream(query, query_norm, known, cache.memory, mask)
        if update_content:
            content = self.stream(content, content_norm, known, cache.memory, content_mask)
        return query, content

    def stream(
        self, x: Tensor, norm: Tensor, known: KeysValues, memory: KeysValues, mask: Tensor | None
    ) -> Tensor:
        """`(N, T, d_model)`, and the same normalised, to the same shape."""
        x = x + self.self_attn(norm, known, mask)
        x = x + self.cross_attn(self.norm1(x), memory)
        return x + self.linear2(F.gelu(self.linear1(self.norm2(x))))


class Decoder(nn.Module):
    """Two-stream layers; the last one does not update the content stream."""

    def __init__(self, d_model: int, nhead: int, dim_feedforward: int, num_layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            DecoderLayer(d_model, nhead, dim_feedforward) for _ in range(num_layers)
        )
        self.norm = nn.LayerNorm(d_model)

    def caches(self, memory: Tensor) -> list[Cache]:
        """One for each layer, for an image `(N, S, d_model)` and no text."""
        return [Cache(layer.cross_attn.keys_values(memory)) for layer in self._layers()]

    def forward(
        self,
        query: Tensor,
        content: Tensor,
        caches: list[Cache],
        mask: Tensor | None = None,
        content_mask: Tensor | None = None,
    ) -> Tensor:
        """`query: (N, Q, d_model)` to the same shape; `content` as in a layer."""
        last = len(caches) - 1
        for place, (layer, cache) in enumerate(zip(self._layers(), caches, strict=True)):
            query, content = layer(query, content, cache, mask, content_mask, place < last)
        return self.norm(query)

    def _layers(self) -> list[DecoderLayer]:
        return list(self.layers)  # type: ignore[arg-type]


class TokenEmbedding(nn.Module):
    """The classes as vectors, enlarged by the root of their width."""

    def __init__(self, charset_size: int, embed_dim: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(charset_size, embed_dim)
        self.scale = math.sqrt(embed_dim)

    def forward(self, tokens: Tensor) -> Tensor:
        """`(N, T)` int64 to `(N, T, embed_dim)`."""
        return self.embedding(tokens) * self.scale


class ParseQHead(OutputPart):
    """Reads the image as text, character by character, then `refine_iters` times as a whole.

    Without `decode_ar`, the first reading is of all characters at once, none of them known.
    """

    logits_layers = ("head",)

    def __init__(
        self,
        in_channels: int | None,  # noqa: ARG002, the backbone's width is `embed_dim`
        out_channels: int,
        max_text_length: int,
        embed_dim: int,
        dec_num_heads: int,
        dec_mlp_ratio: int,
        dec_depth: int,
        decode_ar: bool,
        refine_iters: int,
    ) -> None:
        super().__init__()
        self.start = out_channels - 2
        self.decode_ar = decode_ar
        self.refine_iters = refine_iters
        self.places = max_text_length + 1
        self.decoder = Decoder(embed_dim, dec_num_heads, embed_dim * dec_mlp_ratio, dec_depth)
        self.head = nn.Linear(embed_dim, out_channels - 2)
        self.text_embed = TokenEmbedding(out_channels, embed_dim)
        self.pos_queries = nn.Parameter(torch.empty(1, self.places, embed_dim))
        nn.init.trunc_normal_(self.pos_queries, std=0.02)

    def forward(self, memory: Tensor) -> Tensor:
        """`(N, S, embed_dim)` to `(N, T, out_channels - 2)` probabilities.

        T is one more than `max_text_length`. Without refinement it is less where all lines have
        ended before; characters after a line's first END are meaningless.
        """
        logits = self.write(memory) if self.decode_ar else self.guess(memory)
        for _ in range(self.refine_iters):
            logits = self.refine(memory, logits[:, :-1].argmax(-1))
        return logits.softmax(-1)

    def write(self, memory: Tensor) -> Tensor:
        """The scores `(N, T, classes)` of each character, those before it known."""
        caches = self.decoder.caches(memory)
        token = self._start(memory)
        ended = torch.zeros_like(token, dtype=torch.bool)
        logits = []
        # A graph cannot stop. The second reading does not see what follows the end of a text.
        graph = is_exporting() or torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
        endless = graph and self.refine_iters > 0
        for place in range(self.places):
            query = self.pos_queries[:, place : place + 1].expand(memory.shape[0], -1, -1)
            logits.append(self.head(self.decoder(query, self._content(token, place), caches)))
            token = logits[-1].argmax(-1)
            ended |= token == END
            if not endless and bool(ended.all()):
                break
        return torch.cat(logits, 1)

    def guess(self, memory: Tensor) -> Tensor:
        """The scores `(N, places, classes)` of all characters, none of them known."""
        content = self._content(self._start(memory), 0)
        query = self.pos_queries.expand(memory.shape[0], -1, -1)
        return self.head(self.decoder(query, content, self.decoder.caches(memory)))

    def refine(self, memory: Tensor, text: Tensor) -> Tensor:
        """The scores `(N, places, classes)` of each character, all others of the text known.

        `text: (N, T) int64`; positions after its first END are masked.
        """
        tokens = torch.cat([self._start(memory), text], 1)
        length = tokens.shape[1]
        unended = (tokens == END).cumsum(1) == 0
        mask = others(self.places, length, text.device) & unended[:, None, None]
        query = self.pos_queries.expand(memory.shape[0], -1, -1)
        caches = self.decoder.caches(memory)
        return self.head(
            self.decoder(query, self._content(tokens, 0), caches, mask, mask[:, :, :length])
        )

    def score_tokens(self, memory: Tensor, tokens: Tensor) -> Tensor:
        """Return the scores `(N, T, classes)` after each of the teacher-forced `tokens (N, T)`."""
        length = tokens.shape[1]
        query = self.pos_queries[:, :length].expand(memory.shape[0], -1, -1)
        mask = causal(length, memory.device)
        caches = self.decoder.caches(memory)
        return self.head(self.decoder(query, self._content(tokens, 0), caches, mask, mask))

    def _start(self, memory: Tensor) -> Tensor:
        return torch.full((memory.shape[0], 1), self.start, device=memory.device)

    def _content(self, tokens: Tensor, first: int) -> Tensor:
        """Embed the content from index `first` on; START has no position embedding."""
        content = self.text_embed(tokens)
        length = tokens.shape[1]
        if first:
            return content + self.pos_queries[:, first - 1 : first - 1 + length]
        if length == 1:
            return content
        return torch.cat([content[:, :1], content[:, 1:] + self.pos_queries[:, : length - 1]], 1)
