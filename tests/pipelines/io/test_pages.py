"""Files, folders, patterns and PDFs to one page at a time."""

import os
import re
import tracemalloc
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from pipelines.io import pdf
from pipelines.io.files import DPI, Failure, Page, find_files, natural_order, read_pages
from pipelines.io.images import ImageError
from pipelines.io.pdf import open_pdf
from tests.support import pdf_files


def write_image(file, height=6, width=8, level=0):
    file.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(file), np.full((height, width, 3), level, np.uint8))
    return file


def names(found):
    files, failures = found
    assert failures == []
    return [file.name for file in files]


# Finding files.


def test_a_folder_stands_for_its_images_and_pdfs(tmp_path):
    for name in ("page10.png", "page2.JPG", "Page1.png", "b.pdf", "sub/c.png"):
        write_image(tmp_path / f"{name}.png").rename(tmp_path / name)
    for name in ("notes.txt", ".hidden.png", "page3.json"):
        (tmp_path / name).write_text("x")
    (tmp_path / "folder.png").mkdir()
    assert names(find_files([tmp_path])) == ["b.pdf", "Page1.png", "page2.JPG", "page10.png"]


def test_patterns(tmp_path, monkeypatch):
    for name in ("a1.png", "a10.png", "a2.png", "sub/a3.png", "sub/deep/a4.pdf", "a.txt"):
        write_image(tmp_path / f"{name}.png").rename(tmp_path / name)
    assert names(find_files([tmp_path / "a*"])) == ["a1.png", "a2.png", "a10.png"]
    assert names(find_files([f"{tmp_path}/sub/**"])) == ["a3.png", "a4.pdf"]
    monkeypatch.chdir(tmp_path)
    assert find_files(["**/*.png"])[0] == [Path(f"{n}.png") for n in ("a1", "a2", "a10", "sub/a3")]
    write_image(tmp_path / "[1].png")
    assert names(find_files(["[1].png"])) == ["[1].png"]  # a file, though it looks like a pattern


def test_each_file_comes_once_in_the_order_of_the_call(tmp_path):
    for name in "abc":
        write_image(tmp_path / f"{name}.png")
    assert names(find_files([tmp_path / "b.png", tmp_path])) == ["b.png", "a.png", "c.png"]
    assert names(find_files([tmp_path / "b.png"] * 2)) == ["b.png"]


def test_a_file_of_any_name(tmp_path):
    write_image(tmp_path / "a.png").rename(tmp_path / "scan")
    assert names(find_files([tmp_path / "scan"])) == ["scan"]


def test_sources_that_stand_for_nothing(tmp_path):
    (tmp_path / "empty").mkdir()
    os.mkfifo(tmp_path / "fifo")
    sources = [tmp_path / name for name in ("none.png", "empty", "*.png", "fifo", "x" * 300)]
    files, failures = find_files(sources)
    assert files == []
    assert [failure.source for failure in failures] == sources
    for failure, reason in zip(
        failures,
        ["there is no such file", "the folder holds no image and no PDF",
         "no image and no PDF matches", "neither a file nor a folder", ""],
        strict=True,
    ):  # fmt: skip
        assert failure.number is None
        assert str(failure.source) in failure.message
        assert reason in failure.message


def test_people_count():
    texts = ["1.png", "2.png", "10.png", "a.png", "a2b10.png", "A2b9.png", "a10.png", "2/1", "10/1"]
    ordered = sorted((Path(text) for text in texts), key=natural_order)
    assert [str(path) for path in ordered] == [
        "1.png", "2/1", "2.png", "10/1", "10.png", "a.png", "A2b9.png", "a2b10.png", "a10.png",
    ]  # fmt: skip


# RecognizedText.


