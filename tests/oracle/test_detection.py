"""Detection before and after the network, against PaddleOCR's own code: the same to the last bit.

PaddleOCR 3's code, in PaddleX, differs from PaddleOCR 2's, which is followed, in a few float
operations; there the bound is stated.
"""

from __future__ import annotations

import sys

import cv2
import numpy as np
import pytest

from pipelines.detection.curved import crop_polygon, sort_top_down
from pipelines.detection.postprocess.db import DBDecoder, rectangle
from pipelines.detection.predictor import Detector
from pipelines.detection.preprocess import network_size
from pipelines.geometry import crop, reading_order
from pipelines.settings import detection_settings
from schemas.processing import DetectionSettings
from tests.oracle.paddleocr_source import STAND_INS, load
from tests.support.probability_maps import probability_map

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]

SIDES = (1, 2, 15, 31, 32, 33, 47, 48, 49, 63, 64, 65, 80, 112, 333, 720, 959, 960, 961, 1440, 2500)
SIZES = [(a, b) for i, a in enumerate(SIDES) for b in SIDES[i % 3 :: 3]]

RULES = [
    {"limit_side_len": 960, "limit_type": "max"},
    {"limit_side_len": 333, "limit_type": "max"},
    {"limit_side_len": 64, "limit_type": "min"},
    {"limit_side_len": 736, "limit_type": "min"},
    {"limit_side_len": 736},
    {"limit_side_len": 500, "limit_type": "resize_long"},
    {"resize_long": 960},
    {"image_shape": [320, 480]},
    {"image_shape": [64, 480], "keep_ratio": True},
]


def settings(rule):
    """What a file that states this rule alone amounts to, without PaddleOCR 3's limit."""

    def network(batch):
        return batch

    network.card = {"pipeline": rule}
    unlimited = detection_settings(network)
    object.__setattr__(unlimited, "max_side_limit", 10**8)  # more than a card may state
    return unlimited


def sized(shape, monkeypatch, module):
    """An image whose resizing is not computed, but answered with its size alone."""
    monkeypatch.setattr(module.cv2, "resize", lambda _, dsize: np.empty((*dsize[::-1], 0)))
    return np.empty((*shape, 3), np.uint8)


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_sizes(rule, monkeypatch):
    operators = load("paddleocr", "ppocr/data/imaug/operators.py")
    resize = operators.DetResizeForTest(**rule)
    for height, width in SIZES:
        if "resize_long" in rule and max(height, width) > 960 * min(height, width):
            continue  # PaddleOCR's image would have no pixel
        image = sized((height, width), monkeypatch, operators)
        expected = resize({"image": image})["image"].shape[:2]
        padded = (32, 32) if height + width < 64 else (0, 0)
        size = np.maximum(padded, (height, width))
        assert network_size(*map(int, size), settings(rule)) == expected, (height, width)


def test_sizes_by_the_shorter_side(monkeypatch):
    """Up to images so long that PaddleOCR's input would be longer than `max_side_limit`."""
    process = load("paddleocr", "ppocr/data/imaug/ct_process.py")
    for height, width in SIZES:
        if max(height, width) > 6 * min(height, width):
            continue
        image = sized((height, width), monkeypatch, process)
        data = process.ScaleAlignedShort(short_size=640)({"image": image})
        found = network_size(height, width, settings({"short_size": 640}))
        assert found == data["image"].shape[:2], (height, width)


@pytest.mark.parametrize(
    "rule", [rule for rule in RULES if "limit_type" in rule], ids=str
)  # fmt: skip
@pytest.mark.parametrize("most", [4000, 1000])
def test_sizes_by_paddlex(rule, most, monkeypatch):
    processors = load("paddlex", "inference/models/text_detection/processors.py")
    monkeypatch.setattr(processors, "cv2", cv2, raising=False)
    resize = processors.DetResizeForTest(max_side_limit=most, **rule)
    for height, width in SIZES:
        image = sized((height, width), monkeypatch, processors)
        ((found,), _) = resize([image], **rule, max_side_limit=most)
        size = np.maximum((32, 32) if height + width < 64 else (0, 0), (height, width))
        ours = network_size(*map(int, size), DetectionSettings(**rule, max_side_limit=most))
        assert ours == found.shape[:2], (height, width)


def page(height, width, seed=0):
    """Lines of text on a page that is uneven everywhere."""
    random = np.random.default_rng(seed)
    image = random.integers(0, 256, (height, width, 3), np.uint8)
    for top in range(20, height, 40):
        cv2.putText(image, "PaddleOCR 2.10", (5, top), 0, 1, (10, 200, 90), 3)
    return image


@pytest.mark.parametrize("rule", [*RULES[:2], *RULES[6:]], ids=str)
@pytest.mark.parametrize("size", [(1, 1), (20, 30), (64, 64), (333, 517), (800, 1205)])
def test_arrays(rule, size):
    operators = load("paddleocr", "ppocr/data/imaug/operators.py")
    data = {"image": page(*size)}
    for step in (
        operators.DetResizeForTest(**rule),
        operators.NormalizeImage(scale="1./255.", mean=MEAN, std=STD, order="hwc"),
        operators.ToCHWImage(),
    ):
        data = step(data)
    batch = Detector(np.copy, **rule).preprocess(page(*size))[0]
    assert batch.dtype == data["image"].dtype == np.float32
    assert batch.flags.c_contiguous
    assert np.array_equal(batch[0], data["image"])
    _, sizes = Detector(one_map, **rule).run(page(*size))
    assert [*sizes.image, *sizes.ratio] == data["shape"].tolist()


