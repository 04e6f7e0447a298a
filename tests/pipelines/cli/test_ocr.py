"""`python -m pipelines`, with a reader that needs no networks, and with small ones."""

import io
import json
import subprocess
import sys
import tracemalloc
from functools import partial
from importlib import metadata
from pathlib import Path

import cv2
import numpy as np
import pypdfium2
import pytest
from tqdm import tqdm

from pipelines.cli import ocr as command
from pipelines.cli import result_writer
from pipelines.io.images import read_image
from pipelines.ocr import TextLine
from pipelines.page_reading import OneByOne
from tests.conftest import Run
from tests.support import pdf_files
from tests.support.cli_runs import files, folder, run, write_page
from tests.support.pages import NAMES
from tests.support.paths import ROOT
from tests.support.small_weights import write_weights

__all__ = ["folder", "run"]  # fixtures

BOX = np.array([[1, 2], [31, 2], [31, 12], [1, 12]], np.float32)


class FakeOCR:
    """Reads the level of a page's first pixel, or gives or raises what `answers` has for it."""

    made = []
    answers = {}

    def __init__(self, *networks, **options):
        self.made.append((networks, options))

    def __call__(self, image):
        level = int(image[0, 0, 0])
        answer = self.answers.get(level, f"level {level}")
        if isinstance(answer, BaseException):
            raise answer
        return [TextLine(BOX, answer, 0.9)]

    def outcomes(self, images, *, pages):
        assert pages == 1
        return OneByOne(self).outcomes(images)


@pytest.fixture
def read(run, monkeypatch):
    """Read with a `FakeOCR`."""
    monkeypatch.setattr(command, "OCR", FakeOCR)
    monkeypatch.setattr(FakeOCR, "made", [])
    monkeypatch.setattr(FakeOCR, "answers", {})
    return lambda *words: run("ocr", *words, "--det", "det.pth", "--rec", "rec.pth")


# What is printed and written.


def test_text_is_printed_page_by_page(read, folder):
    done = read(folder)
    assert done == Run(0, "level 20\n\flevel 100\n\flevel 0\n\flevel 0\n", "")


def test_json_is_printed(read, folder):
    done = read(folder / "2.png", "--format", "json")
    assert json.loads(done.out)["pages"][0]["lines"][0]["text"] == "level 20"


@pytest.mark.parametrize("format", ["json", "txt", "tsv", "pdf"])
def test_a_file_per_input(read, folder, tmp_path, format):
    out = tmp_path / "deep" / "out"
    done = read(folder, "--out", out, "--format", format)
    assert done == Run(0, "", "")
    assert files(out) == [f"10.{format}", f"2.{format}", f"book.{format}"]
    content = (out / f"book.{format}").read_bytes()
    if format == "json":
        document = json.loads(content)
        assert [page["page"] for page in document["pages"]] == [1, 2]
        assert document["source"] == str(folder / "book.pdf")
        assert document["pages"][1]["height"] == 100  # at 200 pixels per inch
    elif format == "txt":
        assert content == b"level 0\n\flevel 0\n"
    elif format == "tsv":
        assert content.decode().splitlines()[2].split("\t")[:3] == ["2", "1", "1"]
    else:
        document = pypdfium2.PdfDocument(content)
        assert [page.get_size() for page in document] == [(72, 72), (72, 36)]
        assert document[1].get_textpage().get_text_range() == "level 0"


def test_the_resolution_of_pdfs(read, folder, tmp_path):
    read(folder / "book.pdf", "--out", tmp_path, "--format", "json", "--dpi", 300)
    assert json.loads((tmp_path / "book.json").read_text())["pages"][0]["width"] == 300


def test_pictures(read, folder, tmp_path):
    out = tmp_path / "out"
    assert read(folder, "--out", out, "--visualize").code == 0
    pictures = ["10.page1.jpg", "2.page1.jpg", "book.page1.jpg", "book.page2.jpg"]
    assert files(out) == sorted([*pictures, "10.txt", "2.txt", "book.txt"])
    picture = read_image(out / "2.page1.jpg")
    assert picture.shape[0] == 40
    assert picture.shape[1] > 2 * 60
    assert picture[35, 5].tolist() == pytest.approx([20, 20, 20], abs=6)


def test_missing_glyphs_are_told(read, folder, tmp_path, monkeypatch):
    monkeypatch.setattr("pipelines.io.fonts.FONTS", ())
    FakeOCR.answers[20] = "漢字"
    done = read(folder, "--out", tmp_path, "--visualize")
    assert done.code == 0
    assert "2 characters are in no font that was found (字漢): install" in done.err
    assert "fonts-noto-cjk" in done.err


def test_the_folder_of_the_inputs_may_be_the_one_of_the_results(read, folder):
    before = (folder / "book.pdf").read_bytes()
    assert read(folder, "--out", folder, "--format", "pdf").code == 0
    assert (folder / "book.pdf").read_bytes() == before
    assert files(folder) == ["10.pdf", "10.png", "2.pdf", "2.png", "book.pdf", "book.pdf.pdf"]


