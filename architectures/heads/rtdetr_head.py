"""RT-DETR's decoder: the best positions of the maps become queries, refined layer by layer.

DETRs Beat YOLOs on Real-time Object Detection, https://arxiv.org/abs/2304.08069; Deformable DETR,
https://arxiv.org/abs/2010.04159; PaddleDetection: `ppdet/modeling/transformers/
rtdetr_transformer.py` and `deformable_transformer.py`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from architectures.interfaces import OutputPart
from architectures.layers.packed_attention import PackedAttention

Size = tuple[int, int]
GRID = 0.05  # side of an anchor of the finest map, as a share of the image
BORDER = 1e-2  # anchors nearer to the border than this are masked
EPS = 1e-5


class MLP(nn.Module):
    """Linear layers with ReLU between them."""

    def __init__(self, in_features: int, hidden: int, out_features: int, depth: int) -> None:
        super().__init__()
        widths = [in_features, *[hidden] * (depth - 1), out_features]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))

    def forward(self, x: Tensor) -> Tensor:
        """`(..., in_features)` to `(..., out_features)`."""
        *hidden, last = self.layers
        for layer in hidden:
            x = F.relu(layer(x))
        return last(x)


class MSDeformableAttention(nn.Module):
    """Attention to a few sampled points of each map, around the box of the query."""

    def __init__(self, dim: int, num_heads: int, num_levels: int, num_points: int) -> None:
        super().__init__()
        self.num_heads, self.num_levels, self.num_points = num_heads, num_levels, num_points
        samples = num_heads * num_levels * num_points
        self.sampling_offsets = nn.Linear(dim, 2 * samples)
        self.attention_weights = nn.Linear(dim, samples)
        self.value_proj = nn.Linear(dim, dim)
        self.output_proj = nn.Linear(dim, dim)

    def forward(
        self, query: Tensor, boxes: Tensor, memory: Tensor, sizes: Sequence[Size]
    ) -> Tensor:
        """Sample and weigh the maps.

        Args:
            query: `(N, Q, dim)`.
            boxes: centre, width and height of each query, 0 to 1, `(N, Q, 4)`.
            memory: all maps as one sequence, `(N, S, dim)`.
            sizes: height and width of each map.

        Returns:
            `(N, Q, dim)`.
        """
        heads, levels, points = self.num_heads, self.num_levels, self.num_points
        values = self.value_proj(memory).unflatten(2, (heads, -1))
        offsets = self.sampling_offsets(query).unflatten(2, (heads, levels, points, 2))
        weights = self.attention_weights(query).unflatten(2, (heads, levels * points)).softmax(3)
        centres, extents = boxes[:, :, None, None, None].split(2, 5)
        grids = 2 * (centres + offsets / points * extents * 0.5) - 1
        sampled = []
        for level, part in enumerate(values.split([h * w for h, w in sizes], 1)):
            map_ = part.permute(0, 2, 3, 1).flatten(0, 1).unflatten(2, sizes[level])
            grid = grids[:, :, :, level].transpose(1, 2).flatten(0, 1)
            sampled.append(F.grid_sample(map_, grid, align_corners=False))
        # (N * heads, dim / heads, Q, levels * points), weighed and summed over the points
        weights = weights.transpose(1, 2).flatten(0, 1)[:, None]
        mixed = (torch.cat(sampled, 3) * weights).sum(3)
        return self.output_proj(mixed.unflatten(0, (-1, heads)).flatten(1, 2).transpose(1, 2))


class DecoderLayer(nn.Module):
    """Attention among the queries, to the maps, and a feed-forward layer, each post-norm."""

    def __init__(
        self, dim: int, num_heads: int, dim_feedforward: int, num_levels: int, num_points: int
    ) -> None:
        super().__init__()
        self.self_attn = PackedAttention(dim, num_heads)
        self.norm1 = nn.LayerNorm(dim)
        self.cross_attn = MSDeformableAttention(dim, num_heads, num_levels, num_points)
        self.norm2 = nn.LayerNorm(dim)
        self.linear1 = nn.Linear(dim, dim_feedforward)
        self.linear2 = nn.Linear(dim_feedforward, dim)
        self.norm3 = nn.LayerNorm(dim)

    def forward(
        self, x: Tensor, positions: Tensor, boxes: Tensor, memory: Tensor, sizes: Sequence[Size]
    ) -> Tensor:
        """Refine the queries `x: (N, Q, dim)`; the rest as in `MSDeformableAttention`."""
        x = self.norm1(x + self.self_attn(x, positions))
        x = self.norm2(x + self.cross_attn(x + positions, boxes, memory, sizes))
        return self.norm3(x + self.linear2(F.relu(self.linear1(x))))


class Decoder(nn.Module):
    """The decoder layers."""

    def __init__(self, layers: Sequence[DecoderLayer]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)


class Ranked(NamedTuple):
    """The positions of the maps with the highest class logits.

    Attributes:
        features: of the chosen positions, `(N, Q, dim)`.
        chosen: their indices, `(N, Q, 1) int64`.
        encoded: features of every position of the maps, `(N, S, dim)`.
        scores: class logits of every position, `(N, S, num_classes)`.
    """

    features: Tensor
    chosen: Tensor
    encoded: Tensor
    scores: Tensor


class Selected(NamedTuple):
    """Queries chosen from the maps.

    Attributes:
        features: `(N, Q, dim)`.
        points: boxes before the sigmoid, `(N, Q, 4)`.
        scores: class logits of every position of the maps, `(N, S, num_classes)`.
        offsets: box offsets of every position, before the anchors are added, `(N, S, 4)`.
    """

    features: Tensor
    points: Tensor
    scores: Tensor
    offsets: Tensor


class RTDETRTransformer(OutputPart):
    """Decoder of RT-DETR.

    Args:
        in_channels: of the maps of the neck.
        num_classes: number of classes.
        hidden_dim: width of the decoder.
        num_queries: number of boxes.
        num_decoder_points: sampled points per map and head.
        nhead: heads of every attention.
        num_decoder_layers: number of layers.
        dim_feedforward: inner width of the feed-forward layers.
        learnt_init_query: whether queries start from learnt vectors, not from the maps.
        query_pos_head_inv_sig: whether positions are embedded before the sigmoid.
    """

    results: tuple[str, ...] = ("boxes", "logits")
    ranks = True

    def __init__(
        self,
        in_channels: Sequence[int],
        num_classes: int,
        hidden_dim: int = 256,
        num_queries: int = 300,
        num_decoder_points: int = 4,
        nhead: int = 8,
        num_decoder_layers: int = 6,
        dim_feedforward: int = 1024,
        learnt_init_query: bool = False,
        query_pos_head_inv_sig: bool = False,
    ) -> None:
        super().__init__()
        levels = len(in_channels)
        self.num_queries = num_queries
        self.query_pos_head_inv_sig = query_pos_head_inv_sig
        self.input_proj = nn.ModuleList(Projection(width, hidden_dim) for width in in_channels)
        self.decoder = Decoder(
            [
                DecoderLayer(hidden_dim, nhead, dim_feedforward, levels, num_decoder_points)
                for _ in range(num_decoder_layers)
            ]
        )
        self.tgt_embed = nn.Embedding(num_queries, hidden_dim) if learnt_init_query else None
        self.query_pos_head = MLP(4, 2 * hidden_dim, hidden_dim, 2)
        self.enc_output = nn.Sequential(nn.Linear(hidden_dim, hidden_dim), nn.LayerNorm(hidden_dim))
        self.enc_score_head = nn.Linear(hidden_dim, num_classes)
        self.enc_bbox_head = MLP(hidden_dim, hidden_dim, 4, 3)
        self._make_decoder_heads(hidden_dim, num_classes, num_decoder_layers)

    def _make_decoder_heads(self, hidden_dim: int, num_classes: int, layers: int) -> None:
        self.dec_score_head = nn.ModuleList(
            nn.Linear(hidden_dim, num_classes) for _ in range(layers)
        )
        self.dec_bbox_head = nn.ModuleList(MLP(hidden_dim, hidden_dim, 4, 3) for _ in range(layers))
        self.logits_layers = (f"dec_score_head.{layers - 1}",)

    def _box_heads(self) -> Iterable[nn.Module]:
        """Return the module that moves the boxes after each layer."""
        return self.dec_bbox_head

    def forward(self, maps: Sequence[Tensor]) -> dict[str, Tensor]:
        """Find the objects of each image.

        Args:
            maps: of the neck, `(N, C, H, W)`, fine to coarse.

        Returns:
            `boxes` `(N, num_queries, 4)` centre, width and height, 0 to 1 of the image, and
            `logits` `(N, num_queries, num_classes)`.
        """
        memory, sizes = self.memory(maps)
        selected = self.select(memory, sizes)
        boxes, logits = self.decode(selected.features, selected.points, memory, sizes)
        return {"boxes": boxes, "logits": logits}

    def memory(self, maps: Sequence[Tensor]) -> tuple[Tensor, list[Size]]:
        """Return the projected maps as one sequence `(N, S, hidden_dim)`, and their sizes."""
        projected = [layer(x) for layer, x in zip(self.input_proj, maps, strict=True)]
        sizes = [(x.shape[2], x.shape[3]) for x in projected]
        return torch.cat([x.flatten(2).transpose(1, 2) for x in projected], 1), sizes

    def rank(self, memory: Tensor, valid: Tensor) -> Ranked:
        """Choose the positions with the highest class logits.

        Args:
            memory: `(N, S, hidden_dim)`.
            valid: whether each position is used, `(1, S, 1) bool`.
        """
        encoded = self.enc_output(torch.where(valid, memory, torch.zeros_like(memory)))
        scores = self.enc_score_head(encoded)
        chosen = scores.max(2).values.topk(self.num_queries, 1).indices[..., None]
        features = encoded.gather(1, chosen.expand(-1, -1, encoded.shape[2]))
        return Ranked(features, chosen, encoded, scores)

    def select(self, memory: Tensor, sizes: Sequence[Size]) -> Selected:
        """Return the queries and boxes that the decoder starts from.

        Args:
            memory: `(N, S, hidden_dim)`.
            sizes: height and width of each map.
        """
        anchors, valid = anchor_points(sizes, memory)
        features, chosen, encoded, scores = self.rank(memory, valid)
        offsets = self.enc_bbox_head(encoded)
        points = (offsets + anchors).gather(1, chosen.expand(-1, -1, 4))
        if self.tgt_embed is not None:
            features = self.tgt_embed.weight.expand(memory.shape[0], -1, -1)
        return Selected(features, points, scores, offsets)

    def deployed(self) -> nn.Module:
        """Return the head without the classes that training reads of the layers before the last."""
        for layer in range(len(self.dec_score_head) - 1):
            self.dec_score_head[layer] = nn.Identity()
        return self

    def decode(
        self, features: Tensor, points: Tensor, memory: Tensor, sizes: Sequence[Size]
    ) -> tuple[Tensor, Tensor]:
        """Refine queries layer by layer.

        Args:
            features: `(N, Q, hidden_dim)`.
            points: their boxes before the sigmoid, `(N, Q, 4)`.
            memory: `(N, S, hidden_dim)`.
            sizes: height and width of each map.

        Returns:
            Boxes `(N, Q, 4)`, 0 to 1, and class logits `(N, Q, num_classes)` of the last layer.
        """
        *_, (boxes, features) = self.refine(features, points, memory, sizes)
        return boxes, self.dec_score_head[-1](features)

    def refine(
        self, features: Tensor, points: Tensor, memory: Tensor, sizes: Sequence[Size]
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield boxes and features of the queries after each layer; Args as of `decode`."""
        boxes = points.sigmoid()
        for layer, bbox_head in zip(self.decoder.layers, self._box_heads(), strict=True):
            unbounded = inverse_sigmoid(boxes)
            placed = unbounded if self.query_pos_head_inv_sig else boxes
            features = layer(features, self.query_pos_head(placed), boxes, memory, sizes)
            boxes = (bbox_head(features) + unbounded).sigmoid()
            yield boxes, features