def test_pages_come_in_order_and_failures_between_them(tmp_path):
    write_image(tmp_path / "1.png", level=50)
    (tmp_path / "2.png").write_text("no image")
    frames = [Image.fromarray(np.full((4, 5), level, np.uint8)) for level in (60, 70)]
    frames[0].save(tmp_path / "3.tiff", save_all=True, append_images=frames[1:])
    (tmp_path / "4.pdf").write_bytes(pdf_files.pages((72, 144), (36, 36)))
    (tmp_path / "5.pdf").write_bytes(b"")
    write_image(tmp_path / "6.png", level=80)
    found = list(read_pages(find_files([tmp_path])[0], dpi=100))
    assert [(page.source.name, page.number) for page in found] == [
        ("1.png", 1), ("2.png", None), ("3.tiff", 1), ("3.tiff", 2), ("4.pdf", 1), ("4.pdf", 2),
        ("5.pdf", None), ("6.png", 1),
    ]  # fmt: skip
    assert [isinstance(page, Failure) for page in found] == [False, True, *[False] * 4, True, False]
    assert [page.count for page in found if isinstance(page, Page)] == [1, 2, 2, 2, 2, 1]
    assert [found[place].image[0, 0, 0] for place in (0, 2, 3, 7)] == [50, 60, 70, 80]
    assert found[4].image.shape == (200, 100, 3)


def test_a_damaged_page_is_left_out(tmp_path):
    frames = [Image.fromarray(np.full((40, 50), level, np.uint8)) for level in (60, 70, 80)]
    file = tmp_path / "a.tiff"
    frames[0].save(file, save_all=True, append_images=frames[1:], compression="tiff_lzw")
    data = file.read_bytes()
    with Image.open(file) as image:
        image.seek(1)
        (start,), (length,) = image.tag_v2[273], image.tag_v2[279]
    file.write_bytes(data[:start] + b"\xff" * length + data[start + length :])
    found = list(read_pages([file]))
    assert [page.number for page in found] == [1, 2, 3]
    assert isinstance(found[1], Failure)
    assert found[1].message.startswith(f"{file}, page 2: cannot be decoded")
    assert found[2].image[0, 0].tolist() == [80, 80, 80]


@pytest.mark.parametrize("kind", ["png", "pdf", "tiff"])
def test_two_hundred_pages_take_the_memory_of_two(tmp_path, kind):
    side = 500
    if kind == "pdf":
        (tmp_path / "a.pdf").write_bytes(pdf_files.pages(*[(72, 72)] * 200))
    elif kind == "tiff":
        frames = [Image.new("L", (side, side), level) for level in range(200)]
        frames[0].save(tmp_path / "a.tiff", save_all=True, append_images=frames[1:],
                       compression="tiff_deflate")  # fmt: skip
    else:
        first = write_image(tmp_path / "0.png", side, side)
        for number in range(1, 200):
            os.link(first, tmp_path / f"{number}.png")
    files, _ = find_files([tmp_path])
    next(read_pages(files, dpi=side))  # what is imported for it stays
    pages, size = 0, side * side * 3
    tracemalloc.start()
    try:
        for page in read_pages(files, dpi=side):
            assert page.image.shape == (side, side, 3)
            pages += 1
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert pages == 200
    assert peak < 6 * size


# PDF.


def read_pdf(file, data, dpi=72, page=1):
    file.write_bytes(data)
    with open_pdf(file, dpi) as opened:
        return opened.read(page)


def test_a_pdf_page_is_drawn_at_the_resolution(tmp_path):
    data = pdf_files.pages((100, 50))
    image = read_pdf(tmp_path / "a.pdf", data)
    assert image.shape == (50, 100, 3)
    assert image.dtype == np.uint8
    assert image[5, 5].tolist() == [0, 0, 255]  # red, blue first
    assert image[40, 5].tolist() == [255, 255, 255]
    assert read_pdf(tmp_path / "a.pdf", data, dpi=144)[15, 15].tolist() == [0, 0, 255]
    assert DPI == 200


