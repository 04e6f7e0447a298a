"""What decodes the maps of the algorithm zoo's detectors, against PaddleOCR's own code.

The same lines in the same order, to the last bit.
"""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.detection.postprocess.ct import CTDecoder
from pipelines.detection.postprocess.decoder import Sizes, finish_quads
from pipelines.detection.postprocess.east import EASTDecoder, order_corners
from pipelines.detection.postprocess.fce import FCEDecoder
from pipelines.detection.postprocess.pse import PSEDecoder, expand_kernels
from pipelines.detection.postprocess.sast import SASTDecoder
from tests.oracle import paddleocr_decoders as theirs
from tests.oracle.paddleocr_source import load
from tests.support.zoo_maps import ct_maps, east_maps, fce_maps, pse_maps, sast_maps

PAGES = range(10)


def sizes_of(seed, height, width):
    """An image that the network sees as one of this size."""
    random = np.random.default_rng(seed)
    ratio = random.choice([0.37, 1, 1.5, random.uniform(0.3, 3)])
    image = round(height / ratio), round(width / ratio * random.uniform(0.97, 1.03))
    return Sizes(image, image, (height, width))


def finished(boxes, sizes, box_type):
    """What PaddleOCR's `TextDetector` makes of what its post-processing gives."""
    kind = load("paddleocr", "tools/infer/predict_det.py").TextDetector
    detector = kind.__new__(kind)
    if box_type == "quad":
        return list(detector.filter_tag_det_res(boxes, sizes.image))
    # One at a time, since together they are all filled up to as many corners as the largest has.
    clip = detector.filter_tag_det_res_only_clip
    return [clip([polygon], sizes.image)[0] for polygon in boxes if len(polygon) > 2]


def same(found, expected):
    assert len(found) == len(expected)
    for ours, other in zip(found, expected, strict=True):
        assert np.array_equal(ours, other)


def compare(decoder, other, maps, sizes):
    """Compare one page, and return how many lines it has."""
    points = theirs.decode(other, {name: maps[name].copy() for name in maps}, sizes)
    found = decoder(maps, sizes)
    same(found, finished(points, sizes, decoder.box_type))
    return len(found)


EAST = [
    {},
    {"score_thresh": 0.55, "cover_thresh": 0.6},
    {"nms_thresh": 0.05},
    {"nms_thresh": 0.6},
]


@pytest.mark.parametrize("options", EAST, ids=str)
def test_east(options):
    count = 0
    for seed in PAGES:
        maps = east_maps(seed, noise=(0, 0.5, 1.5, 6)[seed % 4])
        ours, other = EASTDecoder(**options), theirs.east()(**options)
        count += compare(ours, other, maps, sizes_of(seed, 512, 768))
    assert count > 12


def test_corners_of_east():
    """Of small boxes, many of which have two corners that might be the first."""
    random = np.random.default_rng(0)
    boxes = random.integers(0, 14, (3000, 4, 2))
    sort, sizes = theirs.east()().sort_poly, Sizes((12, 13), (12, 13), (32, 32))
    sides = [(0, 1), (3, 0)]
    expected = [
        box for box in map(sort, boxes)
        if all(np.linalg.norm(box[one] - box[other]) >= 5 for one, other in sides)
    ]  # fmt: skip
    same(finish_quads(order_corners(boxes), sizes.image), finished(expected, sizes, "quad"))
    assert 500 < len(expected) < 2500


CURVED = {"sample_pts_num": 6, "expand_scale": 1.2, "shrink_ratio_of_width": 0.2}
SAST = {
    "straight": {},
    "curved": CURVED,
    "other": {"nms_thresh": 0.5, "tcl_map_thresh": 0.7, "sample_pts_num": 3},
}


@pytest.mark.parametrize("options", SAST.values(), ids=SAST)
def test_sast(options):
    count = 0
    for seed in PAGES:
        maps = sast_maps(seed, 320, 512, noise=(0, 0.2, 0.4, 1)[seed % 4])
        ours, other = SASTDecoder(**options), theirs.sast()(**options)
        count += compare(ours, other, maps, sizes_of(seed, 320, 512))
    assert count > 10


