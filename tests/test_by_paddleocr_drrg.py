"""What makes lines of DRRG's components, against PaddleOCR's own code: the same polygons."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from drrg_maps import drrg_maps
from paddleocr_source import load

from architectures.heads.det_drrg_head import DRRGHead
from architectures.heads.local_graph import local_graphs
from architectures.heads.proposal_local_graph import Proposals
from pipelines.decoding import Sizes, finished_polygons
from pipelines.drrg import DRRGDecoder, path

HEIGHT, WIDTH = 256, 384


@pytest.fixture(scope="module")
def theirs():
    return load("paddleocr", "ppocr/postprocess/drrg_postprocess.py")


def results(seed: int) -> dict[str, np.ndarray]:
    """Components along generated lines, linked where they are near, and with some mistakes."""
    random = np.random.default_rng(seed)
    maps = torch.from_numpy(drrg_maps(seed, HEIGHT, WIDTH))
    maps = torch.cat([maps[:2].sigmoid(), maps[2:]]).numpy()
    components, attributes = Proposals(**DRRGHead(4).thresholds)(maps)
    if len(components) < 2:
        components = np.zeros((0, 9), np.float32)
        return {"edges": np.zeros((0, 2), int), "scores": np.zeros(0, np.float32),
                "text_comps": components, "maps": maps[None]}  # fmt: skip
    # Some stand at the same place, so that points are met twice and a component its own neighbour.
    centres = attributes[:, :2].astype(int)
    twice = random.random(len(components)) < 0.1
    components[twice], centres[twice] = (
        np.roll(components, 1, 0)[twice],
        np.roll(centres, 1, 0)[twice],
    )
    nearest = local_graphs(centres, (8, 4), 3).nearest
    edges = np.stack(np.broadcast_arrays(np.arange(len(nearest))[:, None], nearest), 2)
    edges = edges.reshape(-1, 2)
    gaps = np.linalg.norm(np.diff(centres[edges], axis=1)[:, 0], axis=1)
    scores = np.clip(1.1 - gaps / 120 + random.normal(0, 0.15, len(gaps)), 0.01, 0.99)
    return {"edges": edges, "scores": scores.astype(np.float32), "text_comps": components,
            "maps": maps[None]}  # fmt: skip


def in_order(polygons: list[np.ndarray]) -> list[list[float]]:
    """PaddleOCR's order of lines is that of a set of objects in memory: by chance."""
    return sorted(polygon.ravel().tolist() for polygon in polygons)


@pytest.mark.filterwarnings("ignore:.*:RuntimeWarning")  # a mean of no score, in PaddleOCR's
@pytest.mark.parametrize("link_thr", [0.5, 0.8, 0.95])
def test_lines(theirs, link_thr):
    count = 0
    for seed in range(25):
        found = results(seed)
        sizes = Sizes((300, 501), (300, 501), (HEIGHT, WIDTH))
        shape = np.array([[*sizes.image, *sizes.ratio]])
        given = [found[name].astype(float) for name in ("scores", "text_comps")]
        edges = found["edges"] if len(found["edges"]) else None
        expected = theirs.DRRGPostprocess(link_thr)((edges, *given), shape)[0]["points"]
        ours = DRRGDecoder(link_thr)(found, sizes)
        assert in_order(ours) == in_order(finished_polygons(expected, sizes.image)), seed
        count += len(expected)
    assert count > 40


def test_paths_through_points(theirs):
    """Also where many are equally near, or at one place."""
    for seed in range(300):
        random = np.random.default_rng(seed)
        points = random.integers(0, random.integers(2, 30), (random.integers(2, 25), 2))
        expected = theirs.min_connect_path(points.tolist())
        assert path(points.astype(np.int32)).tolist() == expected, seed


def test_ends(theirs):
    """A corner of the first and of the last box is added where the outline does not reach it."""
    for seed in range(200):
        random = np.random.default_rng(seed)
        count = random.integers(2, 8)
        lefts = np.cumsum(random.integers(3, 30, (count, 1)), 0)
        centres = np.hstack([lefts, random.integers(20, 40, (count, 1))])
        corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * random.integers(2, 20, 2)
        boxes = centres[:, None] + corners + random.integers(-2, 3, (count, 4, 2))
        if random.random() < 0.5:
            boxes = boxes[::-1]
        comps = np.hstack([boxes.reshape(-1, 8), np.full((count, 1), 0.5)])
        chain = np.stack([np.arange(count - 1), np.arange(1, count)], 1)
        expected = theirs.comps2boundaries(comps, np.zeros(count))[0][:-1]
        found = DRRGDecoder()(
            {"edges": chain, "scores": np.ones(count - 1), "text_comps": comps},
            Sizes((400, 400), (400, 400), (400, 400)),
        )
        assert len(found) == 1
        np.testing.assert_array_equal(
            found[0], np.clip(np.reshape(expected, (-1, 2)), 0, 399).astype(np.float32)
        )
