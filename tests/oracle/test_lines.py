"""Classifying and reading lines, against PaddleOCR's own code: the same to the last bit.

Its `TextRecognizer` and `TextClassifier` run as they are, with a network that answers what depends
on every bit of what it is given. PaddleX, which is PaddleOCR 3's code, judges what only that has:
the limit of very long lines, the other classifiers, and words of lines that run downwards.
"""

from __future__ import annotations

import zlib
from types import SimpleNamespace
from unittest.mock import patch

import numpy as np
import pytest

from pipelines.classification.predictor import Classifier
from pipelines.classification.preprocess import preprocess
from pipelines.geometry import rotate
from pipelines.recognition.postprocess import ctc_decode
from pipelines.recognition.predictor import Recognizer
from pipelines.recognition.words import find_words
from schemas.processing import ClassificationSettings
from tests.oracle.paddleocr_source import load

# Letters, digits, what joins them, what parts them, two other scripts.
CHARACTERS = [*"abZ019.-,'()中文字éж "]
CHINESE = "中文字"
ARABIC = [*"ab19:. -\u0621\u0622\u0628\u062a"]
COLUMN = 8  # pixels


class Answers:
    """A network, and Paddle's predictor of the same network.

    Values are few, so that many are equal; columns repeat, and half of them are blank.
    """

    def __init__(self, classes, column=COLUMN):
        self.classes, self.column = classes, column
        self.given = []

    def __call__(self, batch):
        self.given.append(batch)
        random = np.random.RandomState(zlib.crc32(batch.tobytes()))
        shape = (len(batch), *([batch.shape[3] // self.column] if self.column else []))
        answers = random.randint(0, 6, (*shape, self.classes)) / np.float32(5)
        if self.column:
            answers[random.uniform(size=shape) < 0.5, 0] = 2
            again = np.flatnonzero(random.uniform(size=shape[1]) < 0.3)
            answers[:, again] = answers[:, again - 1]
        return answers.astype(np.float32)

    def attach(self, stage):
        """Put itself in the place of a stage's network."""
        stage.use_onnx = stage.benchmark = False
        stage.input_tensor = SimpleNamespace(copy_from_cpu=self._take)
        stage.output_tensors = [SimpleNamespace(copy_to_cpu=lambda: self(self._batch))]
        stage.predictor = SimpleNamespace(run=lambda: None, try_shrink_memory=lambda: None)
        return stage

    def _take(self, batch):
        self._batch = batch


def decoder(folder, characters, name="dict.txt"):
    file = folder / name
    file.write_text("".join(f"{c}\n" for c in characters if c != " "), encoding="utf-8")
    kind = load("paddleocr", "ppocr/postprocess/rec_postprocess.py").CTCLabelDecode
    decode = kind(str(file), use_space_char=True)
    assert decode.character == ["blank", *(c for c in characters if c != " "), " "]
    return decode


def text_recognizer(decode, height, batch):
    kind = load("paddleocr", "tools/infer/predict_rec.py").TextRecognizer
    stage = kind.__new__(kind)
    stage.rec_image_shape, stage.rec_batch_num = [3, height, 320], batch
    stage.rec_algorithm, stage.return_word_box = "SVTR_LCNet", True
    stage.postprocess_op, stage.postprocess_params = decode, {"name": "CTCLabelDecode"}
    return stage


def random_lines(seed, count, widest=4000):
    random = np.random.RandomState(seed)
    heights = random.choice([1, 2, 11, 31, 32, 33, 47, 48, 49, 100], count)
    widths = (widest ** random.uniform(size=count)).astype(int)
    return [random.randint(0, 256, (h, w, 3)).astype(np.uint8)
            for h, w in zip(heights, widths, strict=True)]  # fmt: skip


def same_readings(lines, folder, height=48, batch=6):
    """Read lines on both sides and compare everything; return both results."""
    decode = decoder(folder, CHARACTERS)
    theirs, ours = Answers(len(CHARACTERS) + 1), Answers(len(CHARACTERS) + 1)
    expected, _ = theirs.attach(text_recognizer(decode, height, batch))(lines)
    recognizer = Recognizer(ours, CHARACTERS, batch, height=height)
    object.__setattr__(recognizer.settings, "max_width", 10**6)  # more than a setting may be
    readings = recognizer(lines)
    assert len(ours.given) == len(theirs.given) == -(-len(lines) // batch)
    for one, other in zip(ours.given, theirs.given, strict=True):
        assert one.dtype == other.dtype == np.float32
        assert np.array_equal(one, other)
    assert [(r.text, r.score, r.columns) for r in readings] == [
        (text, score, columns) for text, score, (columns, *_) in expected
    ]
    return readings, expected


@pytest.mark.parametrize("batch", [1, 2, 6, 7])
@pytest.mark.parametrize("height", [32, 48])
def test_reading_lines(tmp_path, batch, height):
    for seed in range(3):
        lines = random_lines(10 * batch + seed, count=5 * seed + seed)
        same_readings(lines, tmp_path, height, batch)


@pytest.mark.parametrize("width", [1, 2, 3, 47, 319, 320, 321, 1000, 3199, 3200, 3201, 4000])
def test_reading_lines_of_each_width(tmp_path, width):
    lines = [np.full((height, width, 3), 77, np.uint8) for height in (48, 47, 32)]
    same_readings(lines, tmp_path)


def test_lines_of_equal_ratio_are_in_the_same_batches(tmp_path):
    lines = [line[:, :40] for line in random_lines(1, 40, 300)]
    for index, line in enumerate(lines):
        lines[index] = np.full((30, 60 if index % 3 else line.shape[1], 3), index, np.uint8)
    same_readings(lines, tmp_path, batch=4)


def test_decoding(tmp_path):
    decode = decoder(tmp_path, CHARACTERS)
    random = np.random.RandomState(0)
    cases = [np.zeros((1, 5, 20)), np.eye(20)[None, [0] * 7], np.eye(20)[None, [3] * 7],
             np.eye(20)[None, [3, 0, 3, 3, 0, 0, 4]], np.ones((1, 4, 20)),
             *(random.randint(0, 3, (1, 40, 20)) for _ in range(50)),
             *(random.uniform(size=(1, 40, 20)) for _ in range(20))]  # fmt: skip
    characters = [*CHARACTERS, "x"][:19]
    decode.character = ["blank", *characters]
    for case in cases:
        probabilities = case.astype(np.float32)
        ((text, score),) = decode(probabilities)
        reading = ctc_decode(probabilities[0], characters)
        assert (reading.text, reading.score) == (text, score)


def test_decoding_of_arabic(tmp_path):
    decode = decoder(tmp_path, ARABIC, "arabic_dict.txt")
    assert decode.reverse
    characters = decode.character[1:]
    random = np.random.RandomState(0)
    for length in range(1, 60):
        probabilities = random.uniform(size=(length, len(characters) + 1)).astype(np.float32)
        reading = ctc_decode(probabilities, characters, right_to_left=True)
        assert [(reading.text, reading.score)] == decode(probabilities[np.newaxis])


# Words


def upright(random, tall):
    left, top, short, ratio = random.randint(0, 500, 4) / [1, 1, 10, 50] + [0, 0, 4, 1.6]
    short, long = int(short), int(short * ratio + 1)
    right, bottom = (left + short, top + long) if tall else (left + long, top + short)
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]], np.float32)


def in_their_order(words):
    """PaddleOCR gives the boxes of Chinese characters after the others."""
    return sorted(words, key=lambda word: word.text in CHINESE)


def word_cases(folder):
    for seed in range(4):
        readings, expected = same_readings(random_lines(seed, 12, 1500), folder)
        yield from zip(readings, expected, strict=True)
    decode, random = decoder(folder, CHARACTERS), np.random.RandomState(0)
    classes = len(CHARACTERS) + 1
    for length in range(1, 60):
        probabilities = random.uniform(size=(1, length % 12 + 1, classes)).astype(np.float32)
        ratios = {"wh_ratio_list": [length], "max_wh_ratio": 60}
        (theirs,) = decode(probabilities, return_word_box=True, **ratios)
        yield ctc_decode(probabilities[0], CHARACTERS, width_ratio=length / 60), theirs


def test_words_and_their_boxes(tmp_path):
    place_words = load("paddleocr", "ppstructure/utility.py").cal_ocr_word_box
    random, found = np.random.RandomState(0), 0
    for reading, (text, _, word_info) in word_cases(tmp_path):
        box = upright(random, tall=False)
        texts, boxes = place_words(text, box, word_info)
        words = find_words(reading, box)
        assert [word.text for word in words] == texts
        found += len(words)
        ours = [word.box for word in in_their_order(words)]
        assert np.array_equal(np.reshape(ours, (-1, 4, 2)), np.float32(boxes).reshape(-1, 4, 2))
        # Upper corners of a slanted line are the same from left to right.
        slanted = box + np.array([[0, 0], [0, 9], [0, 9], [0, 0]], np.float32)
        again = in_their_order(find_words(reading, slanted))
        assert [word.box[:2, 0].tolist() for word in again] == [b[:2, 0].tolist() for b in ours]
    assert found > 500


def test_words_of_lines_that_run_downwards(tmp_path):
    path = "inference/pipelines/components/common/cal_ocr_word_box.py"
    place_words = load("paddlex", path).cal_ocr_word_box
    random, found = np.random.RandomState(0), 0
    for reading, (text, _, word_info) in word_cases(tmp_path):
        box = upright(random, tall=True)
        _, boxes = place_words(text, box, word_info)
        words = find_words(reading, box)
        found += len(words)
        ours = sorted(np.sort(word.box, axis=0).tolist() for word in words)
        assert ours == sorted(np.sort(np.float32(box), axis=0).tolist() for box in boxes)
    assert found > 500


# Very long lines


@pytest.mark.parametrize("width", [100, 3000, 3200, 3201, 3266, 3267, 5000, 9999])
@pytest.mark.parametrize("height", [47, 48])
def test_very_long_lines_by_paddlex(width, height):
    """It pads each line by itself, so alone in a batch a line is the same here."""
    processors = load("paddlex", "inference/models/text_recognition/processors.py")
    line = np.random.RandomState(width).randint(0, 256, (height, width, 3)).astype(np.uint8)
    answers = Answers(len(CHARACTERS) + 1)
    Recognizer(answers, CHARACTERS)([line])
    assert np.array_equal(answers.given[0][0], processors.OCRReisizeNormImg().resize(line))


# Classification


def text_classifier(batch, threshold):
    kind = load("paddleocr", "tools/infer/predict_cls.py").TextClassifier
    stage = kind.__new__(kind)
    stage.cls_image_shape, stage.cls_batch_num, stage.cls_thresh = [3, 48, 192], batch, threshold
    decode = load("paddleocr", "ppocr/postprocess/cls_postprocess.py").ClsPostProcess
    stage.postprocess_op = decode(label_list=["0", "180"])
    return stage


@pytest.mark.parametrize("batch", [1, 6])
@pytest.mark.parametrize("threshold", [0.9, 0.6, 0.0])
def test_directions_of_lines(batch, threshold):
    lines = random_lines(5, 40)
    theirs, ours = Answers(2, column=None), Answers(2, column=None)
    expected, labels, _ = theirs.attach(text_classifier(batch, threshold))(lines)
    angles = Classifier(ours, batch, cls_thresh=threshold)(lines)
    for one, other in zip(ours.given, theirs.given, strict=True):
        assert np.array_equal(one, other)
    upright_lines = list(map(rotate, lines, angles))
    assert all(map(np.array_equal, upright_lines, expected))
    assert 0 < sum(angle == 180 for angle in angles) < 40
    assert {label for label, _ in labels} == {"0", "180"}


def by_paddlex(image, *steps):
    """The array that PaddleX's classifiers are given."""
    folder = "inference/models"
    funcs = load("paddlex", f"{folder}/common/vision/funcs.py")
    vision = load("paddlex", f"{folder}/common/vision/processors.py")
    crop = load("paddlex", f"{folder}/image_classification/processors.py")
    kinds = {"Resize": vision.Resize, "ResizeByShort": vision.ResizeByShort, "Crop": crop.Crop}
    mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    images = [image[..., ::-1]]
    with patch.object(vision, "F", funcs), patch.object(crop, "F", funcs):
        for name, size in steps:
            images = kinds[name](size)(images)
        images = vision.ToCHWImage()(vision.Normalize(mean=mean, std=std)(images))
        return vision.ToBatch()(images)[0]


IMAGENET = {"color": "RGB", "mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
SIZES = [(1, 1), (80, 160), (48, 500), (300, 20), (256, 256), (256, 301), (301, 256),
         (224, 900), (1000, 707), (333, 1111), (17, 340)]  # fmt: skip


@pytest.mark.parametrize("size", SIZES)
def test_arrays_of_the_other_classifiers_by_paddlex(size):
    image = np.random.RandomState(0).randint(0, 256, (*size, 3)).astype(np.uint8)
    lines = ClassificationSettings(height=80, width=160, keep_ratio=False, **IMAGENET)
    assert np.array_equal(preprocess([image], lines), by_paddlex(image, ("Resize", [160, 80])))
    pages = ClassificationSettings((0, 90, 180, 270), 224, 224, resize_short=256, **IMAGENET)
    expected = by_paddlex(image, ("ResizeByShort", 256), ("Crop", 224))
    assert np.array_equal(preprocess([image], pages), expected)


@pytest.mark.parametrize("angle", [90, 180, 270])
def test_the_way_in_which_pages_are_turned_by_paddlex(angle):
    """It turns about the corner of a pixel, so what it gives is shifted by one."""
    warp = load("paddlex", "inference/pipelines/components/common/warp_image.py")
    image = np.random.RandomState(0).randint(0, 256, (30, 50, 3)).astype(np.uint8)
    ours, theirs = rotate(image, angle), warp.rotate_image(image, angle)
    assert ours.shape == theirs.shape
    down, right = {90: (1, 0), 180: (1, 1), 270: (0, 1)}[angle]
    height, width = ours.shape[:2]
    assert np.array_equal(ours[: height - down, : width - right], theirs[down:, right:])
