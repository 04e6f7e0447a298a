"""The engine in Docling (make test-plugins): whole conversions, with a layout network left out.

Docling downloads its layout network, so an engine of layout takes its place that finds no regions,
or those that a test names; all else is Docling's.
"""

from __future__ import annotations

import re
from typing import ClassVar

import numpy as np
import pytest
import torch

from pipelines import OCR, read_image
from tests.pipelines.plugins.test_ocrmypdf import scanned
from tests.support.paths import ROOT

pytestmark = pytest.mark.plugins


@pytest.fixture(scope="module")
def docling():
    """Docling, with an engine of layout that takes regions from its options."""
    declared = operators_of_torchvision()
    from docling.datamodel.base_models import BoundingBox, Cluster, LayoutPrediction
    from docling.datamodel.pipeline_options import BaseLayoutOptions
    from docling.models.base_layout_model import BaseLayoutModel
    from docling.models.factories import get_layout_factory
    from docling_core.types.doc import DocItemLabel

    class GivenOptions(BaseLayoutOptions):
        kind: ClassVar[str] = "given"
        regions: list[tuple[float, float, float, float]] = []

    class GivenLayout(BaseLayoutModel):
        def __init__(self, *, options, **_):
            self.options = options

        @classmethod
        def get_options_type(cls):
            return GivenOptions

        def predict_layout(self, conv_res, pages):  # noqa: ARG002
            clusters = [
                Cluster(
                    id=index, label=DocItemLabel.TEXT, bbox=BoundingBox.from_tuple(box, "TOPLEFT")
                )
                for index, box in enumerate(self.options.regions)
            ]
            return [LayoutPrediction(clusters=clusters) for _ in pages]

    get_layout_factory(allow_external_plugins=True).register(GivenLayout, "tests", "tests")
    yield GivenOptions
    del declared


def operators_of_torchvision():
    """Let PyPI's torchvision, which asks for CUDA, be imported with PyTorch's CPU build.

    Docling imports it for its networks of tables, which are not used here. The operators are
    declared as long as what is returned lives.
    """
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in ("nms", "qnms"):
        try:
            getattr(torch.ops.torchvision, name)
        except AttributeError:
            library.define(f"{name}(Tensor dets, Tensor scores, float threshold) -> Tensor")
    return library


@pytest.fixture
def convert(docling, weights):
    """Convert a file, with options of the engine."""
    from docling.datamodel.accelerator_options import AcceleratorOptions
    from docling.datamodel.base_models import InputFormat
    from docling.datamodel.pipeline_options import PdfPipelineOptions
    from docling.document_converter import DocumentConverter, ImageFormatOption, PdfFormatOption
    from docling.models.factories import get_ocr_factory

    def convert(file, regions=(), do_ocr=True, **options):
        factory = get_ocr_factory(allow_external_plugins=True)  # which finds the entry point
        options = {"mode": "full_page", **weights, **options}
        pipeline = PdfPipelineOptions(
            allow_external_plugins=True,
            do_ocr=do_ocr,
            do_table_structure=False,
            generate_parsed_pages=True,
            layout_options=docling(regions=list(regions)),
            ocr_options=factory.create_options("paddleocr_torch", **options),
            accelerator_options=AcceleratorOptions(device="cpu", num_threads=1),
        )
        formats = {
            InputFormat.PDF: PdfFormatOption(pipeline_options=pipeline),
            InputFormat.IMAGE: ImageFormatOption(pipeline_options=pipeline),
        }
        return DocumentConverter(format_options=formats).convert(file)

    return convert


