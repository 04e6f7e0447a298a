"""Formulas and upscaled lines, against PaddleOCR's own code and, where that is newer, PaddleX's."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from PIL import Image

from converter.catalog.dictionary import SHIPPED, read_dictionary
from pipelines.formula.postprocess import TokenDecoder, latex_of_latexocr, latex_of_unimernet
from pipelines.formula.preprocess import can_input, latexocr_input, unimernet_input
from pipelines.io.images import ImageError
from pipelines.super_resolution.predictor import Upscaler
from tests.oracle.paddleocr_source import load

PROCESSORS = "inference/models/formula_recognition/processors.py"
POSTPROCESS = "ppocr/postprocess/rec_postprocess.py"
VALUES = (0.7931, 0.1738)
TOKENIZERS = {
    "LaTeXOCRDecode": "dict/latex_ocr_tokenizer.json",
    "UniMERNetDecode": "dict/unimernet_tokenizer",
}


def by_paddlex(name):
    return getattr(load("paddlex", PROCESSORS), name)


def formulas(count, *, grey):
    """Images with ink on paper, or the other way round, of all sizes."""
    random = np.random.RandomState(0)
    for number in range(count):
        height, width = random.randint(1, 300), random.randint(2, 900)
        paper, ink = (230, 20) if number % 3 else (10, 200)
        shape = (height, width) if grey else (height, width, 3)
        image = random.randint(0, 20, shape) + paper
        top, left = random.randint(0, height), random.randint(0, width)
        part = image[top : top + 1 + height // 2, left : left + 1 + width // 2]
        part[:] = random.randint(0, 30, part.shape) + ink
        image = image.astype(np.uint8)
        yield cv2.cvtColor(image, cv2.COLOR_GRAY2BGR) if grey else image


def test_latexocr_inputs():
    decode = by_paddlex("MinMaxResize")()
    grey, norm = by_paddlex("LatexTestTransform")(), by_paddlex("NormalizeImage")
    norm = norm(mean=[VALUES[0]] * 3, std=[VALUES[1]] * 3, order="hwc")
    pad = by_paddlex("LatexImageFormat")()
    for image in formulas(40, grey=False):
        rgb = np.ascontiguousarray(image[..., ::-1])
        sized = decode.resize(rgb)
        # What it makes grey is blue first there, and red first in PaddleOCR.
        expected = pad.format(norm.normalize(grey.transform(sized[..., ::-1])))
        assert np.array_equal(latexocr_input(image, *VALUES), expected)


def test_an_image_without_a_formula():
    with pytest.raises(ImageError, match="one colour"):
        latexocr_input(np.full((10, 40, 3), 255, np.uint8), *VALUES)
    assert latexocr_input(np.full((192, 32, 3), 255, np.uint8), *VALUES).shape == (1, 1, 192, 32)


@pytest.mark.parametrize("size", [(384, 384), (192, 672)])
def test_unimernet_inputs(size):
    decode = by_paddlex("UniMERNetImgDecode")(size)
    normalize = by_paddlex("UniMERNetTestTransform")()
    pad = by_paddlex("UniMERNetImageFormat")()
    for image in formulas(25, grey=True):
        expected = pad.format(normalize.transform(decode.img_decode(image)))
        assert np.allclose(unimernet_input(image, *size, *VALUES), expected, atol=2e-6)
    for image in formulas(15, grey=False):
        rgb = np.ascontiguousarray(image[..., ::-1])
        grey = cv2.cvtColor(decode.img_decode(rgb), cv2.COLOR_RGB2GRAY)
        expected = (grey / 255 - VALUES[0]) / VALUES[1]
        assert np.allclose(unimernet_input(image, *size, *VALUES)[0, 0], expected, atol=1e-5)


def test_can_inputs():
    kind = load("paddleocr", "tools/infer/predict_rec.py").TextRecognizer
    stage = SimpleNamespace(inverse=True, rec_image_shape=[3, 1, 1])
    for image in formulas(10, grey=False):
        expected = kind.norm_img_can(stage, image, None)
        assert np.array_equal(can_input(image)[0], expected)


PIECES = [
    *("a", "x", "1", " ", " ", "  ", "{", "}", "_", "^", "\\", "(", "中", '"', "é", "ﬁ", "&amp;"),
    *("\\frac ", "\\text {", "\\text{ ", "\\mathrm { a b }", "\\operatorname* { l i m }", "\\ "),
    *("\\mathrm{\\alpha b }", "\\mathbf {\\beta 1}", "\\text {中 文}", "\\mathrm {\\pi }", "\\,"),
]


def texts(count):
    random = np.random.RandomState(0)
    for _ in range(count):
        yield "".join(random.choice(PIECES, random.randint(1, 25)))


@pytest.mark.filterwarnings("ignore:invalid escape sequence")
def test_latex_of_latexocr():
    decode = load("paddleocr", POSTPROCESS).LaTeXOCRDecode
    for text in texts(600):
        assert latex_of_latexocr(text) == decode.post_process(None, text), text


def test_latex_of_unimernet():
    kind = by_paddlex("UniMERNetDecode")
    decode = kind.__new__(kind)
    changed = 0
    for text in texts(600):
        latex = latex_of_unimernet(text)
        assert latex == decode.post_process(text), text
        changed += " " in latex and latex != text
    assert changed > 100


@pytest.mark.parametrize("name", TOKENIZERS)
def test_tokens(name):
    module = load("paddleocr", POSTPROCESS)
    folder = Path(module.__file__).parents[1] / "utils"
    theirs = getattr(module, name)(str(folder / TOKENIZERS[name]))
    content = read_dictionary(SHIPPED / TOKENIZERS[name]).entry().tokenizer
    ours = TokenDecoder(json.loads(json.dumps(content)), name)
    newer = by_paddlex(name)
    size = theirs.tokenizer.get_vocab_size()
    random = np.random.RandomState(0)
    for length in range(1, 60):
        tokens = random.randint(0, size, length)
        tokens[random.uniform(size=length) < 0.1] = 2
        if length % 2:
            tokens[tokens == 2] = 5
        if name == "LaTeXOCRDecode":
            (expected,) = theirs(tokens)
        else:
            theirs.post_process = newer.post_process.__get__(newer.__new__(newer))
            (expected,) = theirs(tokens[None])
        assert ours(tokens) == expected


def test_upscaling():
    kind = load("paddleocr", "tools/infer/predict_sr.py").TextSR
    stage = SimpleNamespace(sr_image_shape=[3, 32, 128])
    given = []

    def network(batch):
        given.append(batch)
        return {"lr_img": batch, "sr_img": batch.repeat(2, 2).repeat(2, 3)}

    for image in formulas(10, grey=False):
        drawn = Upscaler(network)(image)
        expected = kind.resize_norm_img(stage, Image.fromarray(image[..., ::-1]))
        assert np.array_equal(given[-1][0], expected)
        picture = (given[-1][0] * 255).transpose(1, 2, 0).astype(np.uint8)[:, :, ::-1]
        assert np.array_equal(drawn, picture.repeat(2, 0).repeat(2, 1))