def test_a_turned_page(tmp_path):
    data = pdf_files.pages((100, 50)).replace(b"/Contents", b"/Rotate 90 /Contents")
    image = read_pdf(tmp_path / "a.pdf", data)
    assert image.shape == (100, 50, 3)
    assert image[5, 45].tolist() == [0, 0, 255]


@pytest.mark.parametrize("box", [(14400, 14400), (14400, 7200), (0.5, 14400)])
def test_huge_and_tiny_pages_are_drawn_with_a_limit(tmp_path, monkeypatch, box):
    monkeypatch.setattr(pdf, "MAX_PAGE_PIXELS", 250_000)
    height, width = read_pdf(tmp_path / "a.pdf", pdf_files.pages(box), dpi=300).shape[:2]
    assert 100_000 < height * width < 300_000
    assert width / height == pytest.approx(box[0] / box[1], abs=0.01)


def test_forms_are_drawn(tmp_path):
    """What was filled in is no part of the page's own content."""
    look = "0 0 1 rg 0 0 20 20 re f"
    data = pdf_files.pdf(
        "<< /Type /Catalog /Pages 2 0 R /AcroForm << /Fields [4 0 R] >> >>",
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 40 40] /Annots [4 0 R] >>",
        "<< /Type /Annot /Subtype /Widget /FT /Tx /T (a) /V (x) /Rect [0 0 20 20] /P 3 0 R "
        "/F 4 /AP << /N 5 0 R >> >>",
        "<< /Type /XObject /Subtype /Form /BBox [0 0 20 20] "
        f"/Length {len(look)} >>\nstream\n{look}\nendstream",
    )
    image = read_pdf(tmp_path / "a.pdf", data)
    assert image[30, 10, 0] > 200
    assert image[30, 10, 2] < image[5, 30, 2]


NO_PAGES = pdf_files.pdf(pdf_files.CATALOG, "<< /Type /Pages /Kids [] /Count 0 >>")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "the file is empty"),
        (b"no PDF", "not a PDF with at least one page"),
        (pdf_files.pages((9, 9))[:60], "not a PDF with at least one page"),
        (NO_PAGES, "not a PDF with at least one page"),
        (pdf_files.locked(), "protected by a password"),
    ],
)
def test_pdfs_that_cannot_be_read(tmp_path, data, reason):
    with pytest.raises(ImageError, match=rf"a\.pdf: .*{reason}"):
        read_pdf(tmp_path / "a.pdf", data)


def test_missing_pdfs(tmp_path):
    for file in (tmp_path / "none.pdf", tmp_path):
        with pytest.raises(ImageError, match="cannot be read"), open_pdf(file, 72):
            pass


def test_a_page_that_is_missing_from_a_pdf(tmp_path):
    data = pdf_files.pages((20, 20), (20, 20)).replace(b"5 0 R]", b"9 0 R]")
    (tmp_path / "a.pdf").write_bytes(data)
    found = list(read_pages([tmp_path / "a.pdf"]))
    assert isinstance(found[0], Page)
    assert [failure.number for failure in found[1:]] == [2]
    assert "a.pdf, page 2: cannot be rendered" in found[1].message


def test_pypdfium2_is_missing(tmp_path, monkeypatch):
    (tmp_path / "a.pdf").write_bytes(pdf_files.pages((20, 20)))
    write_image(tmp_path / "b.png")
    monkeypatch.setattr(pdf, "find_spec", lambda _: None)
    failure, page = read_pages([tmp_path / "a.pdf", tmp_path / "b.png"])
    assert "pip install paddleocr-to-torch[pdf]" in failure.message
    assert isinstance(page, Page)


# PDFs that do harm: the page is left out, and everything else is read.


