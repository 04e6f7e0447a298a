"""The transformer that reads the order of a page's regions from their boxes and classes.

PaddleX: `paddlex/inference/models/object_detection/modeling/pp_doclayout_v2.py`. LayoutLMv3,
https://arxiv.org/abs/2204.08387; relations of boxes as in Relation DETR,
https://arxiv.org/abs/2407.11699.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn

from architectures.layers.attention import attend, split_heads
from architectures.layers.embedding import PaddedEmbedding
from architectures.layers.global_pointer import GlobalPointer

START, PADDING, END, REGION = range(4)  # tokens; a page is START, its regions, END, padding
PAGE = 1000  # boxes are shares of the page, times this
COORDINATES = 1024  # positions that have an embedding
KINDS = 20  # kinds of regions that have an embedding
POSITIONS = 514
LEAST_SIDE = 1e-3
EPS = 1e-5
RELATION_WIDTH = 16  # sines and cosines of each of the four numbers that relate two boxes
RELATION_SCALE = 100.0
THETA = 10000.0


class RegionEmbeddings(nn.Module):
    """A token's kind and place in the sequence, and its box, as one vector."""

    def __init__(self, dim: int, coordinate_size: int, shape_size: int) -> None:
        super().__init__()
        self.word_embeddings = PaddedEmbedding(4, dim, PADDING)
        self.token_type_embeddings = nn.Embedding(1, dim)
        self.position_embeddings = PaddedEmbedding(POSITIONS, dim, PADDING)
        self.x_position_embeddings = nn.Embedding(COORDINATES, coordinate_size)
        self.y_position_embeddings = nn.Embedding(COORDINATES, coordinate_size)
        self.h_position_embeddings = nn.Embedding(COORDINATES, shape_size)
        self.w_position_embeddings = nn.Embedding(COORDINATES, shape_size)
        self.spatial_proj = nn.Linear(4 * coordinate_size + 2 * shape_size, dim)
        self.LayerNorm = nn.LayerNorm(dim)

    def forward(self, tokens: Tensor, is_used: Tensor, boxes: Tensor) -> Tensor:
        """Embed tokens, without the normalisation.

        Args:
            tokens: `(N, T) int64`.
            is_used: which of them are no padding, `(N, T) bool`.
            boxes: left, top, right and bottom, 0 to 1000, `(N, T, 4) int64`.

        Returns:
            `(N, T, dim)`.
        """
        places = is_used.cumsum(1) * is_used + PADDING
        left, top, right, bottom = boxes.unbind(2)
        sides = [
            self.x_position_embeddings(left),
            self.y_position_embeddings(top),
            self.x_position_embeddings(right),
            self.y_position_embeddings(bottom),
            self.h_position_embeddings((bottom - top).clamp(0, COORDINATES - 1)),
            self.w_position_embeddings((right - left).clamp(0, COORDINATES - 1)),
        ]
        return (
            self.word_embeddings(tokens)
            + self.token_type_embeddings(torch.zeros_like(tokens))
            + self.position_embeddings(places)
            + self.spatial_proj(torch.cat(sides, 2))
        )


class BoxRelations(nn.Module):
    """What the attention of a region to another one owes to where their boxes lie."""

    def __init__(self, num_heads: int) -> None:
        super().__init__()
        self.pos_proj = nn.Conv2d(4 * RELATION_WIDTH, num_heads, 1)

    def forward(self, boxes: Tensor) -> Tensor:
        """Boxes as corners, `(N, T, 4) float32`, to `(N, num_heads, T, T)`."""
        top_left, bottom_right = boxes.split(2, 2)
        centres = (top_left + bottom_right) * 0.5
        sizes = (bottom_right - top_left).clamp(min=LEAST_SIDE) + EPS
        distances = (centres[:, :, None] - centres[:, None]).abs()
        numbers = torch.cat(
            [
                torch.log(distances / sizes[:, :, None] + 1.0),
                torch.log(sizes[:, :, None] / sizes[:, None]),
            ],
            3,
        )
        half = RELATION_WIDTH // 2
        steps = torch.arange(half, dtype=boxes.dtype, device=boxes.device) * 2 / half
        angles = (numbers * RELATION_SCALE)[..., None] * (1.0 / THETA**steps)
        waves = torch.cat([angles.sin(), angles.cos()], 4).flatten(3)
        return self.pos_proj(waves.permute(0, 3, 1, 2))


