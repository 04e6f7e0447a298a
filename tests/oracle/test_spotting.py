"""PGNet before and after the network, against PaddleOCR's own code: the same to the last bit."""

from __future__ import annotations

import contextlib
import io

import numpy as np
import pytest

from pipelines.detection.postprocess.decoder import Sizes
from pipelines.spotting.postprocess import PGDecoder
from pipelines.spotting.predictor import Spotter, network_size
from schemas.processing import SpottingSettings
from tests.oracle.paddleocr_source import load
from tests.support.paths import ROOT
from tests.support.spotted_maps import CHARACTERS, spotted_maps

DICTIONARY = ROOT / "configs/dicts/ic15_dict.txt"
WAYS = [
    {"mode": "fast"},
    {"mode": "fast", "point_gather_mode": "align"},
    {"mode": "fast", "valid_set": "partvgg"},
    {"mode": "slow"},
]
IMAGE, INPUT = (437, 611), (512, 768)
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def theirs(maps, mode, valid_set="totaltext", point_gather_mode=None):
    """The polygons and the texts that tools/infer/predict_e2e.py gives."""
    ratio = [a / b for a, b in zip(INPUT, IMAGE, strict=True)]
    processor = load("paddleocr", "ppocr/utils/e2e_utils/pgnet_pp_utils.py").PGNet_PostProcess(
        DICTIONARY, valid_set, 0.5, maps, [[*IMAGE, *ratio]], point_gather_mode
    )
    with contextlib.redirect_stdout(io.StringIO()):  # it prints what is too short
        found = getattr(processor, f"pg_postprocess_{mode}")()
    clip = load("paddleocr", "tools/infer/predict_e2e.py").TextE2E.clip_det_res
    return [clip(None, points, *IMAGE) for points in found["points"]], found["texts"]


def check(maps, options) -> int:
    polygons, texts = theirs(maps, **options)
    found = PGDecoder(CHARACTERS, **options)(maps, Sizes(IMAGE, IMAGE, INPUT))
    assert [spotted.text for spotted in found] == texts
    for spotted, polygon in zip(found, polygons, strict=True):
        assert spotted.polygon.dtype == np.float32
        assert np.array_equal(spotted.polygon, polygon)
    return len(texts)


@pytest.mark.parametrize("options", WAYS, ids=str)
def test_polygons_and_texts(options):
    assert sum(check(spotted_maps(seed), options) for seed in range(25)) > 80


@pytest.mark.parametrize("options", WAYS, ids=str)
@pytest.mark.parametrize("length", [0, 1e-7, 1e3])
def test_directions_that_say_nothing(options, length):
    """Without a direction places come twice, which stops PaddleOCR from filling gaps."""
    found = 0
    for seed in range(4):
        maps = spotted_maps(seed)
        maps["f_direction"] *= np.float32(length)
        with np.errstate(all="ignore"):
            found += check(maps, options)
    assert found


def test_maps_whose_channels_lie_side_by_side():
    maps = spotted_maps(1)
    turned = {
        name: np.ascontiguousarray(array.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
        for name, array in maps.items()
    }
    expected, found = (PGDecoder(CHARACTERS)(m, Sizes(IMAGE, IMAGE, INPUT)) for m in (maps, turned))
    assert len(found) == len(expected) > 2
    for a, b in zip(expected, found, strict=True):
        assert a.text == b.text
        assert np.array_equal(a.polygon, b.polygon)


SIDES = (1, 2, 63, 64, 102, 103, 128, 333, 614, 615, 720, 768, 769, 1440, 2500)


@pytest.mark.parametrize("valid_set", ["totaltext", "partvgg"])
@pytest.mark.parametrize("most", [768, 1000])
def test_sizes(valid_set, most, monkeypatch):
    operators = load("paddleocr", "ppocr/data/imaug/operators.py")
    monkeypatch.setattr(operators.cv2, "resize", lambda _, size: np.empty((*size[::-1], 0)))
    resize = operators.E2EResizeForTest(max_side_len=most, valid_set=valid_set)
    settings = SpottingSettings(max_side_len=most, valid_set=valid_set)
    for height in SIDES:
        for width in SIDES:
            data = resize({"image": np.empty((height, width, 3), np.uint8)})
            expected = data["image"].shape[:2]
            size = network_size(height, width, settings)
            if 0 not in expected:  # PaddleOCR's image would have no pixel
                assert size == expected, (height, width)
                ratio = Sizes((height, width), (height, width), size).ratio
                assert (height, width, *ratio) == tuple(data["shape"])


@pytest.mark.parametrize("size", [(20, 30), (333, 517), (800, 405)])
def test_arrays(size):
    operators = load("paddleocr", "ppocr/data/imaug/operators.py")
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    data = {"image": image.copy()}
    for step in (
        operators.E2EResizeForTest(max_side_len=768, valid_set="totaltext"),
        operators.NormalizeImage(scale="1./255.", mean=MEAN, std=STD, order="hwc"),
        operators.ToCHWImage(),
    ):
        data = step(data)
    batch = Spotter(np.copy, characters=CHARACTERS).preprocess(image)
    assert batch.dtype == data["image"].dtype == np.float32
    assert np.array_equal(batch[0], data["image"])
