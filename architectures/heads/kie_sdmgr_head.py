"""SDMGR's head: texts, features and relative places of the boxes of a page, as a graph.

Spatial Dual-Modality Graph Reasoning for Key Information Extraction,
https://arxiv.org/abs/2103.14470; the fusion of two kinds of features is BLOCK,
https://arxiv.org/abs/1902.00038; PaddleOCR: `ppocr/modeling/heads/kie_sdmgr_head.py`.
"""

from __future__ import annotations

from itertools import accumulate

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from architectures.interfaces import OutputPart
from architectures.layers.embedding import PaddedEmbedding

CHARACTERS = 92
"""The characters that the released network knows, with the one for none."""
ITSELF = -1e9  # added to the score of a node's edge to itself


def chunk_sizes(width: int, chunks: int) -> list[int]:
    """Return the sizes of `chunks` pieces of a vector, all alike but for a shorter last one."""
    size = -(-width // chunks)
    return [*[size] * (chunks - 1), width - size * (chunks - 1)]


class Block(nn.Module):
    """Joins two vectors: products of their parts, each of a low rank."""

    def __init__(
        self,
        input_dims: tuple[int, int],
        output_dim: int,
        mm_dim: int,
        chunks: int = 20,
        rank: int = 15,
    ) -> None:
        super().__init__()
        self.rank, self.chunks = rank, chunk_sizes(mm_dim, chunks)
        self.linear0, self.linear1 = (nn.Linear(width, mm_dim) for width in input_dims)
        self.merge_linears0, self.merge_linears1 = (
            nn.ModuleList(nn.Linear(size, size * rank) for size in self.chunks) for _ in range(2)
        )
        self.linear_out = nn.Linear(mm_dim, output_dim)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """`(B, input_dims[0])` and `(B, input_dims[1])` to `(B, output_dim)`."""
        firsts = self.linear0(first).split(self.chunks, -1)
        seconds = self.linear1(second).split(self.chunks, -1)
        joined = []
        for index, (a, b) in enumerate(zip(firsts, seconds, strict=True)):
            product = self.merge_linears0[index](a) * self.merge_linears1[index](b)
            summed = product.unflatten(1, (self.rank, -1)).sum(1)
            rooted = summed.relu().sqrt() - (-summed).relu().sqrt()
            joined.append(F.normalize(rooted))
        return self.linear_out(torch.cat(joined, 1))


class GNNLayer(nn.Module):
    """One step of the graph: each node takes in its edges, by weights that the edges score."""

    def __init__(self, node_dim: int, edge_dim: int) -> None:
        super().__init__()
        self.in_fc = nn.Linear(2 * node_dim + edge_dim, node_dim)
        self.coef_fc = nn.Linear(node_dim, 1)
        self.out_fc = nn.Linear(node_dim, node_dim)

    def forward(self, nodes: Tensor, edges: Tensor, counts: list[int]) -> tuple[Tensor, Tensor]:
        """Return the new nodes `(B, node_dim)`, and the pairs of nodes `(E, node_dim)`.

        Args:
            nodes: (B, node_dim), page after page.
            edges: (E, edge_dim), of each page its nodes squared.
            counts: nodes of each page.
        """
        pairs = [
            torch.cat(
                [
                    page[:, None].expand(-1, page.shape[0], -1),
                    page[None].expand(page.shape[0], -1, -1),
                ],
                -1,
            ).flatten(0, 1)
            for page in nodes.split(counts)
        ]
        joined = self.in_fc(torch.cat([torch.cat(pairs), edges], -1)).relu()
        weights = self.coef_fc(joined)
        ends = [0, *accumulate(count**2 for count in counts)]
        taken = []
        for count, start, end in zip(counts, ends[:-1], ends[1:], strict=True):
            scores = weights[start:end].view(count, count, 1)
            alone = torch.eye(count, device=nodes.device, dtype=nodes.dtype)[..., None] * ITSELF
            share = (scores + alone).softmax(1)
            taken.append((share * joined[start:end].view(count, count, -1)).sum(1))
        return nodes + self.out_fc(torch.cat(taken)).relu(), joined


class SDMGRHead(OutputPart):
    """Class scores of the boxes, `0`, and of their pairs, `1`: PaddleOCR's are a tuple.

    `0` is `(boxes, num_classes)`, `1` is `(pairs, 2)`, page after page.
    """

    extra_inputs = ("relations", "texts", "tag")
    results = ("0", "1")
    logits_layers = ("node_cls", "edge_cls")

    def __init__(
        self,
        in_channels: int,
        num_chars: int = CHARACTERS,
        visual_dim: int = 16,
        fusion_dim: int = 1024,
        node_input: int = 32,
        node_embed: int = 256,
        edge_input: int = 5,
        edge_embed: int = 256,
        num_gnn: int = 2,
        num_classes: int = 26,
    ) -> None:
        super().__init__()
        if in_channels != visual_dim:
            raise ValueError(f"visual_dim is {visual_dim}, but the backbone gives {in_channels}")
        self.fusion = Block((visual_dim, node_embed), node_embed, fusion_dim)
        self.node_embed = PaddedEmbedding(num_chars, node_input, padding=0)
        self.rnn = nn.LSTM(node_input, node_embed, batch_first=True)
        self.edge_embed = nn.Linear(edge_input, edge_embed)
        self.gnn_layers = nn.ModuleList(GNNLayer(node_embed, edge_embed) for _ in range(num_gnn))
        self.node_cls = nn.Linear(node_embed, num_classes)
        self.edge_cls = nn.Linear(edge_embed, 2)

    def forward(
        self, features: Tensor, relations: Tensor, texts: Tensor, tag: Tensor
    ) -> dict[str, Tensor]:
        """Return the scores of the boxes and of their pairs.

        Args:
            features: (boxes, visual_dim), page after page.
            relations: (N, B, B, edge_input) float32: how each box lies to each other.
            texts: (N, B, T) int64: numbers of the characters, -1 behind a text's last.
            tag: (N, 2) int64: how many boxes a page has, and the length of its longest text.
        """
        counts = tag[:, 0].tolist()
        longest = max(tag[:, 1].tolist())
        written = torch.cat(
            [
                F.pad(page[:count, :length], (0, longest - length), value=-1)
                for page, (count, length) in zip(texts, tag.tolist(), strict=True)
            ]
        )
        described = torch.cat(
            [
                page[:count, :count].flatten(0, 1)
                for page, count in zip(relations, counts, strict=True)
            ]
        )
        return self.score(features, described, written, counts)

    def score(
        self, features: Tensor, edges: Tensor, texts: Tensor, counts: list[int]
    ) -> dict[str, Tensor]:
        """Return the scores of the boxes and of their pairs, page after page.

        Args:
            features: (boxes, visual_dim).
            edges: (pairs, edge_input) float32.
            texts: (boxes, T) int64, -1 behind a text's last character.
            counts: boxes of each page.
        """
        nodes = self.fusion(features, self.read(texts))
        edges = F.normalize(self.edge_embed(edges))
        pairs = edges
        for layer in self.gnn_layers:
            nodes, pairs = layer(nodes, edges, counts)
        return {"0": self.node_cls(nodes), "1": self.edge_cls(pairs)}

    def read(self, texts: Tensor) -> Tensor:
        """Return the LSTM's last state for texts `(boxes, T)`, `(boxes, node_embed)`."""
        states, _ = self.rnn(self.node_embed(texts.clamp(min=0)))
        lengths = (texts > -1).sum(1)
        last = (lengths - 1).clamp(min=0)
        chosen = states[torch.arange(texts.shape[0], device=texts.device), last]
        return chosen * (lengths > 0)[:, None]
