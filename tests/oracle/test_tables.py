"""Table structure, and texts in cells, against PaddleOCR's own code: the same to the last bit."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from pipelines.table.master_matching import match_master_texts
from pipelines.table.predictor import assemble_master_table, assemble_table
from pipelines.table.preprocess import resize_ratio, table_input
from pipelines.table.structure import TableStructure, class_names, decode_structure
from pipelines.table.texts import read_texts
from schemas.processing import TableSettings
from tests.oracle.paddleocr_source import load
from tests.support.paths import ROOT

DICTIONARIES = ROOT / "configs/dicts/dict"
TABLE_OPERATORS = "ppocr/data/imaug/table_ops.py"
MASTER = {
    "decoder": "TableMasterLabelDecode",
    "max_len": 480,
    "pad_first": True,
    "mean": (0.5, 0.5, 0.5),
    "std": (0.5, 0.5, 0.5),
}
FORMS = {
    "SLANet": ("table_structure_dict_ch.txt", 8, {}),
    "SLANet of 4 numbers": ("table_structure_dict.txt", 4, {"max_len": 512}),
    "EDD without merged tokens": (
        "table_structure_dict.txt",
        4,
        {"merge_no_span_structure": False},
    ),
    "TableMASTER": ("table_master_structure_dict.txt", 4, MASTER),
}


def settings_of(form):
    dictionary, sides, settings = FORMS[form]
    lines = (DICTIONARIES / dictionary).read_text(encoding="utf-8").split("\n")
    return TableSettings([line for line in lines if line], **settings), sides


def image(seed, height, width):
    return np.random.RandomState(seed).randint(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize("form", FORMS)
def test_inputs(form):
    settings, _ = settings_of(form)
    operators = load("paddleocr", "ppocr/data/imaug/operators.py")
    tables = load("paddleocr", TABLE_OPERATORS)
    resize = tables.ResizeTableImage(settings.max_len)
    pad = tables.PaddingTableImage([settings.max_len] * 2)
    normalize = operators.NormalizeImage("1./255.", settings.mean, settings.std, "hwc")
    rest = [pad, normalize] if settings.pad_first else [normalize, pad]
    for seed, size in enumerate([(100, 333), (700, 650), (488, 488), (1200, 31), (17, 23)]):
        data = {"image": image(seed, *size)}
        expected = data
        for step in (resize, *rest, operators.ToCHWImage()):
            expected = step(expected)
        prepared = table_input(image(seed, *size), settings)
        assert prepared.dtype == np.float32
        assert np.array_equal(prepared[0], expected["image"].astype(np.float32))
        assert resize_ratio(image(seed, *size), settings.max_len) == expected["shape"][2]


def their_decoder(form):
    dictionary, _, settings = FORMS[form]
    name = settings.get("decoder", "TableLabelDecode")
    module = load("paddleocr", "ppocr/postprocess/table_postprocess.py")
    attention = load("paddleocr", "ppocr/postprocess/rec_postprocess.py").AttnLabelDecode
    options = {"box_shape": "pad"} if "Master" in name else {}
    return type(name, (getattr(module, name), attention), {})(
        str(DICTIONARIES / dictionary),
        merge_no_span_structure=settings.get("merge_no_span_structure", True),
        **options,
    )


@pytest.mark.parametrize("form", FORMS)
def test_structures(form):
    settings, sides = settings_of(form)
    names, theirs = class_names(settings), their_decoder(form)
    assert list(names) == theirs.character
    random = np.random.RandomState(0)
    ended = 0
    for _ in range(30):
        steps, size = random.randint(1, 60), random.randint(8, 900, 2)
        scores = random.uniform(size=(1, steps, len(names))).astype(np.float32)
        # Steps repeat, so that there are equal scores, and the end may come early or not at all.
        for step in np.flatnonzero(random.uniform(size=steps) < 0.1):
            scores[0, step] = scores[0, step - 1]
        boxes = random.uniform(-0.1, 1.1, (1, steps, sides)).astype(np.float32)
        ratio = resize_ratio(np.zeros((*size, 3), np.uint8), settings.max_len)
        shape = np.array([*size, ratio, ratio, settings.max_len, settings.max_len])
        with np.errstate(all="ignore"):
            expected = theirs({"structure_probs": scores, "loc_preds": boxes.copy()}, [[shape]])
        found = decode_structure(scores[0], boxes[0], settings, (size[0], size[1]), ratio)
        tokens, score = expected["structure_batch_list"][0]
        ended += len(tokens) < steps - 3
        assert list(found.tokens) == tokens
        assert not tokens or found.score == score
        theirs_boxes = expected["bbox_batch_list"][0]
        assert len(found.boxes) == len(theirs_boxes)
        if len(theirs_boxes):
            assert found.boxes.dtype == theirs_boxes.dtype == np.float32
            assert np.array_equal(found.boxes, theirs_boxes)
    assert ended > 5


def test_boxes_of_paddlex():
    """Those of its SLANet are relative to the image without padding; all are whole pixels."""
    settings, _ = settings_of("SLANet")
    cell = settings.characters.index("<td")
    for name, scale in [("SLANet", "image"), ("SLANet_plus", "padded")]:
        decode = load(
            "paddlex", "inference/models/table_structure_recognition/processors.py"
        ).TableLabelDecode(name, True, list(settings.characters))
        settings = TableSettings(settings.characters, box_scale=scale)
        scores = np.zeros((1, 9, len(class_names(settings))), np.float32)
        scores[0, :, class_names(settings).index(settings.characters[cell])] = 1
        boxes = np.random.RandomState(0).uniform(size=(1, 9, 8)).astype(np.float32)
        height, width = 313, 642
        expected = decode([boxes, scores], [[488, 488]], [[width, height]])[0]["bbox"]
        found = decode_structure(
            scores[0], boxes[0], settings, (height, width), 488 / width, whole_pixels=True
        )
        assert np.array_equal(found.boxes, expected)


TEXTS = ["", " ", "<b>", "a", " b", "c ", "<b>d</b>", "e < f & 'g'", "<b>h", "i</b>", "中文"]


def random_table(random):
    """Rows of cells that touch, some of them wide, and texts in, between and above them."""
    tokens, boxes = ["<thead>", "<tr>"], []
    for row in range(random.randint(1, 5)):
        for column in range(random.randint(1, 5)):
            tokens += [
                ["<td></td>"],
                ["<td", ' colspan="2"', ' rowspan="2"', ">", "</td>"],
                ["<td>", "</td>"],
            ][random.randint(3)]
            left, top, right, bottom = 60 * column, 30 * row + 20, 60 * column + 55, 30 * row + 45
            boxes.append([left, top, right, top, right, bottom, left, bottom])
        tokens += ["</tr>", "<tr>"]
    boxes = np.array(boxes, np.float32) + random.choice([0, 0.37])
    if random.uniform() < 0.5:
        boxes = boxes[:, [0, 1, 4, 5]]
    texts = []
    for _ in range(random.randint(1, 15)):
        left, top = random.randint(0, 300), random.randint(-5, 160)
        texts.append([left, top, left + random.randint(0, 90), top + random.randint(0, 40)])
    texts = np.array(texts, random.choice([np.float32, np.float64]))
    return tokens, boxes, texts, [TEXTS[n] for n in random.randint(len(TEXTS), size=len(texts))]


def test_html():
    match = load("paddleocr", "ppstructure/table/matcher.py").TableMatch(filter_ocr_result=True)
    random = np.random.RandomState(0)
    bold = several = 0
    for _ in range(300):
        tokens, boxes, text_boxes, texts = random_table(random)
        framed = ["<html>", "<body>", "<table>", *tokens, "</table>", "</body>", "</html>"]
        results = [(text, 0.9) for text in texts]
        expected = match((framed, boxes), list(text_boxes), results)
        table = assemble_table(TableStructure(tuple(tokens), boxes, 1.0), text_boxes, texts)
        assert table.html == "".join(expected)
        bold += "<b>" in table.html
        several += any(" " in cell.text.strip() for cell in table.cells)
    assert min(bold, several) > 20


def test_matches_of_tablemaster():
    """Texts whose centre is in one cell or several, that only overlap cells, that lie elsewhere."""
    matcher = load("paddleocr", "ppstructure/table/table_master_match.py").TableMasterMatcher()
    frame = [""] * 3
    random = np.random.RandomState(0)
    complete = 0
    for _ in range(120):
        count = random.randint(1, 9)
        tokens = ["<tr>", *["<td></td>"] * count, "</tr>", "</tbody>"]
        corners = random.uniform(0, 200, (count, 2))
        boxes = np.concatenate([corners, corners + random.uniform(1, 70, (count, 2))], 1)
        boxes = boxes.astype(np.float32)
        top_left = random.uniform(-10, 230, (random.randint(1, 12), 2))
        texts = np.concatenate([top_left, top_left + random.uniform(1, 60, top_left.shape)], 1)
        texts = texts.astype(random.choice([np.float32, np.float64]))
        words = [f"w{n}" for n in range(len(texts))]
        results = [(word, 0.9) for word in words]
        expected = matcher(([*frame, *tokens, *frame], boxes), texts, results)
        pairs = matcher.match()[1]["match_list"]
        judged = {}
        for text, cell in pairs:
            judged.setdefault(int(cell), []).append(int(text))
        matches = match_master_texts(boxes, texts)
        assert matches == judged
        if len(matches) == count:  # else cells vanish from PaddleOCR's HTML
            table = assemble_master_table(TableStructure(tuple(tokens), boxes, 1.0), texts, words)
            assert table.html == expected
            complete += 1
    assert complete > 20


def test_texts_inside_of_a_table():
    module = load("paddleocr", "ppstructure/table/predict_table.py")
    module.sorted_boxes = load("paddleocr", "tools/infer/predict_system.py").sorted_boxes
    random = np.random.RandomState(0)
    for _ in range(20):
        page = image(0, 200, 300)
        corners = random.uniform(-2, (298, 198), (random.randint(1, 9), 1, 2))
        sides = random.uniform(4, 60, (len(corners), 1, 2))
        around = np.array([[0, 0], [1, 0.1], [1, 1], [0.1, 1]])
        boxes = np.clip(corners + around * sides, 0, (299, 199)).astype(np.float32)
        crops = {}

        def recognize(lines, of=crops):
            of.setdefault("lines", []).append(lines)
            return [SimpleNamespace(text=str(n), score=0.1) for n in range(len(lines))]

        system = module.TableSystem.__new__(module.TableSystem)
        system.text_detector = lambda _, boxes=boxes: (boxes.copy(), 0)
        system.text_recognizer = lambda lines, read=recognize: (read(lines), 0)
        their_boxes, *_ = system._ocr(page)
        ocr = SimpleNamespace(
            detector=lambda _, boxes=boxes: list(boxes.copy()), recognizer=recognize
        )
        ours = read_texts(ocr, page)
        assert ours.boxes.dtype == their_boxes.dtype
        assert np.array_equal(ours.boxes, their_boxes)
        assert ours.texts == [str(n) for n in range(len(boxes))]
        for theirs, ours in zip(*crops["lines"], strict=True):
            assert np.array_equal(theirs, ours)
