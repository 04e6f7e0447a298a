"""Layout analysis and unwarping, against PaddleOCR's, PaddleX's and Paddle's own code."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pipelines.layout.detections import level_sizes, multiclass_nms
from pipelines.layout.paddleocr import picodet_regions
from pipelines.layout.predictor import LayoutDetector
from pipelines.layout.yolo import yolo_detections
from pipelines.unwarping.predictor import Unwarper, to_pixels
from tests.oracle.paddleocr_source import load

LABELS = ["text", "image", "table", "formula"]
STRIDES = (8, 16, 32, 64)
DETECTION = "inference/models/object_detection/processors.py"
VISION = "inference/models/common/vision"
SUPPORT = Path(__file__).parents[1] / "support"
MULTICLASS_NMS, YOLO = SUPPORT / "multiclass_nms_child.py", SUPPORT / "yolo_child.py"


def page(seed, height=211, width=173):
    return np.random.RandomState(seed).randint(0, 256, (height, width, 3), np.uint8)


def normalized_by_paddlex(image, mean, std):
    return load("paddlex", f"{VISION}/processors.py").Normalize(1 / 255, mean, std).norm(image)


def detector(color, **settings):
    card = {"task": "layout", "labels": LABELS, "input": {"color": color}}
    if color == "BGR":
        card["pipeline"] = {"decoder": "PicoDetPostProcess", "interpolation": "linear"}
    network = type("Network", (), {"card": card, "__call__": lambda *_: {}})()
    return LayoutDetector(network, **settings)


@pytest.mark.parametrize("mean", [(0.485, 0.456, 0.406), (0.0, 0.0, 0.0)])
def test_inputs_of_paddlex(mean):
    std = (0.229, 0.224, 0.225) if any(mean) else (1.0, 1.0, 1.0)
    resize = load("paddlex", f"{VISION}/funcs.py").resize
    processors = load("paddlex", f"{VISION}/processors.py")
    for seed, size in enumerate([(211, 173), (640, 640), (900, 1300), (40, 900)]):
        image = page(seed, *size)
        judge = processors.Resize([608, 800], keep_ratio=False, interp="BICUBIC")
        resized = resize(image[..., ::-1], judge.target_size, interp=judge.interp, backend="cv2")
        expected = normalized_by_paddlex(resized, mean, std).transpose(2, 0, 1)
        prepared = detector("RGB", height=800, width=608, mean=mean, std=std).preprocess(image)
        assert np.array_equal(prepared[0], expected)


def test_inputs_of_pp_structure_2():
    operators = load("paddleocr", "ppocr/data/imaug/operators.py")
    values = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    steps = [
        operators.Resize([800, 608]),
        operators.NormalizeImage("1./255.", *values, "hwc"),
        operators.ToCHWImage(),
    ]
    for seed, size in enumerate([(211, 173), (800, 608), (900, 1300)]):
        data = {"image": page(seed, *size)}
        for step in steps:
            data = step(data)
        prepared = detector("BGR").preprocess(page(seed, *size))
        assert np.array_equal(prepared[0], data["image"])


def picodet_outputs(seed, height=320, width=224):
    """Outputs of PicoDet with several cells for each object, of one or two classes."""
    random, classes = np.random.RandomState(seed), len(LABELS)
    outputs = {}
    for level, (rows, columns) in enumerate(level_sizes(height, width, STRIDES)):
        scores = random.uniform(0, 0.1, (rows, columns, classes))
        for _ in range(random.randint(0, 4)):
            row, column = random.randint(rows), random.randint(columns)
            part = scores[row : row + 3, column : column + 3, random.randint(classes, size=2)]
            scores[row : row + 3, column : column + 3, random.randint(classes, size=2)] = (
                random.uniform(0.3, 1, part.shape)
            )
        scores = np.round(scores, 2)  # equal scores
        outputs[f"scores.{level}"] = scores.reshape(1, -1, classes).astype(np.float32)
        logits = random.normal(0, 2, (1, rows * columns, 32))
        outputs[f"distances.{level}"] = logits.astype(np.float32)
    return outputs


def test_regions_of_pp_structure_2(tmp_path):
    labels = tmp_path / "labels.txt"
    labels.write_text("\n".join(LABELS))
    module = load("paddleocr", "ppocr/postprocess/picodet_postprocess.py")
    judge = module.PicoDetPostProcess(labels, score_threshold=0.5, nms_threshold=0.5)
    found = 0
    for seed in range(80):
        outputs = picodet_outputs(seed)
        size = (317 + 7 * seed, 411)
        names = [f"{part}.{n}" for part in ("scores", "distances") for n in range(4)]
        expected = (
            judge(
                np.zeros((*size, 3)),
                np.zeros((1, 3, 320, 224)),
                {
                    "boxes": [outputs[name] for name in names[:4]],
                    "boxes_num": [outputs[name] for name in names[4:]],
                },
            )
            if any(outputs[name].max() > 0.5 for name in names[:4])
            else []
        )
        regions = picodet_regions(
            outputs,
            STRIDES,
            (320, 224),
            size,
            threshold=[0.5] * len(LABELS),
            nms_threshold=0.5,
            table=LABELS.index("table"),
        )
        assert [LABELS[int(number)] for number in regions[:, 0]] == [r["label"] for r in expected]
        for region, judged in zip(regions, expected, strict=True):
            assert region[1] == judged["score"]
            assert np.array_equal(region[2:], judged["bbox"])
        found += len(regions)
    assert found > 100


def detections(seed, size):
    """Boxes that overlap, contain each other, cover the page or leave it."""
    random = np.random.RandomState(seed)
    height, width = size
    top_left = random.uniform(-20, 0.8, (random.randint(0, 25), 2)) * [1, 1]
    top_left = np.where(top_left > 0, top_left * [width, height], top_left)
    sides = random.uniform(-2, 0.6 * height, top_left.shape)
    boxes = np.concatenate([top_left, top_left + sides], 1)
    near = boxes[: len(boxes) // 2] + random.uniform(-4, 4, (len(boxes) // 2, 4))
    inner = boxes[: len(boxes) // 3] + np.array([3, 3, -3, -3])
    full = np.array([[-5, 2, width + 3, height - 1]] * random.randint(0, 3)).reshape(-1, 4)
    boxes = np.concatenate([boxes, near, inner, full])
    numbers = random.randint(-1, len(LABELS), len(boxes))
    numbers[len(boxes) - len(full) :] = 1
    scores = np.round(random.uniform(size=len(boxes)), 2)
    rows = np.column_stack([numbers, scores, boxes]).astype(np.float32)
    return rows[random.permutation(len(rows))]


WAYS = [
    {},
    {"threshold": 0.1},
    {"threshold": {"text": 0.2, "formula": 0.7}, "layout_nms": True},
    {"layout_nms": True, "layout_unclip_ratio": 1.3},
    {"layout_merge_bboxes_mode": "large", "layout_unclip_ratio": (1.1, 0.9)},
    {"layout_merge_bboxes_mode": "small", "threshold": 0.3},
    {
        "layout_merge_bboxes_mode": {"text": "large", "image": "small", "table": "union"},
        "layout_unclip_ratio": {"table": (1.2, 1.0), "text": (0.9, 0.8)},
    },
    {"layout_merge_bboxes_mode": {"formula": "large", "table": "small"}, "layout_nms": True},
]


def by_class(value):
    if not isinstance(value, dict):
        return value
    return {LABELS.index(label): each for label, each in value.items()}


@pytest.mark.parametrize("ordered", [False, True])
@pytest.mark.parametrize("way", range(len(WAYS)))
def test_regions_of_paddlex(way, ordered):
    settings = {"threshold": 0.5, **WAYS[way]}
    judge = load("paddlex", DETECTION).DetPostProcess(LABELS)
    ours = detector("RGB", **settings)
    theirs = [by_class(settings.get(name)) for name in JUDGED]
    found = dropped = 0
    for seed in range(60):
        size = (300, 420) if seed % 2 else (420, 300)
        rows = detections(seed, size)
        if not len(rows):
            continue
        if ordered:  # some ranks occur twice, as those of two classes of a query
            random = np.random.RandomState(seed)
            ranks = random.randint(0, len(rows), len(rows))
            rows = np.column_stack([rows, ranks, random.permutation(len(rows))]).astype("f")
        expected = judge.apply(rows.copy(), (size[1], size[0]), *theirs)
        regions = ours._by_paddlex(rows.copy(), size)
        assert len(regions) == len(expected)
        for region, judged in zip(regions, expected, strict=True):
            assert int(region[0]) == judged["cls_id"]
            assert region[1] == np.float32(judged["score"])
            assert np.array_equal(region[2:], np.array(judged["coordinate"], np.float32))
        found += len(regions)
        dropped += len(rows) - len(regions)
    assert min(found, dropped) > 50


JUDGED = ("threshold", "layout_nms", "layout_unclip_ratio", "layout_merge_bboxes_mode")


def test_multiclass_nms_of_paddle(tmp_path):
    cases = {}
    for seed in range(12):
        random = np.random.RandomState(seed)
        corners = random.uniform(0, 200, (random.choice([4, 60, 400]), 2))
        boxes = np.concatenate([corners, corners + random.uniform(-1, 80, corners.shape)], 1)
        cases[f"{seed}/boxes"] = boxes.astype(np.float32)
        scores = random.uniform(0, 1, (len(boxes), 3)) ** random.choice([1, 6])
        cases[f"{seed}/scores"] = np.round(scores, 2).astype(np.float32)
    np.savez(tmp_path / "cases.npz", **cases)
    subprocess.run([sys.executable, MULTICLASS_NMS, tmp_path], check=True, timeout=300)
    expected = np.load(tmp_path / "results.npz")
    assert len(expected) == 12
    for seed, rows in expected.items():
        ours = multiclass_nms(cases[f"{seed}/boxes"], cases[f"{seed}/scores"])
        assert np.array_equal(ours, rows)


def test_detections_of_ppyolov2(tmp_path):
    anchors = np.random.RandomState(0).randint(10, 300, (3, 3, 2))
    cases = {"anchors": anchors.reshape(3, 6)}
    for seed, (height, width) in enumerate([(96, 96), (192, 128), (64, 160), (320, 320)]):
        random = np.random.RandomState(seed)
        for level in range(3):
            shape = (1, 3 * 7, height // 32 * 2**level, width // 32 * 2**level)
            values = random.normal(0, 1.5, shape)
            values[:, 4::7] -= 2
            cases[f"{seed}/{level}"] = values.astype(np.float32)
        cases[f"{seed}/size"] = np.array([3 * height + seed, 2 * width])
    np.savez(tmp_path / "cases.npz", **cases)
    subprocess.run([sys.executable, YOLO, tmp_path], check=True, timeout=300)
    expected = np.load(tmp_path / "results.npz")
    assert len(expected) == 4
    for seed, rows in expected.items():
        maps = {f"maps.{level}": cases[f"{seed}/{level}"] for level in range(3)}
        size = tuple(32 * side for side in maps["maps.0"].shape[2:])
        ours = yolo_detections(maps, list(anchors), size, tuple(cases[f"{seed}/size"]))
        assert np.array_equal(ours[:, 0], rows[:, 0])
        assert np.allclose(ours, rows, rtol=1e-5, atol=1e-3)
        assert len(ours) == 100
        assert len(set(rows[:, 0])) == 2


def test_unwarping():
    image = page(0)
    post = load("paddlex", "inference/models/image_unwarping/processors.py").DocTrPostProcess()
    values = np.random.RandomState(0).uniform(0, 1, (1, 3, 40, 50)).astype(np.float32)
    expected = post([values.copy()])[0][..., ::-1]  # the pipeline reverses the channels again
    assert np.array_equal(to_pixels(values[0]), expected)
    batches = []
    Unwarper(lambda batch: batches.append(batch) or batch)(image)
    expected = normalized_by_paddlex(image, 0.0, 1.0).transpose(2, 0, 1)
    assert np.array_equal(batches[0][0], expected)