def test_sast_with_as_many_points_as_a_line_is_long(monkeypatch):
    # Of polygons with different numbers of corners PaddleOCR cannot make the array that it wants.
    monkeypatch.setattr("numpy.array", array_or_list)
    options = {"sample_pts_num": 0, "expand_scale": 1.2}
    count = 0
    for seed in PAGES:
        ours, other = SASTDecoder(**options), theirs.sast()(**options)
        count += compare(ours, other, sast_maps(seed, 320, 512), sizes_of(seed, 320, 512))
    assert count > 10


def array_or_list(values, *options, _array=np.array, **named):
    try:
        return _array(values, *options, **named)
    except ValueError:
        return values


def test_growing():
    """Also where masks are none of text: noise, in which all that may happen does."""
    count = 0
    for seed in range(40):
        random = np.random.default_rng(seed)
        share = random.uniform(0.3, 0.9)
        masks = random.random((random.integers(1, 6), *random.integers(1, 60, 2))) < share
        masks &= masks[:1]
        min_area = int(random.integers(1, 6))
        expected = theirs.expanded(masks.astype(np.uint8), min_area)
        assert np.array_equal(expand_kernels(masks, min_area), expected)
        count += len(np.unique(expected)) - 1
    assert count > 100


PSE = [
    {"scale": 1},
    {"scale": 4, "thresh": 0.5, "box_thresh": 0.9},
    {"scale": 2, "min_area": 60},
]


@pytest.mark.parametrize("box_type", ["quad", "poly"])
@pytest.mark.parametrize("options", PSE, ids=str)
def test_pse(options, box_type):
    options = {"thresh": 0, "box_thresh": 0.85, "min_area": 16, "box_type": box_type, **options}
    count = 0
    for seed in PAGES:
        maps, sizes = pse_maps(seed, 256, 384), sizes_of(seed, 256, 384)
        other = theirs.pse(theirs.expanded)(**options)
        count += compare(PSEDecoder(**options), other, maps, sizes)
    assert count > 15


FCE = {
    "default": {},
    "other": {
        "score_thr": 0.5, "nms_thr": 0.5, "alpha": 1.2, "beta": 0.7, "num_reconstr_points": 20,
    },
}  # fmt: skip


@pytest.mark.parametrize("box_type", ["quad", "poly"])
@pytest.mark.parametrize("options", FCE.values(), ids=FCE)
def test_fce(options, box_type):
    options = {"scales": (8, 16, 32), "box_type": box_type, **options}
    count = 0
    for seed in (1, 2, 3, 4, 9):
        maps = fce_maps(seed, 128, 192, noise=(0, 0.02, 0.1, 0.4)[seed % 4])
        ours, other = FCEDecoder(**options), theirs.fce()(**options)
        count += compare(ours, other, maps, sizes_of(seed, 128, 192))
    assert count > 8


@pytest.mark.parametrize("options", [{}, {"min_score": 0.95, "min_area": 3000}], ids=str)
def test_ct(options):
    count = 0
    for seed in range(20):
        maps = ct_maps(seed, noise=(0, 0.4)[seed % 2])
        ours, other = CTDecoder(**options), theirs.ct()(**options)
        count += compare(ours, other, maps, sizes_of(seed, 512, 768))
    assert count > 15


def test_ct_beyond_300_cells():
    """PaddleOCR gives the lines there as thin as their cores."""
    maps, sizes = ct_maps(1, 512, 768), Sizes((512, 768), (512, 768), (512, 768))
    wide = {name: np.pad(array, [(0, 0)] * (array.ndim - 1) + [(320, 0)], constant_values=-4)
            for name, array in maps.items()}  # fmt: skip
    wide["maps"][:, 1:, :, :320] = 0
    further = CTDecoder()(wide, Sizes((512, 2048), (512, 2048), (512, 2048)))
    found = CTDecoder()(maps, sizes)
    assert len(found) > 2
    same(found, [polygon - (1280, 0) for polygon in further])