class SelfAttention(nn.Module):
    """Multi-head self-attention with a bias, without the projection of its result."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.query = nn.Linear(dim, dim)
        self.key = nn.Linear(dim, dim)
        self.value = nn.Linear(dim, dim)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """`(N, T, dim)` to the same shape; `bias: (N, num_heads, T, T)` is added to the logits."""
        query, key, value = (
            split_heads(layer(x), self.num_heads) for layer in (self.query, self.key, self.value)
        )
        return attend(query, (key, value), bias)


class AddAndNorm(nn.Module):
    """A linear layer, the residual connection, and LayerNorm."""

    def __init__(self, in_features: int, dim: int) -> None:
        super().__init__()
        self.dense = nn.Linear(in_features, dim)
        self.LayerNorm = nn.LayerNorm(dim)

    def forward(self, x: Tensor, residual: Tensor) -> Tensor:
        """`(N, T, in_features)` and `(N, T, dim)` to `(N, T, dim)`."""
        return self.LayerNorm(self.dense(x) + residual)


class EncoderLayer(nn.Module):
    """A post-norm transformer block with GELU, under the names of BERT."""

    def __init__(self, dim: int, num_heads: int, dim_feedforward: int) -> None:
        super().__init__()
        self.attention = nn.ModuleDict(
            {"self": SelfAttention(dim, num_heads), "output": AddAndNorm(dim, dim)}
        )
        self.intermediate = nn.Sequential(OrderedDict(dense=nn.Linear(dim, dim_feedforward)))
        self.act = nn.GELU()
        self.output = AddAndNorm(dim_feedforward, dim)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """`(N, T, dim)` to the same shape; `bias` as in `SelfAttention`."""
        x = self.attention["output"](self.attention["self"](x, bias), x)
        return self.output(self.act(self.intermediate(x)), x)


class Encoder(nn.Module):
    """Transformer blocks that share one bias."""

    def __init__(self, dim: int, num_heads: int, dim_feedforward: int, depth: int) -> None:
        super().__init__()
        self.layer = nn.ModuleList(
            EncoderLayer(dim, num_heads, dim_feedforward) for _ in range(depth)
        )
        self.rel_bias_module = BoxRelations(num_heads)

    def forward(self, x: Tensor, boxes: Tensor, is_used: Tensor) -> Tensor:
        """Run the blocks.

        Args:
            x: `(N, T, dim)`.
            boxes: `(N, T, 4) float32`.
            is_used: which tokens are no padding, `(N, T) bool`.

        Returns:
            `(N, T, dim)`.
        """
        bias = self.rel_bias_module(boxes).masked_fill(~is_used[:, None, None], -torch.inf)
        for layer in self.layer:
            x = layer(x, bias)
        return x


class ReadingOrder(nn.Module):
    """Scores each pair of regions by which is read first.

    Args:
        dim: width of the transformer.
        num_heads, dim_feedforward, depth: of the transformer.
        coordinate_size: width of the embedding of each of the four sides of a box.
        shape_size: width of the embedding of a height or width.
        pointer_size: width of the vectors whose products are the scores.
    """

    def __init__(
        self,
        dim: int = 512,
        num_heads: int = 8,
        dim_feedforward: int = 2048,
        depth: int = 6,
        coordinate_size: int = 171,
        shape_size: int = 170,
        pointer_size: int = 64,
    ) -> None:
        super().__init__()
        self.embeddings = RegionEmbeddings(dim, coordinate_size, shape_size)
        self.label_embeddings = nn.Embedding(KINDS, dim)
        self.label_features_projection = nn.Linear(dim, dim)
        self.encoder = Encoder(dim, num_heads, dim_feedforward, depth)
        self.relative_head = GlobalPointer(dim, pointer_size)

    def forward(self, boxes: Tensor, kinds: Tensor, is_region: Tensor) -> Tensor:
        """Score the pairs of each page.

        Args:
            boxes: left, top, right and bottom, 0 to 1000, `(N, Q, 4) float32`; zeros after the
                regions.
            kinds: `(N, Q) int64`, below 20.
            is_region: `(N, Q) bool`; the regions come first.

        Returns:
            `(N, Q, Q)`, logits above the diagonal.
        """
        count = is_region.sum(1, keepdim=True)
        places = torch.arange(boxes.shape[1] + 2, device=boxes.device)
        tokens = torch.full_like(kinds[:, :1], PADDING).repeat(1, len(places))
        tokens[:, 0] = START
        tokens = tokens.masked_fill((places > 0) & (places <= count), REGION)
        tokens = tokens.masked_fill(places == count + 1, END)
        is_used = places <= count + 1
        boxes = nn.functional.pad(boxes, (0, 0, 1, 1))
        labels = self.label_features_projection(self.label_embeddings(kinds))
        x = self.embeddings(tokens, is_used, boxes.long()) + nn.functional.pad(labels, (0, 0, 1, 1))
        x = self.embeddings.LayerNorm(x)
        encoded = self.encoder(x, boxes, is_used)
        return self.relative_head(encoded[:, 1:-1])
