"""What makes lines of DRRG's components, against PaddleOCR's own code: the same polygons."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.detection.postprocess.decoder import Sizes, finish_polygons
from pipelines.detection.postprocess.drrg import DRRGDecoder, path
from pipelines.detection.predictor import Detector
from tests.oracle.paddleocr_decoders import decode, drrg
from tests.oracle.paddleocr_source import load
from tests.support.drrg_maps import drrg_results

HEIGHT, WIDTH = 256, 384
EMPTY = -1  # a page without text


@pytest.fixture(scope="module")
def theirs():
    return load("paddleocr", "ppocr/postprocess/drrg_postprocess.py")


def in_order(polygons: list[np.ndarray]) -> list[list[float]]:
    """PaddleOCR's order of lines is that of a set of objects in memory: by chance."""
    return sorted(polygon.ravel().tolist() for polygon in polygons)


@pytest.mark.filterwarnings("ignore:.*:RuntimeWarning")  # a mean of no score, in PaddleOCR's
@pytest.mark.parametrize("link_thr", [0.5, 0.8, 0.95])
def test_lines(link_thr):
    count = 0
    for seed in range(25):
        found = drrg_results(seed, HEIGHT, WIDTH)
        sizes = Sizes((300, 501), (300, 501), (HEIGHT, WIDTH))
        expected = decode(drrg()(link_thr), found, sizes)
        ours = DRRGDecoder(link_thr)(found, sizes)
        assert in_order(ours) == in_order(finish_polygons(expected, sizes.image)), seed
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


def test_a_page():
    """The weights' JSON names the head, and that the decoder."""

    def network(batch):
        assert batch.shape == (1, 3, HEIGHT, WIDTH)
        return drrg_results(seed, HEIGHT, WIDTH)

    pipeline = {"image_shape": [HEIGHT, WIDTH], "link_thr": 0.6}
    network.card = {
        "task": "det",
        "architecture": {"Head": {"name": "DRRGHead"}},
        "pipeline": pipeline,
    }
    page = np.zeros((2 * HEIGHT, 2 * WIDTH, 3), np.uint8)
    detector = Detector(network)
    assert detector.decoder == DRRGDecoder(0.6)
    seed = 0
    found = detector(page)
    assert found
    assert all(polygon.shape[1:] == (2,) and len(polygon) > 3 for polygon in found)
    assert max(polygon.max() for polygon in found) > HEIGHT
    seed = EMPTY
    assert detector(page) == []
