"""The engine in OCRmyPDF (make test-plugins): searchable PDFs, orientation, skew, and errors."""

from __future__ import annotations

import subprocess
import sys
import unicodedata
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pypdfium2
import pytest

from pipelines import OCR, TextLine, Word, read_image

pytestmark = pytest.mark.plugins

DPI = 150
POINTS = 72 / DPI


def scanned(path: Path, *images: np.ndarray) -> Path:
    """Write images as the pages of a PDF, without text."""
    import img2pdf

    layout = img2pdf.get_fixed_dpi_layout_fun((DPI, DPI))
    pages = [cv2.imencode(".png", image)[1].tobytes() for image in images]
    path.write_bytes(img2pdf.convert(*pages, layout_fun=layout))
    return path


def given(weights, *names):
    return [part for name in names for part in (f"--paddleocr-torch-{name}", str(weights[name]))]


def ocrmypdf(*arguments: object) -> tuple[int, str]:
    """Run the program as users do; it finds the engine by its entry point."""
    command = [sys.executable, "-m", "ocrmypdf", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    return done.returncode, done.stderr


def words_of(pdf: Path) -> list[list[str]]:
    document = pypdfium2.PdfDocument(pdf)
    return [page.get_textpage().get_text_range().split() for page in document]


@pytest.fixture(scope="module")
def reading(weights, page, tmp_path_factory) -> tuple[Path, np.ndarray]:
    """A searchable PDF of the sample page, and the image of it that OCRmyPDF let read."""
    import ocrmypdf as program

    from pipelines.plugins import ocrmypdf as plugin

    folder, read = tmp_path_factory.mktemp("searchable"), []
    scan = scanned(folder / "scan.pdf", read_image(page))
    assert words_of(scan) == [[]]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plugin, "read", lambda file: read.append(read_image(file)) or read[-1])
        program.ocr(
            scan, folder / "read.pdf", language=["chi_sim", "eng"], sidecar=folder / "text.txt",
            output_type="pdf", use_threads=True, jobs=1, progress_bar=False,
            **{f"paddleocr_torch_{name}": path for name, path in weights.items()},
        )  # fmt: skip
    (image,) = read
    return folder / "read.pdf", image


@pytest.fixture(scope="module")
def searchable(reading) -> Path:
    return reading[0]


@pytest.fixture(scope="module")
def lines(reading, weights) -> list[TextLine]:
    return OCR(**weights, word_boxes="spaces")(reading[1])


def test_the_text_is_that_of_the_pipeline(searchable, lines):
    text = searchable.with_name("text.txt").read_text(encoding="utf-8")
    assert len(lines) == 20
    assert text.splitlines() == [line.text for line in lines]
    assert words_of(searchable) == [" ".join(line.text for line in lines).split()]
    creator = pypdfium2.PdfDocument(searchable).get_metadata_dict()["Creator"]
    assert "paddleocr-to-torch" in creator
    assert "ch_PP-OCRv4_rec" in creator


def test_each_word_is_where_it_is_read(searchable, lines):
    page = pypdfium2.PdfDocument(searchable)[0]
    text, (width, height) = page.get_textpage(), page.get_size()
    assert (width, height) == (900 * POINTS, 1200 * POINTS)
    for index in range(text.count_chars()):
        left, bottom, right, top = text.get_charbox(index)
        assert -0.01 <= left <= right <= width + 0.01
        assert -0.01 <= bottom <= top <= height + 0.01
    for line in lines:
        for word in line.words:
            (left, top), (right, bottom) = word.box.min(0) * POINTS, word.box.max(0) * POINTS
            box = (left - 1, height - bottom - 1, right + 1, height - top + 1)
            assert word.text in text.get_text_bounded(*box).replace(" ", "")


def test_pages_are_read_by_several_processes(weights, page, tmp_path):
    image = read_image(page)
    scan = scanned(tmp_path / "scan.pdf", image, image[:600], image[600:])
    options = [*given(weights, "det", "rec"), "--jobs", 2, "--output-type", "pdf"]
    code, said = ocrmypdf(*options, scan, tmp_path / "read.pdf")
    assert code == 0, said
    whole, top, bottom = words_of(tmp_path / "read.pdf")
    assert "Library" in whole
    assert "Library" in top
    assert "Library" not in bottom
    assert "A7-B09-C64" in bottom


@pytest.fixture
def engine(monkeypatch):
    """The engine with networks in place of weights."""
    from pipelines.plugins import ocrmypdf as plugin

    def engine(ocr):
        monkeypatch.setattr(plugin, "load", lambda _: ocr)
        return plugin.Engine()

    return engine


OPTIONS = SimpleNamespace(paddleocr_torch=None)


def image_file(path, image):
    cv2.imwrite(str(path), image)
    return path


