"""Maps like those of DRRG: curved lines of text with what the network says of each pixel."""

from __future__ import annotations

import numpy as np
import torch

from architectures.heads.drrg.det_drrg_head import DRRGHead
from architectures.heads.drrg.local_graph import local_graphs
from architectures.heads.drrg.proposal_local_graph import Proposals


def drrg_maps(seed: int, height: int = 256, width: int = 384) -> np.ndarray:
    """Some lines, `(6, height, width) float32`: logits of text and of its middle, sine and cosine
    of the way up, and how far it is to the upper and to the lower edge. Below 0 there are none.
    """
    random = np.random.default_rng(abs(seed))
    maps = random.normal(0, 0.2, (6, height, width)).astype(np.float32)
    maps[:2] -= 4
    for _ in range(random.integers(1, 6) if seed >= 0 else 0):
        _line(maps, random)
    return maps + random.normal(0, 0.05, maps.shape).astype(np.float32)


def _line(maps: np.ndarray, random: np.random.Generator) -> None:
    """Draw one line along an arc or a wave."""
    height, width = maps.shape[1:]
    half, length = random.uniform(7, 20), random.uniform(40, 260)
    turn, bend = random.uniform(-np.pi, np.pi), random.uniform(-0.012, 0.012)
    along = np.arange(0, length, 0.4)
    heading = turn + bend * along + 0.3 * np.sin(along / random.uniform(20, 60))
    steps = np.stack([np.cos(heading), np.sin(heading)], 1) * 0.4
    path = np.cumsum(steps, 0) + random.uniform((0, 0), (width, height))
    up = np.stack([np.sin(heading), -np.cos(heading)], 1)
    offset = np.arange(-half, half, 0.4)
    places = np.round(path[:, None] + up[:, None] * offset[:, None]).astype(int)
    there = ((places >= 0) & (places < (width, height))).all(2)
    x, y = places[there].T
    shape = there.shape
    values = [
        np.full(shape, random.uniform(0, 4)),
        np.where(np.abs(offset) < half * 0.4, 3.0, -3.0)[None].repeat(shape[0], 0),
        np.broadcast_to(up[:, 1:], shape),
        np.broadcast_to(up[:, :1], shape),
        np.broadcast_to(half - offset, shape),
        np.broadcast_to(half + offset, shape),
    ]
    for each, value in zip(maps, values, strict=True):
        each[y, x] = value[there]


def drrg_results(seed: int, height: int, width: int) -> dict[str, np.ndarray]:
    """What the network returns for these: components are linked where they are near each other.

    Some links are mistakes, and some components stand at the place of another one.
    """
    random = np.random.default_rng(abs(seed))
    maps = torch.from_numpy(drrg_maps(seed, height, width))
    seen = torch.cat([maps[:2].sigmoid(), maps[2:]]).numpy()
    components, attributes = Proposals(**DRRGHead(4).thresholds)(seen)
    edges, scores = np.zeros((0, 2), np.int64), np.zeros(0, np.float32)
    if len(components) > 1:
        centres = attributes[:, :2].astype(int)
        twice = random.random(len(components)) < 0.1
        for each in (components, centres):
            each[twice] = np.roll(each, 1, 0)[twice]
        nearest = local_graphs(centres, (8, 4), 3).nearest
        pivots = np.arange(len(nearest))[:, None]
        edges = np.stack(np.broadcast_arrays(pivots, nearest), 2).reshape(-1, 2)
        gaps = np.linalg.norm(centres[edges[:, 0]] - centres[edges[:, 1]], axis=1)
        chances = 1.1 - gaps / 120 + random.normal(0, 0.15, len(gaps))
        scores = np.clip(chances, 0.01, 0.99).astype(np.float32)
    return {"edges": edges, "scores": scores, "text_comps": components, "maps": maps[None].numpy()}
