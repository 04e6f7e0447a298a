"""A graph convolution network that predicts which of a graph's nodes belong together.

Linkage Based Face Clustering via Graph Convolution Network, https://arxiv.org/abs/1903.11306;
PaddleOCR: `ppocr/modeling/heads/gcn.py`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class GraphConv(nn.Module):
    """A linear layer with ReLU on each node's features and the mean of its neighbours'."""

    def __init__(self, in_dim: int, out_dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(2 * in_dim, out_dim))  # as Paddle multiplies it
        self.bias = nn.Parameter(torch.zeros(out_dim))
        nn.init.xavier_uniform_(self.weight)

    def forward(self, features: Tensor, adjacency: Tensor) -> Tensor:
        """`(G, N, in_dim)` and `(G, N, N)`, weights of the neighbours, to `(G, N, out_dim)`."""
        beside = torch.cat([features, adjacency @ features], 2)
        return F.relu(beside @ self.weight + self.bias)


class GCN(nn.Module):
    """Four graph convolutions, and a classifier of the pivot's nearest nodes."""

    def __init__(self, feat_len: int) -> None:
        super().__init__()
        self.bn0 = nn.BatchNorm1d(feat_len)
        self.conv1 = GraphConv(feat_len, 512)
        self.conv2 = GraphConv(512, 256)
        self.conv3 = GraphConv(256, 128)
        self.conv4 = GraphConv(128, 64)
        self.classifier = nn.Sequential(nn.Linear(64, 32), nn.PReLU(32), nn.Linear(32, 2))

    def forward(self, nodes: Tensor, adjacency: Tensor, nearest: Tensor) -> Tensor:
        """Logits `(G * k, 2)`: whether each of the nearest nodes belongs to its graph's pivot.

        Args:
            nodes: `(G, N, feat_len)`, of each graph.
            adjacency: `(G, N, N)`, normalised.
            nearest: `(G, k)`, places of the nodes that are asked about.
        """
        x = self.bn0(nodes.flatten(0, 1)).view_as(nodes)
        for convolution in (self.conv1, self.conv2, self.conv3, self.conv4):
            x = convolution(x, adjacency)
        edges = x.gather(1, nearest[..., None].expand(-1, -1, x.shape[2]))
        return self.classifier(edges.flatten(0, 1))