def top_is_dark(batch):
    """Probabilities of 0, 90, 180 and 270 degrees: where the ink of a page is shows its top."""
    ink = 1 - (batch - batch.min()) / (batch.max() - batch.min())
    sides = [ink[..., :50, :], ink[..., -50:], ink[..., -50:, :], ink[..., :50]]
    best = np.argmax([side.mean() for side in sides])
    return np.eye(4, dtype=np.float32)[[best]] * 0.9 + 0.025


top_is_dark.card = {"labels": ["0", "90", "180", "270"], "input": {"height": 224, "width": 224},
                    "pipeline": {"resize_short": 256}}  # fmt: skip


@pytest.mark.parametrize("turns", range(4))
def test_turned_pages_are_put_upright(turns, weights, page, tmp_path, engine):
    """OCRmyPDF turns the page as the engine says, and the engine then sees it upright."""
    import ocrmypdf as program

    image = read_image(page)
    image[:400] //= 4  # the classifier's mark of the top
    ocr = OCR(weights["det"], weights["rec"], doc=top_is_dark)
    scan = scanned(tmp_path / "scan.pdf", np.ascontiguousarray(np.rot90(image, turns)))
    found = engine(ocr).get_orientation(
        image_file(tmp_path / "page.png", np.rot90(image, turns)), OPTIONS
    )
    assert found.angle == -90 * turns % 360
    assert found.confidence == pytest.approx(15, abs=0.01)
    options = {f"paddleocr_torch_{name}": weights[name] for name in ("det", "rec")}
    options |= {"paddleocr_torch_doc": weights["cls"]}  # of which only the path is looked at
    program.ocr(
        scan, tmp_path / "read.pdf", rotate_pages=True, use_threads=True, jobs=1,
        output_type="pdf", progress_bar=False, **options,
    )  # fmt: skip
    shown = pypdfium2.PdfDocument(tmp_path / "read.pdf")[0]
    assert shown.get_size() == (432, 576)
    top = shown.render(scale=1).to_numpy()[:60]
    assert top.mean() < 80


def test_without_a_classifier_the_orientation_is_unknown(weights, page, engine):
    assert engine(OCR(weights["det"], weights["rec"])).get_orientation(page, OPTIONS) == (0, 0)


@pytest.mark.parametrize("angle", [-4, 4])
def test_skewed_pages_are_straightened(angle, weights, page, tmp_path):
    image = read_image(page)
    height, width = image.shape[:2]
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), -angle, 1)
    skewed = cv2.warpAffine(image, turn, (width, height), borderValue=(255, 255, 255))
    scan = scanned(tmp_path / "scan.pdf", skewed)
    options = [*given(weights, "det", "rec"), "--deskew", "--output-type", "pdf"]
    code, said = ocrmypdf(*options, scan, tmp_path / "read.pdf")
    assert code == 0, said
    found = OCR(weights["det"], weights["rec"]).detector
    from pipelines.geometry import skew

    straightened = pypdfium2.PdfDocument(tmp_path / "read.pdf")[0].render(scale=1 / POINTS)
    assert abs(skew(found(skewed)) - angle) < 0.5
    assert abs(skew(found(np.ascontiguousarray(straightened.to_numpy())))) < 0.3


def slanted(angle, *, between=(0.0, 1.0)):
    """The corners of a line of 300 x 40 pixels around the middle of a page of 500 pixels."""
    across, up = np.deg2rad(angle), np.deg2rad(angle - 90)
    right, top = (np.array([np.cos(a), np.sin(a)]) for a in (across, up))
    start, end = (right * (part - 0.5) * 300 for part in between)
    corners = np.array([start + 20 * top, end + 20 * top, end - 20 * top, start - 20 * top])
    return (corners + 250).astype(np.float32)


@pytest.mark.parametrize("angle", [0, 5, -5, 88, -92, 180, 90, -90])
def test_text_follows_its_line(angle, tmp_path):
    from ocrmypdf.font import MultiFontManager
    from ocrmypdf.fpdf_renderer import Fpdf2PdfRenderer

    from pipelines.plugins.ocr_elements import page_element

    parts = {"Plain": (0, 0.45), "words": (0.55, 1)}
    words = [Word(slanted(angle, between=part), text, 1.0) for text, part in parts.items()]
    line = TextLine(slanted(angle), "Plain words", 1.0, words=tuple(words))
    element = page_element([line], 500, 500, dpi=72, number=0, right_to_left=False)
    Fpdf2PdfRenderer(element, 72, MultiFontManager()).render(tmp_path / "page.pdf")
    text = pypdfium2.PdfDocument(tmp_path / "page.pdf")[0].get_textpage()
    across = np.deg2rad(angle)
    right, down = (np.array([np.cos(a), np.sin(a)]) for a in (across, across + np.pi / 2))
    places = []
    for index in range(text.count_chars()):
        if not (character := text.get_text_range(index, 1)).isspace():
            x0, y0, x1, y1 = text.get_charbox(index)
            middle = np.array([(x0 + x1) / 2, 500 - (y0 + y1) / 2]) - 250
            places.append((float(middle @ right), character))
            assert abs(middle @ down) < 22
    assert "".join(character for _, character in sorted(places)) == "Plainwords"
    assert -150 <= min(places)[0] < -125
    assert 125 < max(places)[0] <= 150


