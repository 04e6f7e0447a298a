"""LayoutLMv2 and LayoutXLM: a transformer over the words of a page, their places, and its picture.

LayoutLMv2, https://arxiv.org/abs/2012.14740; LayoutXLM, https://arxiv.org/abs/2104.08836;
VI-LayoutXLM, https://arxiv.org/abs/2210.05391; PaddleNLP 2.5.2:
`paddlenlp/transformers/layoutlmv2/modeling.py` and `layoutxlm/modeling.py`.

Tokens of the picture follow those of the text: one for each cell of a grid. VI-LayoutXLM, which
sees no picture, has them too, but nothing attends to them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from architectures.backbones._resnext_fpn import VisualBackbone
from architectures.layers.attention import attend, split_heads
from architectures.layers.embedding import PaddedEmbedding

GRID = (7, 7)  # rows and columns of the tokens of the picture
SCALE = 1000  # coordinates of boxes run from 0 to this
MASKED = -1e10  # added to the score of a token that is not seen


@dataclass(frozen=True)
class LayoutSizes:
    """What distinguishes LayoutLMv2 from LayoutXLM, and the widths of both.

    Attributes:
        vocab_size: number of tokens.
        max_position_embeddings: number of places in a text.
        type_vocab_size: number of kinds of tokens.
        layer_norm_eps: epsilon of all layer normalisations.
        fast_qkv: whether one matrix makes queries, keys and values.
        relative_bias: whether attention depends on how far tokens lie apart, in the text and on
            the page.
        segment_embedding: whether the tokens of the picture have a vector in common.
        hidden_size, num_hidden_layers, num_attention_heads, intermediate_size: of the transformer.
        max_2d_position_embeddings: number of coordinates.
        rel_pos_bins, max_rel_pos: bins of distances in the text, and the first that is far.
        rel_2d_pos_bins, max_rel_2d_pos: bins of distances on the page, and the first that is far.
    """

    vocab_size: int
    max_position_embeddings: int
    type_vocab_size: int
    layer_norm_eps: float
    fast_qkv: bool
    relative_bias: bool
    segment_embedding: bool
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    max_2d_position_embeddings: int = 1024
    rel_pos_bins: int = 32
    max_rel_pos: int = 128
    rel_2d_pos_bins: int = 64
    max_rel_2d_pos: int = 256


LAYOUTLMV2 = LayoutSizes(30522, 512, 2, 1e-12, True, True, False)
LAYOUTXLM = LayoutSizes(250002, 514, 1, 1e-5, False, False, True)


def bucket(distance: Tensor, bins: int, far: int) -> Tensor:
    """Return the bin of each distance, int64: half of the bins for each sign.

    Of those, half again hold one distance each; the others grow with the distance, up to `far`.
    """
    half = bins // 2
    exact = half // 2
    size = distance.abs()
    grown = torch.log(size.clamp(min=1).float() / exact) / math.log(far / exact) * (half - exact)
    binned = torch.where(size < exact, size, (exact + grown.long()).clamp(max=half - 1))
    return binned + (distance > 0).long() * half


def one_hot(classes: Tensor, count: int, dtype: torch.dtype) -> Tensor:
    """Return `(...)` int64 as `(..., count)` in a floating type."""
    return classes.unsqueeze(-1).eq(torch.arange(count, device=classes.device)).to(dtype)


class Embeddings(nn.Module):
    """Tokens, their places in the text and on the page, and their kinds, as vectors."""

    def __init__(self, sizes: LayoutSizes) -> None:
        super().__init__()
        hidden, places = sizes.hidden_size, sizes.max_2d_position_embeddings
        # Whatever the padding token of the vocabulary, PaddleNLP embeds token 0 as zeros.
        self.word_embeddings = PaddedEmbedding(sizes.vocab_size, hidden, padding=0)
        self.position_embeddings = nn.Embedding(sizes.max_position_embeddings, hidden)
        self.x_position_embeddings = nn.Embedding(places, hidden // 6)
        self.y_position_embeddings = nn.Embedding(places, hidden // 6)
        self.h_position_embeddings = nn.Embedding(places, hidden // 6)
        self.w_position_embeddings = nn.Embedding(places, hidden // 6)
        self.token_type_embeddings = nn.Embedding(sizes.type_vocab_size, hidden)
        self.LayerNorm = nn.LayerNorm(hidden, eps=sizes.layer_norm_eps)

    def positions(self, bbox: Tensor) -> Tensor:
        """Return the places of boxes `(N, T, 4)` int64 on the page, `(N, T, hidden)`."""
        left, top, right, bottom = bbox.unbind(-1)
        parts = [
            self.x_position_embeddings(left),
            self.y_position_embeddings(top),
            self.x_position_embeddings(right),
            self.y_position_embeddings(bottom),
            self.h_position_embeddings(bottom - top),
            self.w_position_embeddings(right - left),
        ]
        return torch.cat(parts, -1)

    def forward(self, input_ids: Tensor, bbox: Tensor, places: Tensor, kinds: Tensor) -> Tensor:
        """Tokens, places and kinds `(N, T)`, boxes `(N, T, 4)` to `(N, T, hidden)`."""
        words = self.word_embeddings(input_ids) + self.position_embeddings(places)
        return self.LayerNorm(words + self.positions(bbox) + self.token_type_embeddings(kinds))


class SelfAttention(nn.Module):
    """Queries, keys and values of three matrices, or of one without a bias for the keys."""

    def __init__(self, sizes: LayoutSizes) -> None:
        super().__init__()
        hidden = sizes.hidden_size
        self.heads, self.fast = sizes.num_attention_heads, sizes.fast_qkv
        if self.fast:
            self.qkv_linear = nn.Linear(hidden, 3 * hidden, bias=False)
            self.q_bias = nn.Parameter(torch.zeros(1, 1, hidden))
            self.v_bias = nn.Parameter(torch.zeros(1, 1, hidden))
        else:
            self.query, self.key, self.value = (nn.Linear(hidden, hidden) for _ in range(3))

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """`(N, T, hidden)` to the same shape; `bias` is added to the scores."""
        if self.fast:
            q, k, v = self.qkv_linear(x).chunk(3, -1)
            q, v = q + self.q_bias, v + self.v_bias
        else:
            q, k, v = self.query(x), self.key(x), self.value(x)
        q, k, v = (split_heads(part, self.heads) for part in (q, k, v))
        return attend(q, (k, v), bias)


class AddedAndNormed(nn.Module):
    """A linear layer whose result is added to another sequence, and the sum normalised."""

    def __init__(self, in_features: int, sizes: LayoutSizes) -> None:
        super().__init__()
        self.dense = nn.Linear(in_features, sizes.hidden_size)
        self.LayerNorm = nn.LayerNorm(sizes.hidden_size, eps=sizes.layer_norm_eps)

    def forward(self, x: Tensor, base: Tensor) -> Tensor:
        """`(N, T, in_features)` and `(N, T, hidden)` to `(N, T, hidden)`."""
        return self.LayerNorm(self.dense(x) + base)


class Attention(nn.Module):
    """Self-attention and its shortcut."""

    def __init__(self, sizes: LayoutSizes) -> None:
        super().__init__()
        self.self = SelfAttention(sizes)
        self.output = AddedAndNormed(sizes.hidden_size, sizes)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """`(N, T, hidden)` to the same shape."""
        return self.output(self.self(x, bias), x)


class Intermediate(nn.Module):
    """The wide half of a feed-forward block."""

    def __init__(self, sizes: LayoutSizes) -> None:
        super().__init__()
        self.dense = nn.Linear(sizes.hidden_size, sizes.intermediate_size)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, T, hidden)` to `(N, T, intermediate)`."""
        return F.gelu(self.dense(x))