def test_options_reach_the_pipeline(read, folder):
    read(folder, "--cls", "cls.pth", "--doc", "doc.pth", "--half", "--compile", "--batch-size", "3",
         "--min-score", "0.25", "--words", "--tiles", "--limit-side-len", "1280",
         "--min-area", "9", "--mean", "[0.5, 0.5, 0.5]", "--right-to-left")  # fmt: skip
    (networks, options), = FakeOCR.made  # fmt: skip
    assert networks == (Path("det.pth"), Path("rec.pth"), Path("cls.pth"), Path("doc.pth"))
    assert options == {
        "min_score": 0.25, "device": "cpu", "half": True, "compile": True, "batch_size": 3,
        "word_boxes": True, "tiles": True, "rec_settings": {"right_to_left": True},
        "det_settings": {"limit_side_len": 1280, "min_area": 9, "mean": [0.5, 0.5, 0.5]},
    }  # fmt: skip


# What fails.


def test_the_rest_is_read_and_failures_are_listed(read, folder, tmp_path):
    (folder / "3.png").write_text("no image")
    (folder / "4.pdf").write_bytes(pdf_files.locked())
    write_page(folder / "5.png", 50)
    FakeOCR.answers[50] = RuntimeError("out of memory")
    done = read(folder, folder / "none.png", "--out", tmp_path / "out")
    assert (done.code, done.out) == (3, "")
    errors = done.err.splitlines()
    assert errors[0] == f"ocr: {folder}/none.png: there is no such file"
    assert errors[1].startswith(f"ocr: {folder}/3.png: not an image")
    assert errors[2].startswith(f"ocr: {folder}/4.pdf: the PDF is protected by a password")
    assert errors[3] == f"ocr: {folder}/5.png: out of memory"
    assert errors[4:] == ["ocr: 4 could not be read, as listed"]
    assert files(tmp_path / "out") == ["10.txt", "2.txt", "book.txt"]


def test_control_characters_in_names_are_escaped(read, tmp_path):
    """Names of images may come from strangers."""
    folder = tmp_path / "scans"
    folder.mkdir()
    (folder / "\x1b[2J\r.png").write_text("no image")
    done = read(folder, "--out", tmp_path / "out")
    assert done.code == 3
    assert done.err.startswith(rf"ocr: {folder}/\x1b[2J\r.png: not an image")


def test_a_page_that_fails_has_its_place(read, tmp_path):
    data = pdf_files.pages((20, 20), (20, 20)).replace(b"5 0 R]", b"9 0 R]")
    (tmp_path / "a.pdf").write_bytes(data)
    assert read(tmp_path / "a.pdf", "--out", tmp_path, "--format", "json").code == 3
    first, second = json.loads((tmp_path / "a.json").read_text())["pages"]
    assert first["lines"][0]["text"] == "level 0"
    assert (second["page"], list(second)) == (2, ["page", "error"])


def test_networks_that_do_not_fit_stop_the_run(read, folder):
    FakeOCR.answers[20] = ValueError("is this a DB detection network?")
    done = read(folder)
    assert done == Run(2, "", "ocr: is this a DB detection network?\n")


def test_nothing_to_read(read, tmp_path):
    done = read(tmp_path)
    assert done.code == 3
    assert "holds no image and no PDF" in done.err
    assert FakeOCR.made == []  # no network is loaded for it


def test_results_that_cannot_be_written(read, folder, tmp_path):
    (tmp_path / "file").write_text("")
    done = read(folder, "--out", tmp_path / "file")
    assert done.code == 2
    assert "cannot be created" in done.err
    (tmp_path / "out" / "2.txt").mkdir(parents=True)
    done = read(folder, "--out", tmp_path / "out")
    assert done.code == 2
    assert f"cannot write {tmp_path}/out/2.txt" in done.err
    assert files(tmp_path / "out") == ["2.txt"]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--format", "pdf"], "give the folder for them with --out"),
        (["--visualize"], "give the folder for them with --out"),
        (["--format", "docx"], "invalid choice"),
        (["--batch-size", "0"], "should be greater than 0"),
        (["--batch-size", "x"], "should be greater than 0"),
        (["--dpi", "nan"], "should be greater than 0"),
        (["--dpi", "inf"], "should be greater than 0"),
        (["--min-score", "1.5"], "should be from 0 to 1"),
        (["--min-score", "nan"], "should be from 0 to 1"),
        (["--out", "OUT", "--visualize", "--font", "none.ttf"], "cannot be used as a font"),
    ],
)
def test_usage(read, folder, tmp_path, arguments, reason):
    arguments = [str(tmp_path) if word == "OUT" else word for word in arguments]
    done = read(folder, *arguments)
    assert done.code == 2
    assert reason in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize("device", ["cuda:99", "meta", "nonsense"])
