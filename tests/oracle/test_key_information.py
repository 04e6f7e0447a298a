"""Tokens of forms, graphs of receipts, classes and relations: equal to PaddleOCR's to the bit."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest

from converter.catalog.kie import class_labels, read_class_list
from pipelines.kie.box_graph import character_numbers, graph_inputs, scaled_page
from pipelines.kie.decoding import NO_ENTITY, line_classes, related_pairs, relation_inputs
from pipelines.kie.predictor import shift_and_scale
from pipelines.kie.tokens import encode_page, network_inputs, windows
from pipelines.normalization import Normalizer
from schemas.processing import KieSettings
from tests.oracle.paddleocr_source import load

LABEL_OPS, AUGMENT = "ppocr/data/imaug/label_ops.py", "ppocr/data/imaug/vqa/augment.py"
TOKENS = "ppocr/data/imaug/vqa/token/"
SER = "ppocr/postprocess/vqa_token_ser_layoutlm_postprocess.py"
RE = "ppocr/postprocess/vqa_token_re_layoutlm_postprocess.py"
PREDICT = "tools/infer_kie_token_ser_re.py"
SIZE = (1131, 803)
LENGTH = 64
CLASSES = ["OTHER", "question", "ANSWER", "HEADER"]
ARCHITECTURE = {"Backbone": {"name": "LayoutXLMForSer"}}


@dataclass
class Line:
    box: np.ndarray
    text: str


class Tokenizer:
    """A tokeniser with PaddleNLP's methods: one token for each letter."""

    padding_side, pad_token_type_id, pad_token_id = "right", 0, 1

    def tokenize(self, text):
        return [letter for letter in text if letter != " "]

    def __call__(self, text):
        return [ord(letter) for letter in self.tokenize(text)]

    def encode(self, text, **_):
        ids = [0, *self(text), 2]
        return {
            "input_ids": ids,
            "token_type_ids": [0] * len(ids),
            "attention_mask": [1] * len(ids),
        }


def form(seed: int, count: int) -> list[Line]:
    """Lines that stand in rows, some a little higher or lower than their neighbours."""
    random = np.random.default_rng(seed)
    lines = []
    for number in range(count):
        top, left = 40 * (number // 3) + random.uniform(0, 24), random.uniform(0, 600)
        width, tilt = random.uniform(20, 180), random.uniform(-3, 3)
        box = [[left, top], [left + width, top + tilt], [left + width, top + 21], [left, top + 20]]
        text = " ".join("word"[: int(n)] * 2 for n in random.integers(1, 5, random.integers(1, 4)))
        lines.append(Line(np.array(box, np.float32), text))
    random.shuffle(lines)
    return lines


def encoded_by_paddleocr(lines, monkeypatch, order, by_line, length=LENGTH):
    module = load("paddleocr", LABEL_OPS)
    monkeypatch.setattr(module, "order_by_tbyx", load("paddleocr", AUGMENT).order_by_tbyx)
    encode = module.VQATokenLabelEncode.__new__(module.VQATokenLabelEncode)
    found = [[line.box.tolist(), (line.text, 0.9)] for line in lines]
    options = {
        "tokenizer": Tokenizer(),
        "contains_re": False,
        "add_special_ids": False,
        "infer_mode": True,
        "order_method": order,
        "use_textline_bbox_info": by_line,
        "ocr_engine": SimpleNamespace(ocr=lambda *_, **__: [found]),
    }
    vars(encode).update(options)
    data = encode({"image": np.zeros((*SIZE, 3), np.uint8)})
    data = load("paddleocr", f"{TOKENS}vqa_token_pad.py").VQATokenPad(length, infer_mode=True)(data)
    chunk = load("paddleocr", f"{TOKENS}vqa_token_chunk.py").VQASerTokenChunk
    return chunk(length, infer_mode=True)(data)


@pytest.mark.parametrize("order", [None, "tb-yx"])
@pytest.mark.parametrize("by_line", [True, False])
@pytest.mark.parametrize(("seed", "count"), [(0, 4), (1, 9), (2, 30)])
def test_tokens_are_paddleocrs(monkeypatch, order, by_line, seed, count):
    lines = form(seed, count)
    theirs = encoded_by_paddleocr(lines, monkeypatch, order, by_line)
    settings = KieSettings(order_method=order, use_textline_bbox_info=by_line)
    page = encode_page(lines, SIZE, Tokenizer(), settings)
    ours = network_inputs(page, 0, min(LENGTH, len(page.ids)), Tokenizer.pad_token_id, LENGTH)
    for name, array in ours.items():
        assert array.dtype == theirs[name].dtype, name
        assert np.array_equal(array[0], theirs[name]), name
    assert list(page.ends) == theirs["segment_offset_id"]
    assert [line.text for line in page.lines] == [i["transcription"] for i in theirs["ocr_info"]]


def test_the_image_is_paddleocrs():
    import cv2

    image = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8)
    module = load("paddleocr", "ppocr/data/imaug/operators.py")
    data = {"image": image[..., ::-1]}
    steps = [
        module.Resize(size=[224, 224]) if hasattr(module, "Resize") else None,
        module.NormalizeImage(
            scale=1, mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], order="hwc"
        ),
        module.ToCHWImage(),
    ]
    for step in steps:
        data = step(data)
    settings = KieSettings()
    normalize = Normalizer(settings.color, settings.mean, settings.std, shift_and_scale)
    ours = normalize(cv2.resize(image, (224, 224)))
    assert ours.dtype == data["image"].dtype
    assert np.array_equal(ours, data["image"])