def test_hocr_says_the_same(weights, page, tmp_path, engine):
    from ocrmypdf.hocrtransform import HocrParser

    ocr = OCR(**weights, word_boxes="spaces")
    engine = engine(ocr)
    tree, text = engine.generate_ocr(page, OPTIONS, 3)
    assert (tree.page_number, tree.bbox.right, tree.bbox.bottom) == (3, 900, 1200)
    assert text.splitlines() == [line.text for line in ocr(page)]
    engine.generate_hocr(page, tmp_path / "page.hocr", tmp_path / "page.txt", OPTIONS)
    assert (tmp_path / "page.txt").read_text(encoding="utf-8") == text
    parsed = HocrParser(tmp_path / "page.hocr").parse()
    expected = [unicodedata.normalize("NFKC", word.text) for word in tree.words]  # as it parses
    assert [word.text for word in parsed.words] == expected
    for one, other in zip(parsed.lines, tree.lines, strict=True):
        assert abs(one.bbox.left - other.bbox.left) < 1
        assert abs(one.bbox.bottom - other.bbox.bottom) < 1
        assert one.baseline.slope == pytest.approx(other.baseline.slope, abs=1e-4)
    confidences = [word.confidence for word in parsed.words]
    assert confidences == pytest.approx([word.confidence for word in tree.words], abs=0.01)


def test_without_words_the_line_is_one(weights, page, engine):
    tree, _ = engine(OCR(weights["det"], weights["rec"])).generate_ocr(page, OPTIONS)
    assert [word.text for word in tree.words] == [line.text for line in tree.lines]


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--paddleocr-torch-det", "{det}"], 1, "give --paddleocr-torch-rec too"),
        (["--paddleocr-torch-min-score", "0.1"], 1, "name them by --paddleocr-torch-det and"),
        (["--paddleocr-torch-det", "x.pth", "--paddleocr-torch-rec", "{rec}"], 1,
         "--paddleocr-torch-det: there is no file x.pth"),
        (["--paddleocr-torch-det", "{rec}", "--paddleocr-torch-rec", "{rec}"], 1,
         "ch_PP-OCRv4_rec.pth is not a detector, its task is rec"),
        (["--paddleocr-torch-det", "{det}", "--paddleocr-torch-rec", "{det}"], 1,
         "ch_PP-OCRv4_det.pth has no dictionary"),
        (["*", "-l", "deu"], 1, "cannot spell the language deu: its dictionary has no"),
        (["*", "--paddleocr-torch-device", "cuda:9"], 1, "the device cuda:9 is not available"),
        (["*", "--paddleocr-torch-threads", "0"], 1, "--paddleocr-torch-threads is 0: "),
        (["*", "--ocr-engine", "none"], 1, "--ocr-engine none does not take"),
        (["*", "--pdf-renderer", "sandwich"], 1, "--pdf-renderer sandwich needs an OCR engine"),
    ],
)  # fmt: skip
def test_wrong_options_are_one_clear_error(options, code, message, weights, page, tmp_path):
    both = given(weights, "det", "rec")
    paths = {name: str(path) for name, path in weights.items()}
    chosen = [part.format(**paths) for part in options if part != "*"]
    scan = scanned(tmp_path / "scan.pdf", read_image(page)[:150])
    arguments = [*(both if "*" in options else []), *chosen, "--output-type", "pdf"]
    found, said = ocrmypdf(*arguments, scan, tmp_path / "read.pdf")
    assert found == code
    assert message in " ".join(said.split())
    assert "Traceback" not in said
    assert not (tmp_path / "read.pdf").exists()


def test_letters_that_are_missing_and_pages_of_unknown_orientation_are_warned_of(
    weights, page, tmp_path
):
    scan = scanned(tmp_path / "scan.pdf", read_image(page)[:150])
    options = ["-l", "spa", "--rotate-pages", "--output-type", "pdf"]
    code, said = ocrmypdf(*given(weights, "det", "rec"), *options, scan, tmp_path / "read.pdf")
    assert code == 0, said
    said = " ".join(said.split())
    assert "has no ñ¡¿, which spa has" in said
    assert "--rotate-pages has no effect" in said


def test_without_weights_ocrmypdf_is_as_before(page, tmp_path, monkeypatch):
    scan = scanned(tmp_path / "scan.pdf", read_image(page)[:150])
    code, said = ocrmypdf("--ocr-engine", "none", scan, tmp_path / "copied.pdf")
    assert code == 0, said
    assert words_of(tmp_path / "copied.pdf") == [[]]
    monkeypatch.setenv("PATH", "")
    code, said = ocrmypdf(scan, tmp_path / "read.pdf")
    assert code == 3
    assert "there is no OCR engine: install Tesseract" in " ".join(said.split())