def one_map(batch):
    return batch[:, :1]


def test_arrays_by_the_shorter_side():
    """What CentripetalText takes: red first, and tiny images are not padded."""
    operators = load("paddleocr", "ppocr/data/imaug/operators.py")
    process = load("paddleocr", "ppocr/data/imaug/ct_process.py")
    for size in ((20, 30), (64, 64), (333, 517)):
        data = {"image": page(*size)[..., ::-1]}
        for step in (
            process.ScaleAlignedShort(short_size=640),
            operators.NormalizeImage(order="hwc"),
            operators.ToCHWImage(),
        ):
            data = step(data)
        detector = Detector(one_map, short_size=640, color="RGB")
        assert np.array_equal(detector.preprocess(page(*size))[0][0], data["image"])
        _, sizes = detector.run(page(*size))
        assert [*sizes.image, 3, *sizes.input, 3] == data["shape"].tolist()


def test_arrays_by_paddlex():
    """It normalises with one multiplication and one addition; the largest value is 2.64."""
    processors = load("paddlex", "inference/models/text_detection/processors.py")
    image = page(96, 128)
    (expected,) = processors.NormalizeImage(mean=MEAN, std=STD, order="hwc")([image])
    batch = Detector(np.copy).preprocess(image)[0]
    assert np.abs(batch[0] - expected.transpose(2, 0, 1)).max() < 1e-6


def by_paddleocr(heat, height, width, **settings):
    """The boxes of `DBPostProcess` after what `TextDetector` does with them."""
    decode = load("paddleocr", "ppocr/postprocess/db_postprocess.py").DBPostProcess(**settings)
    shapes = np.array([[height, width, 1.0, 1.0]])
    boxes = decode({"maps": heat[np.newaxis, np.newaxis]}, shapes)[0]["points"]
    kind = load("paddleocr", "tools/infer/predict_det.py").TextDetector
    detector = kind.__new__(kind)
    if settings["box_type"] == "quad":
        return list(detector.filter_tag_det_res(boxes, (height, width)))
    # One at a time, since together they are all filled up to as many corners as the largest has.
    clip = detector.filter_tag_det_res_only_clip
    return [clip([polygon], (height, width))[0] for polygon in boxes]


SETTINGS = [
    {"box_type": box_type, "score_mode": score_mode, "use_dilation": use_dilation}
    for box_type in ("quad", "poly")
    for score_mode in ("fast", "slow")
    for use_dilation in (False, True)
]


def same(found, expected):
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        assert np.array_equal(ours, theirs)


def named(settings):
    return "-".join(map(str, settings.values()))


@pytest.mark.parametrize("settings", SETTINGS, ids=named)
def test_boxes(settings):
    count = 0
    for seed in range(40):
        random = np.random.default_rng(seed)
        # Scaled by 1.5 or 2.5 many coordinates are halves; at a tenth, boxes are a few pixels wide.
        scale = random.choice([0.1, 0.5, 1, 1.5, 2.5, random.uniform(0.1, 9)])
        height, width = round(320 * scale), round(480 * scale)
        limits = {
            "thresh": 0.3,
            "box_thresh": float(random.choice([0.1, 0.3, 0.6])),
            "unclip_ratio": float(random.choice([0.5, 1.5, 2.0])),
            "max_candidates": int(random.choice([5, 1000])),
        }
        heat = probability_map(seed)
        found = DBDecoder(**settings, **limits).outlines(heat, height, width)
        same(found, by_paddleocr(heat, height, width, **settings, **limits))
        count += len(found)
    assert count > 50


@pytest.mark.parametrize("settings", SETTINGS[::2], ids=named)
@pytest.mark.parametrize("value", [0, 1])
def test_boxes_of_an_even_map(settings, value):
    heat = np.full((64, 96), value, np.float32)
    found = DBDecoder(**settings).outlines(heat, 500, 700)
    same(found, by_paddleocr(heat, 500, 700, box_thresh=0.6, unclip_ratio=1.5, **settings))
    assert len(found) == value


@pytest.mark.parametrize("box_type", ["quad", "poly"])
def test_boxes_by_paddlex(box_type):
    """The same boxes within a pixel: it rounds elsewhere, and clips a pixel further out."""
    module = load("paddlex", "inference/models/text_detection/processors.py")
    limits = {"thresh": 0.3, "box_thresh": 0.4, "unclip_ratio": 1.5, "box_type": box_type}
    decode = module.DBPostProcess(**limits)
    count = 0
    for seed in range(25):
        heat = probability_map(seed)
        ((theirs,), _) = decode([heat[np.newaxis, np.newaxis]], [(640, 900, 2.0, 1.875)])
        ours = DBDecoder(**limits).outlines(heat, 640, 900)
        assert len(ours) == len(theirs)
        for box, other in zip(ours, theirs, strict=True):
            # Sorted, since four corners may begin with another one.
            assert np.abs(np.sort(box, 0) - np.sort(other, 0)).max() <= 1
        count += len(ours)
    assert count > 50