@pytest.mark.parametrize("seed", range(4))
def test_classes_and_relations_are_paddleocrs(monkeypatch, tmp_path, seed):
    random = np.random.default_rng(seed)
    lines = form(seed, 24)
    data = encoded_by_paddleocr(lines, monkeypatch, "tb-yx", True)
    page = encode_page(lines, SIZE, Tokenizer(), KieSettings(order_method="tb-yx"))
    scores = random.standard_normal((1, LENGTH, 7)).astype(np.float32)
    file = tmp_path / "classes.txt"
    file.write_text("\n".join(CLASSES), encoding="utf-8")
    labels = read_class_list(file, ARCHITECTURE)
    module = load("paddleocr", SER)
    maps = load("paddleocr", "ppocr/utils/utility.py").load_vqa_bio_label_maps
    monkeypatch.setattr(module, "load_vqa_bio_label_maps", maps)
    assert labels == tuple(maps(str(file))[1].values())
    post = module.VQASerTokenLayoutLMPostProcess(str(file))
    theirs = post(
        scores, segment_offset_ids=[data["segment_offset_id"]], ocr_infos=[data["ocr_info"]]
    )
    ours = line_classes(scores[0], page.ends, labels)
    assert [name for name, _ in ours] == [info["pred"] for info in theirs[0]]

    chosen = [n for n, (name, _) in enumerate(ours) if name != NO_ENTITY]
    given = relation_inputs(
        [page.spans[n] for n in chosen], [ours[n][0] for n in chosen], LENGTH + 1
    )
    inputs = [np.zeros((1, LENGTH))] * 8 + [[data["entities"]]]
    made, places = load("paddleocr", PREDICT).make_input(inputs, theirs)
    for name, array in zip(("entities", "relations"), made[5:], strict=True):
        assert given[name].dtype == array.dtype
        assert np.array_equal(given[name], array), name

    pairs = given["relations"][0, 1:]
    kept = pairs[random.random(len(pairs)) < 0.4]
    found = np.full((1, len(pairs) + 1, 7, 2), -1, np.int64)
    found[0, 0] = len(kept) or -1
    found[0, 1 : len(kept) + 1, 0, 0] = kept[:, 0]
    found[0, 1 : len(kept) + 1, 3, 0] = kept[:, 1]
    merge = load("paddleocr", RE).VQAReTokenLayoutLMPostProcess()
    merged = merge({"pred_relations": found}, ser_results=theirs, entity_idx_dict_batch=places)
    texts = [
        (page.lines[chosen[question]].text, page.lines[chosen[answer]].text)
        for question, answer in related_pairs(found[0])
    ]
    assert texts == [(a["transcription"], b["transcription"]) for a, b in merged[0]]


def test_class_lists():
    assert class_labels(["ignore", "total", "Date"], ARCHITECTURE) == (
        *("O", "B-TOTAL", "I-TOTAL", "B-DATE", "I-DATE"),
    )


def test_windows_hold_every_line():
    page = encode_page(form(3, 60), SIZE, Tokenizer(), KieSettings())
    parts = windows(page, 50)
    assert parts[0][0] == 0
    assert parts[-1][1] == len(page.ids)
    assert all(0 < end - start <= 50 for start, end in parts)
    assert all(following < end for (_, end), (following, _) in itertools.pairwise(parts))
    for first, last in page.spans:
        assert any(start <= first and last <= end for start, end in parts)


@pytest.mark.parametrize(("seed", "size"), [(0, (700, 500)), (1, (200, 333)), (2, (2000, 1100))])
def test_the_graph_of_a_receipt_is_paddleocrs(tmp_path, seed, size):
    characters = tmp_path / "dict.txt"
    characters.write_text("w\no\nr\n$\n", encoding="utf-8")
    classes = tmp_path / "classes.txt"
    classes.write_text("Ignore\nTotal\n", encoding="utf-8")
    random = np.random.default_rng(seed)
    lines = form(seed, 12)
    for line in lines:
        line.box = np.roll(line.box.round(), random.integers(4), 0)[:: random.choice([-1, 1])]
    rows = [
        {"points": line.box.tolist(), "transcription": line.text, "label": "Total"}
        for line in lines
    ]
    page = random.integers(0, 256, (*size, 3), np.uint8)
    encode = load("paddleocr", LABEL_OPS).KieLabelEncode(str(characters), str(classes))
    resize = load("paddleocr", "ppocr/data/imaug/operators.py").KieResize(img_scale=[1024, 512])
    theirs = resize(encode({"image": page, "label": json.dumps(rows)}))
    image = scaled_page(page)
    ours = graph_inputs(lines, character_numbers("wor$"), size, image.shape[:2])
    height, width = theirs["shape"]
    assert np.array_equal(theirs["image"][:height, :width], image)
    assert ours["image_size"].tolist() == [[height, width]]
    assert ours["tag"].tolist() == [theirs["tag"].tolist()]
    count, longest = theirs["tag"]
    for name, array in (
        ("boxes", theirs["points"][:count]),
        ("texts", theirs["texts"][:count, :longest]),
        ("relations", theirs["relations"][:count, :count]),
    ):
        assert np.array_equal(ours[name][0], array.astype(ours[name].dtype)), name