class Layer(nn.Module):
    """Attention and feed-forward, each normalised after its shortcut."""

    def __init__(self, sizes: LayoutSizes) -> None:
        super().__init__()
        self.attention = Attention(sizes)
        self.intermediate = Intermediate(sizes)
        self.output = AddedAndNormed(sizes.intermediate_size, sizes)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """`(N, T, hidden)` to the same shape."""
        x = self.attention(x, bias)
        return self.output(self.intermediate(x), x)


class Encoder(nn.Module):
    """The layers, and what attention adds for distances."""

    def __init__(self, sizes: LayoutSizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.layer = nn.ModuleList(Layer(sizes) for _ in range(sizes.num_hidden_layers))
        if sizes.relative_bias:
            heads = sizes.num_attention_heads
            self.rel_pos_bias = nn.Linear(sizes.rel_pos_bins, heads, bias=False)
            self.rel_pos_x_bias = nn.Linear(sizes.rel_2d_pos_bins, heads, bias=False)
            self.rel_pos_y_bias = nn.Linear(sizes.rel_2d_pos_bins, heads, bias=False)

    def distances(self, places: Tensor, bbox: Tensor, dtype: torch.dtype) -> Tensor:
        """Return what is added to the scores, `(N, heads, T, T)`.

        Args:
            places: of the tokens in their sequence, (N, T) int64.
            bbox: their boxes, (N, T, 4) int64; left and bottom sides count.
            dtype: of the result.
        """
        sizes = self.sizes

        def bias(layer: nn.Linear, values: Tensor, bins: int, far: int) -> Tensor:
            apart = values.unsqueeze(-2) - values.unsqueeze(-1)
            return layer(one_hot(bucket(apart, bins, far), bins, dtype)).permute(0, 3, 1, 2)

        in_text = bias(self.rel_pos_bias, places, sizes.rel_pos_bins, sizes.max_rel_pos)
        across, down = (
            bias(layer, values, sizes.rel_2d_pos_bins, sizes.max_rel_2d_pos)
            for layer, values in (
                (self.rel_pos_x_bias, bbox[:, :, 0]),
                (self.rel_pos_y_bias, bbox[:, :, 3]),
            )
        )
        return in_text + (across + down)

    def forward(self, x: Tensor, seen: Tensor, places: Tensor, bbox: Tensor) -> list[Tensor]:
        """Return the output of every layer, each `(N, T, hidden)`.

        Args:
            x: (N, T, hidden).
            seen: the tokens that others attend to, (N, T) bool.
            places: (N, T) int64.
            bbox: (N, T, 4) int64.
        """
        bias = torch.where(seen, 0.0, MASKED).to(x.dtype)[:, None, None]
        if self.sizes.relative_bias:
            bias = bias + self.distances(places, bbox, x.dtype)
        states = []
        for layer in self.layer:
            x = layer(x, bias)
            states.append(x)
        return states


class LayoutLMv2Model(nn.Module):
    """The transformer, its embeddings, and the visual branch unless the network is VI's.

    Args:
        sizes: of the network.
        visual: options of `VisualBackbone` that are not the usual ones; None for no visual branch.
    """

    def __init__(self, sizes: LayoutSizes, visual: Mapping[str, int] | None) -> None:
        super().__init__()
        hidden = sizes.hidden_size
        self.embeddings = Embeddings(sizes)
        self.sees_image = visual is not None
        if visual is not None:
            self.visual = VisualBackbone(GRID, **visual)
            width = self.visual.backbone.fpn_output2.out_channels
            self.visual_proj = nn.Linear(width, hidden)
        self.visual_segment_embedding = (
            nn.Parameter(torch.zeros(hidden)) if sizes.segment_embedding else None
        )
        self.visual_LayerNorm = nn.LayerNorm(hidden, eps=sizes.layer_norm_eps)
        self.encoder = Encoder(sizes)

    def picture(self, boxes: Tensor, places: Tensor, image: Tensor | None) -> Tensor:
        """Return the tokens of the picture, `(N, cells, hidden)`."""
        embedded = self.embeddings.position_embeddings(places) + self.embeddings.positions(boxes)
        if image is not None:
            embedded = self.visual_proj(self.visual(image)) + embedded
        if self.visual_segment_embedding is not None:
            embedded = embedded + self.visual_segment_embedding
        return self.visual_LayerNorm(embedded)

    def forward(
        self,
        input_ids: Tensor,
        bbox: Tensor,
        attention_mask: Tensor,
        token_type_ids: Tensor,
        image: Tensor | None = None,
    ) -> tuple[Tensor, list[Tensor]]:
        """Return the output of the last layer, and of all, each `(N, T + cells, hidden)`.

        Args:
            input_ids: (N, T) int64.
            bbox: (N, T, 4) int64: left, top, right, bottom, from 0 to 1000.
            attention_mask: (N, T) int64, 1 for a token, 0 for padding.
            token_type_ids: (N, T) int64.
            image: (N, 3, 224, 224) float32, where the network sees one.
        """
        count, length = input_ids.shape
        boxes = cells(bbox).expand(count, -1, -1)
        places, cell_places = (
            torch.arange(number, device=input_ids.device).expand(count, -1)
            for number in (length, boxes.shape[1])
        )
        text = self.embeddings(input_ids, bbox, places, token_type_ids)
        picture = self.picture(boxes, cell_places, image)
        fill = torch.ones_like if self.sees_image else torch.zeros_like
        seen = fill(cell_places, dtype=torch.bool)
        states = self.encoder(
            torch.cat([text, picture], 1),
            torch.cat([attention_mask.bool(), seen], 1),
            torch.cat([places, cell_places], 1),
            torch.cat([bbox, boxes], 1),
        )
        return states[-1], states


def cells(bbox: Tensor) -> Tensor:
    """Return the boxes of the cells of the picture, row by row, `(1, rows * columns, 4)` int64.

    Args:
        bbox: boxes of the type and on the device that the result has.
    """
    rows, columns = (
        torch.arange(0, SCALE * (count + 1), SCALE, device=bbox.device, dtype=bbox.dtype) // count
        for count in GRID
    )
    top, left = torch.meshgrid(rows[:-1], columns[:-1], indexing="ij")
    bottom, right = torch.meshgrid(rows[1:], columns[1:], indexing="ij")
    return torch.stack([left, top, right, bottom], -1).view(1, -1, 4)
