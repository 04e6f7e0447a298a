"""What decodes the maps of the algorithm zoo's detectors, against PaddleOCR's own code.

The same lines in the same order, to the last bit.
"""

from __future__ import annotations

import sys
from collections import deque
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from paddleocr_source import load
from zoo_maps import ct_maps, east_maps, fce_maps, pse_maps, sast_maps

from pipelines.ct import CTDecoder
from pipelines.decoding import Sizes
from pipelines.east import EASTDecoder
from pipelines.fce import FCEDecoder
from pipelines.pse import PSEDecoder, grown
from pipelines.sast import SASTDecoder

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
    return [clip([polygon], sizes.image)[0] for polygon in boxes]


def compare(decoder, theirs, maps, sizes):
    """Compare one page, and return how many lines it has."""
    shape = [*sizes.image, *sizes.ratio]
    if isinstance(decoder, CTDecoder):
        shape = [*sizes.image, 3, *sizes.input, 3]
    maps_of_theirs = {name: array.copy() for name, array in maps.items()}
    points = theirs(maps_of_theirs, np.array([shape]))[0]["points"]
    points = [outline for outline in points if len(outline) > 2]
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
    assert count > 12


CURVED = {"sample_pts_num": 6, "expand_scale": 1.2, "shrink_ratio_of_width": 0.2}


@pytest.mark.parametrize(
    "options",
    [{}, CURVED, {"nms_thresh": 0.5, "tcl_map_thresh": 0.7, "sample_pts_num": 3}],
    ids=["straight", "curved", "other"],
)
def test_sast(options):
    kind = by_paddleocr("sast_postprocess", "SASTPostProcess",
                        nms_locality="ppocr/postprocess/locality_aware_nms.py")  # fmt: skip
    count = 0
    for seed in PAGES:
        maps = sast_maps(seed, 320, 512, noise=(0, 0.2, 0.4, 1)[seed % 4])
        count += compare(SASTDecoder(**options), kind(**options), maps, sizes_of(seed, 320, 512))
    assert count > 10


def test_sast_with_as_many_points_as_a_line_is_long(monkeypatch):
    kind = by_paddleocr("sast_postprocess", "SASTPostProcess",
                        nms_locality="ppocr/postprocess/locality_aware_nms.py")  # fmt: skip
    # Of polygons with different numbers of corners PaddleOCR cannot make the array that it wants.
    monkeypatch.setattr(kind.__init__.__globals__["np"], "array", array_or_list)
    options = {"sample_pts_num": 0, "expand_scale": 1.2}
    assert sum(
        compare(SASTDecoder(**options), kind(**options), sast_maps(seed, 320, 512),
                sizes_of(seed, 320, 512)) for seed in PAGES
    ) > 10  # fmt: skip


def array_or_list(values, *options, _array=np.array, **named):
    try:
        return _array(values, *options, **named)
    except ValueError:
        return values


@pytest.fixture(scope="module")
def fce_of_paddleocr():
    """`FCEPostProcess` with what it imports."""
    kind = load("paddleocr", "ppocr/postprocess/fce_postprocess.py").FCEPostProcess
    utilities = load("paddleocr", "ppocr/utils/poly_nms.py")
    kind.__init__.__globals__.update(
        poly_nms=utilities.poly_nms, valid_boundary=utilities.valid_boundary
    )
    return kind


@pytest.mark.parametrize("box_type", ["quad", "poly"])
@pytest.mark.parametrize(
    "options",
    [{}, {"score_thr": 0.5, "nms_thr": 0.5, "alpha": 1.2, "beta": 0.7, "num_reconstr_points": 20}],
    ids=["default", "other"],
)
def test_fce(options, box_type, fce_of_paddleocr):
    options = {"scales": (8, 16, 32), "box_type": box_type, **options}
    count = 0
    for seed in (1, 2, 3, 4, 9):
        maps = fce_maps(seed, 128, 192, noise=(0, 0.02, 0.1, 0.4)[seed % 4])
        count += compare(FCEDecoder(**options), fce_of_paddleocr(**options), maps,
                         sizes_of(seed, 128, 192))  # fmt: skip
    assert count > 8


