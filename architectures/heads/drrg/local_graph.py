"""Local graphs around text components; a graph network predicts their links.

Deep Relational Reasoning Graph Network for Arbitrary Shape Text Detection,
https://arxiv.org/abs/2003.07493; PaddleOCR: `ppocr/modeling/heads/local_graph.py` and
`generate_local_graphs` of `proposal_local_graph.py`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class LocalGraphs(NamedTuple):
    """The graph around each of `N` components, its pivot, which is the first of its nodes.

    Attributes:
        nodes: `(N, M) int64`, its components; 0 where there are fewer.
        there: `(N, M) bool`, whether there is such a node.
        adjacency: `(N, M, M) float32`, D^-1/2 (A + I) D^-1/2.
        nearest: `(N, k) int64`, the components nearest to the pivot.
        places: `(N, k) int64`, where those stand among the nodes.
    """

    nodes: np.ndarray
    there: np.ndarray
    adjacency: np.ndarray
    nearest: np.ndarray
    places: np.ndarray


def local_graphs(centres: np.ndarray, k_at_hops: tuple[int, int], linkages: int) -> LocalGraphs:
    """Make the graph around each component.

    Args:
        centres: `(N, 2)`, whole pixels; two components at least.
        k_at_hops: how many of the nearest components are nodes, and how many next to each of them.
        linkages: how many of the nearest components each node is linked with.
    """
    count = len(centres)
    # Ties are broken as PaddleOCR's NumPy breaks them: by its default sort, which is not stable.
    ranked = np.argsort(_distances(centres), axis=1)
    every = np.arange(count)[:, None]
    nearest, next_to = ranked[:, 1 : k_at_hops[0] + 1], ranked[:, 1 : k_at_hops[1] + 1]
    member = np.zeros((count, count), bool)
    member[every, nearest] = True
    member[every, next_to[nearest].reshape(count, -1)] = True
    np.fill_diagonal(member, False)
    sizes = 1 + member.sum(1)
    others = np.argsort(~member, axis=1, kind="stable")[:, : sizes.max() - 1]
    nodes = np.hstack([every, others])
    there = np.arange(nodes.shape[1]) < sizes[:, None]

    linked = np.zeros((count, count), bool)
    linked[every, ranked[:, 1 : linkages + 1]] = True
    linked |= linked.T
    place = np.zeros((count, count), np.int64)
    np.put_along_axis(place, nodes[:, ::-1], np.arange(nodes.shape[1])[::-1], 1)
    return LocalGraphs(
        np.where(there, nodes, 0),
        there,
        _normalised(linked, nodes, there),
        nearest,
        np.take_along_axis(place, nearest, 1),
    )


def _distances(centres: np.ndarray) -> np.ndarray:
    squares = (centres * centres).sum(1)
    squared = squares[:, None] + squares[None] - 2 * centres @ centres.T
    return np.sqrt(np.maximum(squared, 0.0))


def _normalised(linked: np.ndarray, nodes: np.ndarray, there: np.ndarray) -> np.ndarray:
    """The adjacency of each graph, every node its own neighbour, by the roots of the degrees."""
    pairs = there[:, :, None] & there[:, None, :]
    adjacency = (linked[nodes[:, :, None], nodes[:, None, :]] & pairs).astype(np.float32)
    adjacency += np.eye(nodes.shape[1], dtype=np.float32) * there[:, None, :]
    roots = np.sqrt(np.maximum(adjacency.sum(1), 1.0))
    return adjacency / (roots[:, :, None] * roots[:, None, :])


def geometry(attributes: np.ndarray, length: int) -> np.ndarray:
    """Attributes `(N, d)` at `length // d` wavelengths: `(N, length) float32`.

    Sines and cosines take turns from component to component, not from wavelength to wavelength, as
    in the network that the weights were trained in.
    """
    repeats = length // attributes.shape[1]
    waves = 1000.0 ** (2 * (np.arange(repeats) // 2) / repeats)
    embedded = attributes[:, None] / waves[:, None]
    embedded[0::2] = np.sin(embedded[0::2])
    embedded[1::2] = np.cos(embedded[1::2])
    return embedded.reshape(len(attributes), length).astype(np.float32)