def with_forms(depth, page=1, last="0 0 1 rg 0 0 1 1 re f"):
    """Return a PDF of two pages; on one, each of nested forms draws the next one twice."""
    objects = [
        pdf_files.CATALOG,
        "<< /Type /Pages /Kids [3 0 R 4 0 R] /Count 2 >>",
        *[
            "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 40 40] /Contents 5 0 R "
            f"/Resources << /XObject << /F {6 if number == page else 6 + depth} 0 R >> >> >>"
            for number in (1, 2)
        ],
        "<< /Length 5 >>\nstream\n/F Do\nendstream",
    ]
    for level in range(depth + 1):
        drawing = "/F Do /F Do" if level < depth else last
        objects.append(
            "<< /Type /XObject /Subtype /Form /BBox [0 0 40 40] "
            f"/Resources << /XObject << /F {7 + level} 0 R >> >> "
            f"/Length {len(drawing)} >>\nstream\n{drawing}\nendstream"
        )
    return pdf_files.pdf(*objects)


def test_forms_within_forms_are_drawn(tmp_path):
    image = read_pdf(tmp_path / "a.pdf", with_forms(3, last="0 0 1 rg 0 0 40 40 re f"))
    assert image[20, 20].tolist() == [255, 0, 0]


def read_around(tmp_path, data):
    """Read a file between two others, as a batch does."""
    write_image(tmp_path / "1.png", level=50)
    (tmp_path / "2.pdf").write_bytes(data)
    write_image(tmp_path / "3.png", level=80)
    first, *found, last = read_pages(find_files([tmp_path])[0])
    assert (first.image[0, 0, 0], last.image[0, 0, 0]) == (50, 80)
    return found


@pytest.mark.parametrize("page", [1, 2])
def test_a_page_that_draws_without_end(tmp_path, monkeypatch, page):
    """Forms that double 40 times, until the time or the memory is used up, or PDFium aborts."""
    monkeypatch.setattr(pdf, "MAX_SECONDS", 2)
    found = read_around(tmp_path, with_forms(40, page))
    failure, whole = found if page == 1 else reversed(found)
    assert failure.number == page
    message = rf"2\.pdf, page {page}: cannot be rendered, (it took more than 2 sec|PDFium stopped)"
    assert re.search(message, failure.message)
    assert whole.image.shape == (112, 112, 3)


def test_a_page_that_takes_too_much_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(pdf, "MAX_MEMORY", 40 << 20)
    monkeypatch.setattr(pdf, "MAX_PAGE_PIXELS", 10**9)
    failure, whole = read_around(tmp_path, pdf_files.pages((5000, 5000), (20, 20)))
    assert "2.pdf, page 1: cannot be rendered" in failure.message
    assert whole.image.shape == (56, 56, 3)


@pytest.mark.parametrize("reads", [0, 1])
def test_the_process_ends_by_a_signal(tmp_path, reads):
    """As when PDFium aborts: the page has failed, the next one is rendered by a new process."""
    (tmp_path / "a.pdf").write_bytes(pdf_files.pages((20, 20), (30, 30)))
    with open_pdf(tmp_path / "a.pdf", 72) as opened:
        for _ in range(reads):
            opened.read(1)
        opened._renderer._process.kill()
        with pytest.raises(ImageError, match=r"page 1: cannot be rendered, PDFium .*SIGKILL.*2 GB"):
            opened.read(1)
        assert opened.read(2).shape == (30, 30, 3)


def test_a_pdf_that_cannot_be_opened_in_time(tmp_path, monkeypatch):
    monkeypatch.setattr(pdf, "MAX_SECONDS", 0)
    (tmp_path / "a.pdf").write_bytes(pdf_files.pages((20, 20)))
    with (
        pytest.raises(ImageError, match=r"a\.pdf: the PDF cannot be opened, it took more than 0"),
        open_pdf(tmp_path / "a.pdf", 72),
    ):
        pass


def test_no_process_is_left(tmp_path):
    (tmp_path / "a.pdf").write_bytes(pdf_files.pages((20, 20), (30, 30)))
    pages = read_pages([tmp_path / "a.pdf"])
    next(pages)
    with open_pdf(tmp_path / "a.pdf", 72) as opened:
        process = opened._renderer._process
    assert process.returncode == 0
    pages.close()