@pytest.mark.parametrize("options", [{}, {"min_score": 0.95, "min_area": 3000}], ids=str)
def test_ct(options):
    kind = load("paddleocr", "ppocr/postprocess/ct_postprocess.py").CTPostProcess
    count = 0
    for seed in range(20):
        maps = ct_maps(seed, noise=(0, 0.4)[seed % 2])
        count += compare(CTDecoder(**options), kind(**options), maps, sizes_of(seed, 512, 768))
    assert count > 15


def test_ct_beyond_300_cells():
    """PaddleOCR gives the lines there as thin as their cores."""
    maps, sizes = ct_maps(1, 512, 768), Sizes((512, 768), (512, 768), (512, 768))
    wide = {name: np.pad(array, [(0, 0)] * (array.ndim - 1) + [(320, 0)], constant_values=-4)
            for name, array in maps.items()}  # fmt: skip
    wide["maps"][:, 1:, :, :320] = 0
    further = CTDecoder()(wide, Sizes((512, 2048), (512, 2048), (512, 2048)))
    inside = [polygon - (1280, 0) for polygon in further]
    found = CTDecoder()(maps, sizes)
    assert len(found) == len(inside) > 2
    for polygon, other in zip(found, inside, strict=True):
        assert np.array_equal(polygon, other)


def expanded(kernels, min_area):
    """What PaddleOCR's pse.pyx computes, pixel by pixel as it stands there; it needs a compiler."""
    label_count, labels = cv2.connectedComponents(kernels[-1], connectivity=4)
    for label in range(1, label_count):
        if np.sum(labels == label) < min_area:
            labels[labels == label] = 0
    found = np.zeros_like(labels)
    queue = deque(zip(*np.where(labels > 0), strict=True))
    for place in queue:
        found[place] = labels[place]
    for kernel in kernels[::-1]:
        later = deque()
        while queue:
            row, column = queue.popleft()
            is_edge = True
            for down, right in ((-1, 0), (1, 0), (0, -1), (0, 1)):
                place = row + down, column + right
                inside = 0 <= place[0] < labels.shape[0] and 0 <= place[1] < labels.shape[1]
                if not inside or not kernel[place] or found[place]:
                    continue
                queue.append(place)
                found[place] = found[row, column]
                is_edge = False
            if is_edge:
                later.append((row, column))
        queue = later
    return found


def test_growing():
    """Also where kernels are none of text: noise, in which all that may happen does."""
    count = 0
    for seed in range(40):
        random = np.random.default_rng(seed)
        share = random.uniform(0.3, 0.9)
        masks = random.random((random.integers(1, 6), *random.integers(1, 60, 2))) < share
        masks &= masks[:1]
        min_area = int(random.integers(1, 6))
        expected = expanded(masks.astype(np.uint8), min_area)
        assert np.array_equal(grown(masks, min_area), expected)
        count += len(np.unique(expected)) - 1
    assert count > 100


@pytest.fixture(scope="module")
def pse_of_paddleocr():
    """`PSEPostProcess`, with PyTorch's interpolation and sigmoid in place of Paddle's."""
    module = load("paddleocr", "ppocr/postprocess/pse_postprocess/pse_postprocess.py")

    class Maps(torch.Tensor):
        def astype(self, _):
            return self.float()

        def numpy(self):
            return self.as_subclass(torch.Tensor).numpy()

    module.pse = expanded
    module.F = torch.nn.functional
    module.paddle = SimpleNamespace(
        Tensor=Maps,
        to_tensor=lambda array: torch.from_numpy(array).as_subclass(Maps),
        unsqueeze=lambda maps, axis: maps.unsqueeze(axis),
    )
    return module.PSEPostProcess


@pytest.mark.parametrize("box_type", ["quad", "poly"])
@pytest.mark.parametrize(
    "options", [{"scale": 1}, {"scale": 4, "thresh": 0.5, "box_thresh": 0.9}, {"scale": 2,
    "min_area": 60}], ids=str
)  # fmt: skip
def test_pse(options, box_type, pse_of_paddleocr):
    options = {"thresh": 0, "box_thresh": 0.85, "min_area": 16, "box_type": box_type, **options}
    count = 0
    for seed in range(10):
        maps = pse_maps(seed, 256, 384)
        sizes = sizes_of(seed, 256, 384)
        count += compare(PSEDecoder(**options), pse_of_paddleocr(**options), maps, sizes)
    assert count > 15