def test_devices(run, folder, device):
    done = run("ocr", folder, "--det", "x.pth", "--rec", "y.pth", "--device", device)
    assert done.code == 2
    assert f"the device {device} is not available: this PyTorch" in done.err


def test_the_pdf_extra_is_missing(read, folder, tmp_path, monkeypatch):
    monkeypatch.setattr(
        result_writer, "find_spec", lambda name: None if name == "bidi" else object()
    )
    done = read(folder, "--out", tmp_path, "--format", "pdf")
    assert done.code == 2
    assert "--format pdf needs bidi; pip install paddleocr-to-torch[pdf]" in done.err


def test_commands(run):
    assert run().code == 2
    done = run("nonsense")
    assert done.code == 2
    assert "invalid choice: 'nonsense'" in done.err
    done = run("--help")
    assert done.code == 0
    assert "ocr         read the text of images and PDFs" in done.out
    done = run("ocr", "--help")
    assert done.code == 0
    assert "exit codes: 0 all was read" in done.out


def test_interrupted(read, folder, tmp_path):
    FakeOCR.answers[100] = KeyboardInterrupt()
    done = read(folder, "--out", tmp_path / "out")
    assert done == Run(130, "", "ocr: interrupted; the files written so far are complete\n")
    assert files(tmp_path / "out") == ["2.txt"]


# Memory.


def test_two_hundred_pages_are_read_with_constant_memory(read, tmp_path):
    side = 500
    for number in range(200):
        write_page(tmp_path / "scans" / f"{number}.png", number)
    first = cv2.resize(read_image(tmp_path / "scans" / "0.png"), (side, side))
    cv2.imwrite(str(tmp_path / "0.png"), first)
    for file in (tmp_path / "scans").iterdir():
        file.unlink()
        file.hardlink_to(tmp_path / "0.png")
    read(tmp_path / "0.png", "--out", tmp_path / "out")  # what is imported stays
    tracemalloc.start()
    try:
        assert read(tmp_path / "scans", "--workers", 1, "--out", tmp_path / "out").code == 0
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(files(tmp_path / "out")) == 200
    assert peak < 6 * side * side * 3  # of 200 times that in all


# The progress bar.


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_the_bar_counts_pages(read, folder, monkeypatch, tmp_path):
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setattr("tqdm.tqdm", partial(tqdm, mininterval=0))
    assert read(folder, "--out", tmp_path).code == 0
    assert "10.png:  33%" in screen.getvalue()
    assert "book.pdf:  75%" in screen.getvalue()  # three of four pages, of three files
    assert "4/4" in screen.getvalue()


# The real thing, in a process of its own.


def test_weights(tmp_path, run, monkeypatch):
    monkeypatch.setattr("pipelines.runtime.has_bfloat16", lambda: False)
    write_weights(tmp_path / "rec.pth", {"dictionary": {"characters": NAMES}})
    page = write_page(tmp_path / "a.png", 255)
    rec = str(tmp_path / "rec.pth")
    none = str(tmp_path / "none.pth")
    done = run("ocr", str(page), "--det", none, "--rec", rec)
    assert done.code == 3
    assert "none.json is missing" in done.err
    done = run("ocr", str(page), "--det", rec, "--rec", rec)
    assert done.code == 2
    assert "ends in CTCHead; text is found with those of DBHead" in done.err
    done = run("ocr", str(page), "--det", rec, "--rec", rec, "--half")
    assert done.code == 2
    assert "half precision on cpu is bfloat16, which this processor" in done.err


def test_a_process_of_its_own():
    child = subprocess.run(
        [sys.executable, "-m", "pipelines", "ocr", "none.png", "--det", "x.pth", "--rec", "y.pth"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (child.returncode, child.stdout) == (3, "")
    assert "none.png: there is no such file" in child.stderr


def test_version(run):
    assert run("--version") == Run(0, f"{metadata.version('paddleocr-to-torch')}\n", "")


def test_the_version_of_a_checkout_that_is_not_installed(run, monkeypatch):
    monkeypatch.setattr("pipelines.cli.main.PACKAGE", "no-such-package")
    assert run("--version").out == "unknown (no-such-package is not installed)\n"


def test_log_messages_are_printed_with_verbose(tmp_path):
    write_weights(tmp_path / "rec.pth", {"dictionary": {"characters": NAMES}, "task": "rec"})
    page = write_page(tmp_path / "a.png", 255)
    module = [sys.executable, "-m", "pipelines", "recognize"]
    command = [*module, page, "--weights", tmp_path / "rec.pth"]
    for options, count in (((), 0), (("-v",), 1)):
        child = subprocess.run(
            [*command, *options], cwd=ROOT, capture_output=True, text=True, check=True
        )
        assert child.stderr.count("pipelines.runtime: loaded ") == count