class Projection(nn.Sequential):
    """1x1 convolution and BatchNorm."""

    folds = (("conv", "norm"),)

    def __init__(self, in_channels: int, out_channels: int) -> None:
        conv = nn.Conv2d(in_channels, out_channels, 1, bias=False)
        super().__init__(OrderedDict(conv=conv, norm=nn.BatchNorm2d(out_channels)))


def inverse_sigmoid(x: Tensor) -> Tensor:
    """Return the logits of numbers from 0 to 1, bounded."""
    x = x.clamp(0.0, 1.0)
    return (x.clamp(min=EPS) / (1 - x).clamp(min=EPS)).log()


def anchor_points(sizes: Sequence[Size], like: Tensor) -> tuple[Tensor, Tensor]:
    """Return an anchor for every position of the maps.

    PaddleDetection divides columns by the height and rows by the width: the same on square maps,
    which all released models have.

    Args:
        sizes: height and width of each map, fine to coarse.
        like: gives type and device.

    Returns:
        Anchors before the sigmoid, `(1, S, 4)`, infinite near the border, and whether each position
        is used, `(1, S, 1) bool`.
    """
    anchors = []
    for level, (height, width) in enumerate(sizes):
        y, x = torch.meshgrid(
            torch.arange(height, dtype=like.dtype, device=like.device),
            torch.arange(width, dtype=like.dtype, device=like.device),
            indexing="ij",
        )
        x, y = (x.flatten() + 0.5) / height, (y.flatten() + 0.5) / width
        side = torch.full_like(x, GRID * 2.0**level)
        anchors.append(torch.stack([x, y, side, side], 1))
    shares = torch.cat(anchors)[None]
    valid = ((shares > BORDER) & (shares < 1 - BORDER)).all(2, keepdim=True)
    logits = (shares / (1 - shares)).log()
    return torch.where(valid, logits, torch.full_like(logits, float("inf"))), valid
