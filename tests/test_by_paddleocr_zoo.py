"""What decodes the maps of the algorithm zoo's detectors, against PaddleOCR's own code.

The same lines in the same order, to the last bit.
"""

from __future__ import annotations

import sys

import numpy as np
import pytest
from paddleocr_source import load
from zoo_maps import east_maps

from pipelines.decoding import Sizes
from pipelines.east import EASTDecoder

PAGES = range(16)


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
    return [clip([polygon], sizes.image)[0] for polygon in boxes]


def compare(decoder, theirs, maps, sizes):
    """Compare one page, and return how many lines it has."""
    shape = np.array([[*sizes.image, *sizes.ratio]])
    points = theirs({name: array.copy() for name, array in maps.items()}, shape)[0]["points"]
    expected = finished(points, sizes, decoder.box_type)
    found = decoder(maps, sizes)
    assert len(found) == len(expected)
    for ours, other in zip(found, expected, strict=True):
        assert np.array_equal(ours, other)
    return len(found)


def by_paddleocr(module, name, **replaced):
    """A class of PaddleOCR's post-processing, with what its module imports of others."""
    module = load("paddleocr", f"ppocr/postprocess/{module}.py")
    for attribute, source in replaced.items():
        setattr(module, attribute, getattr(load("paddleocr", source), attribute))
    return getattr(module, name)


@pytest.fixture
def no_lanms(monkeypatch):
    """Let `import lanms` fail, as where that compiled package is not installed."""
    monkeypatch.setitem(sys.modules, "lanms", None)


@pytest.mark.parametrize(
    "options",
    [{}, {"score_thresh": 0.55, "cover_thresh": 0.6}, {"nms_thresh": 0.05}, {"nms_thresh": 0.6}],
    ids=str,
)
@pytest.mark.usefixtures("no_lanms")
def test_east(options):
    kind = by_paddleocr("east_postprocess", "EASTPostProcess",
                        nms_locality="ppocr/postprocess/locality_aware_nms.py")  # fmt: skip
    count = 0
    for seed in PAGES:
        noise = (0, 0.5, 1.5, 6)[seed % 4]
        maps = east_maps(seed, noise=noise)
        count += compare(EASTDecoder(**options), kind(**options), maps, sizes_of(seed, 512, 768))
    assert count > 20