def quads():
    """Boxes of generated maps and hard ones: tilted, tall, overlapping, at the border, flat."""
    for seed in range(12):
        yield from DBDecoder(box_thresh=0.4).outlines(probability_map(seed), 300, 400)
    for centre, size in (((200, 150), (120, 30)), ((200, 150), (31, 120)), ((5, 5), (60, 20))):
        for degrees in range(-90, 91, 15):
            corners = np.round(cv2.boxPoints((centre, size, degrees))).astype(np.float32)
            yield np.roll(corners, degrees // 15, axis=0)
    yield np.array([[10, 10], [200, 30], [180, 90], [20, 60]], np.float32)  # no rectangle
    yield np.array([[-20, 5], [420, 5], [420, 290], [-20, 290]], np.float32)  # beyond the image
    yield np.array([[50, 50], [110, 50], [110, 140], [50, 140]], np.float32)  # 1.5 times as tall
    yield np.array([[50, 50], [110, 50], [110, 139], [50, 139]], np.float32)
    yield np.array([[7, 9], [300, 9], [300, 10], [7, 10]], np.float32)  # a pixel high


def test_crops():
    utility = load("paddleocr", "tools/infer/utility.py")
    image = page(300, 400)
    boxes = list(quads())
    assert len(boxes) > 80
    for box in boxes:
        expected = utility.get_rotate_crop_image(image, box.copy())
        assert np.array_equal(crop(image, box), expected)
        expected = utility.get_minarea_rect_crop(image, box)
        assert np.array_equal(crop(image, rectangle(box.astype(np.int32))[0]), expected)


def polygons():
    """Polygons of generated maps, and slanting quadrilaterals whose corners are cut off."""
    decode = DBDecoder(box_type="poly", box_thresh=0.3, unclip_ratio=0.5)
    for seed in range(30):
        yield from decode.outlines(probability_map(seed), 640, 960)
    random = np.random.default_rng(0)
    for number in range(300):
        angles = np.radians(random.uniform(0, 360) + np.array([0, random.uniform(5, 50)]))
        # In the second half just so thin that the short sides are the ends of the line.
        ratio = random.uniform(0.5, 1) if number < 150 else random.uniform(0.43, 0.49)
        long, short = np.stack([np.cos(angles), np.sin(angles)], axis=1) * random.uniform(80, 200)
        short *= ratio
        corners = np.stack([0 * long, long, long + short, short]) + np.array([400, 300])
        cut = 0.04 * (np.roll(corners, -1, axis=0) - corners)
        around = np.stack([corners - np.roll(cut, 1, axis=0), corners + cut], axis=1)
        yield np.round(around).reshape(-1, 2).astype(np.float32)


def test_crops_of_polygons_by_paddlex():
    """Save lines that stand, where PaddleX's crop stands too, and specks, where it is huge."""
    common = "inference/pipelines/components/common"
    outlines = []

    class Rectifier(load("paddlex", f"{common}/seal_det_warp.py").AutoRectifier):
        def run(self, image, points, mode):
            outlines.append(np.reshape(points, (-1, 2)).astype(int))
            return super().run(image, points, mode=mode)

    module = load("paddlex", f"{common}/crop_image_regions.py")
    module.AutoRectifier = Rectifier
    theirs = module.CropByPolys("poly")
    image = page(640, 960)
    straight = curved = 0
    for polygon in polygons():
        outlines.clear()
        (expected,) = theirs(image, [polygon])
        width, height = np.ptp(outlines[0], axis=0) if outlines else (1, 1)
        if height > 1.5 * width or cv2.contourArea(polygon) < 500:
            continue
        assert np.array_equal(crop_polygon(image, polygon), expected)
        straight += not outlines
        curved += bool(outlines)
    assert straight > 50
    assert curved > 150


def test_order_of_polygons_by_paddlex():
    sort = load("paddlex", "inference/pipelines/components/common/sort_boxes.py").SortPolyBoxes()
    random = np.random.default_rng(0)
    for count in (0, 1, 2, 17, 60):
        polygons = [
            random.integers(0, 30, (random.integers(4, 9), 2)).astype(np.float32)
            for _ in range(count)
        ]
        same(sort_top_down(polygons), sort(polygons))


def test_reading_order():
    sort = load("paddleocr", "tools/infer/predict_system.py").sorted_boxes
    boxes = np.array(list(quads()))
    random = np.random.default_rng(0)
    for count in (0, 1, 2, 5, 30, len(boxes)):
        for _ in range(20):
            some = random.permutation(boxes)[:count]
            same(reading_order(list(some)), sort(some))


def test_nothing_of_it_stays_imported():
    load("paddleocr", "tools/infer/predict_system.py")
    assert [name for name in sys.modules if name.partition(".")[0] in STAND_INS] == []
