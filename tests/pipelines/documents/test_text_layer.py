"""The text layer of PDFs: where its lines are, and when it is taken."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.documents.document import parse_pages
from pipelines.documents.networks import Networks
from pipelines.documents.parser import PageParser
from pipelines.documents.text_layer import lines_of_layer
from pipelines.io.files import open_document
from pipelines.layout.predictor import LayoutRegion
from pipelines.ocr import TextLine
from tests.support.drawn_pages import corners
from tests.support.written_pdf import SCAN, written

LINES = [(30, 350, "Tides of the sea"), (30, 330, "rise and fall"), (160, 350, "a column")]


class Reader:
    """Reads the same line on every page."""

    def __call__(self, _):
        return [TextLine(corners((10, 10, 90, 30)), "by OCR", 0.9)]

    @staticmethod
    def recognizer(images):
        return [TextLine(np.zeros((4, 2)), "anew", 0.9) for _ in images]


def layout(_):
    return [LayoutRegion("text", 0.9, corners((20, 20, 290, 200)))]


def texts(tmp_path, content, mode="auto"):
    file = tmp_path / "a.pdf"
    file.write_bytes(content)
    parser = PageParser(Networks(layout=layout, ocr=Reader()))
    with open_document(file, 72) as document:
        pages = [each.page for each in parse_pages(parser, document, "a.pdf", text=mode)]
    return [" ".join(block.text.split()) for page in pages for block in page.blocks]


def test_lines(tmp_path):
    (tmp_path / "a.pdf").write_bytes(written([LINES]))
    with open_document(tmp_path / "a.pdf", 144) as document:
        layer, image = document.text(1), document.read(1)
    assert layer.is_sound
    lines = lines_of_layer(layer, image.shape[:2])
    assert [line.text for line in lines] == [text for *_, text in LINES]
    for line, (x, y, _) in zip(lines, LINES, strict=True):
        left, top = line.box.min(0)
        right, bottom = line.box.max(0)
        assert left == pytest.approx(2 * x, abs=3)
        assert bottom == pytest.approx(2 * (400 - y), abs=8)
        inside = image[int(top) : int(bottom), int(left) : int(right)]
        assert inside.min() < 100  # the letters are there


def test_a_sound_layer_is_taken(tmp_path):
    assert texts(tmp_path, written([LINES])) == ["Tides of the sea a column rise and fall"]
    assert texts(tmp_path, written([LINES]), "ocr") == ["by OCR"]


@pytest.mark.parametrize(
    "content",
    [written([[]]), written([LINES], extra=SCAN), written([LINES], rotate=90)],
    ids=["empty", "scan", "rotated"],
)
def test_others_are_read(tmp_path, content):
    assert texts(tmp_path, content) == ["by OCR"]


def test_a_layer_may_be_forced(tmp_path):
    assert texts(tmp_path, written([LINES], extra=SCAN), "layer")[0].startswith("Tides")
    assert texts(tmp_path, written([[]]), "layer") == ["by OCR"]


def test_lines_of_a_layer_are_in_one_block_only(tmp_path):
    def two(_):
        boxes = [(20, 20, 290, 56), (20, 52, 290, 200)]
        return [LayoutRegion("text", 0.9, corners(box)) for box in boxes]

    file = tmp_path / "a.pdf"
    file.write_bytes(written([LINES]))
    parser = PageParser(Networks(layout=two))
    with open_document(file, 72) as document:
        (parsed,) = parse_pages(parser, document, "a.pdf")
    found = " ".join(block.text for block in parsed.page.blocks).split()
    assert sorted(found) == sorted(word for *_, text in LINES for word in text.split())


def test_a_page_that_the_file_lacks(tmp_path):
    from pipelines.io.images import ImageError

    (tmp_path / "a.pdf").write_bytes(written([LINES]))
    with open_document(tmp_path / "a.pdf", 72) as document, pytest.raises(ImageError, match="text"):
        document.text(2)