def test_what_the_documentation_imports_exists(docling):  # noqa: ARG001
    text = (ROOT / "docs/plugins.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"^```py\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    compile(code, "plugins.md", "exec")
    exec("\n".join(line for line in code.splitlines() if line.startswith("from ")), {})


def box_of(cell):
    box = cell.rect.to_bounding_box()
    return box.l, box.t, box.r, box.b


def test_an_image_gives_the_lines_and_words_of_the_pipeline(convert, weights, page):
    result = convert(page, scale=1.0)
    lines = OCR(**weights, word_boxes="spaces")(page)
    (converted,) = result.pages
    parsed = converted.parsed_page
    assert [cell.text for cell in parsed.textline_cells] == [line.text for line in lines]
    assert len(lines) == 20
    for cell, line in zip(parsed.textline_cells, lines, strict=True):
        assert cell.from_ocr
        assert cell.confidence == pytest.approx(line.score)
        expected = (*line.box.min(0), *line.box.max(0))
        np.testing.assert_allclose(box_of(cell), expected, atol=1e-3)
        assert min(cell.rect.angle, 2 * np.pi - cell.rect.angle) < 0.2
    words = [word for line in lines for word in line.words]
    assert [cell.text for cell in parsed.word_cells] == [word.text for word in words]
    for cell, word in zip(parsed.word_cells, words, strict=True):
        np.testing.assert_allclose(box_of(cell), (*word.box.min(0), *word.box.max(0)), atol=1e-3)
        assert min(cell.rect.angle, 2 * np.pi - cell.rect.angle) < 0.2
    assert [cell.index for cell in parsed.word_cells] == list(range(len(words)))
    texts = {item.text for item in result.document.texts}
    assert texts == {line.text for line in lines}
    scores = [line.score for line in lines]
    assert result.confidence.pages[1].ocr_score == pytest.approx(np.mean(scores))


def test_a_scanned_pdf_becomes_markdown(convert, page, tmp_path):
    scan = scanned(tmp_path / "scan.pdf", read_image(page))
    result = convert(scan, lang=["iso:zh-Hans", "eng"])
    text = result.document.export_to_markdown()
    for line in ("河畔图书馆", "Riverside Library", "A7-B09-C64", "请从另一侧阅读此行"):
        assert line in text.split("\n\n")
    for cell in result.pages[0].parsed_page.word_cells:
        left, top, right, bottom = box_of(cell)
        assert -1 <= left < right <= 433
        assert -1 <= top < bottom <= 577


def test_regions_of_the_layout_are_read_alone_and_where_they_are(convert, page):
    whole = convert(page).pages[0].parsed_page.textline_cells
    (expected,) = [cell for cell in whole if cell.text == "Riverside Library"]
    left, top, right, bottom = box_of(expected)
    region = (left - 20, top - 20, right + 20, bottom + 20)
    part = convert(page, [region], mode="layout_regions").pages[0].parsed_page
    (found,) = part.textline_cells
    assert found.text == expected.text
    np.testing.assert_allclose(box_of(found), box_of(expected), atol=6)
    assert [cell.text for cell in part.word_cells] == ["Riverside", "Library"]


def test_words_of_a_line_that_runs_downwards_turn_with_it(convert, page, tmp_path):
    from PIL import Image

    column = np.full((700, 200, 3), 255, np.uint8)
    line = read_image(page)[80:140, 500:850]
    column[200 : 200 + line.shape[1], 60 : 60 + line.shape[0]] = np.rot90(line, -1)
    Image.fromarray(column).save(tmp_path / "column.png")
    parsed = convert(tmp_path / "column.png", scale=1.0).pages[0].parsed_page
    assert [cell.text for cell in parsed.word_cells] == ["Riverside", "Library"]
    for cell in (*parsed.textline_cells, *parsed.word_cells):
        assert cell.rect.angle == pytest.approx(1.5 * np.pi, abs=0.1)


def test_languages_are_those_of_the_dictionary(convert, page):
    from docling.exceptions import OcrLanguageNotSupportedError

    with pytest.raises(
        OcrLanguageNotSupportedError, match="no model for the OCR language 'iso:de"
    ) as caught:
        convert(page, lang=["iso:de"])
    assert "The dictionary of " in str(caught.value)
    assert "iso:zh" in str(caught.value)
    with pytest.raises(OcrLanguageNotSupportedError, match="OCR language 'jpn'"):
        convert(page, lang=["eng", "jpn"])


def test_weights_are_asked_for_and_checked(convert, weights, page, tmp_path):
    with pytest.raises(ValueError, match="det"):
        convert(page, det=None)
    with pytest.raises(ValueError, match=r"missing\.json.*no such file|missing\.pth|missing\.json"):
        convert(page, rec=tmp_path / "missing.pth")
    with pytest.raises(ValueError, match="is not a detector, its task is rec"):
        convert(page, det=weights["rec"])
    with pytest.raises(ValueError, match="min_score"):
        convert(page, min_score=2)


def test_without_ocr_no_weights_are_loaded(convert, page, tmp_path):
    result = convert(page, do_ocr=False, rec=tmp_path / "missing.pth")
    assert result.pages[0].parsed_page.textline_cells == []


def test_a_recogniser_that_locates_no_characters_gives_lines(convert, page, monkeypatch):
    from pipelines.recognition.predictor import Recognizer

    monkeypatch.setattr(Recognizer, "locates_characters", property(lambda _: False))
    parsed = convert(page).pages[0].parsed_page
    assert len(parsed.textline_cells) == 20
    assert parsed.word_cells == []
