"""`python -m pipelines detect`, with a network that takes what is dark for text."""

import json

import cv2
import numpy as np
import pytest

from pipelines.io.images import read_image
from tests.support.cli_runs import files, folder, run, write_page
from tests.support.pages import NAMES
from tests.support.small_weights import write_weights

__all__ = ["folder", "run"]  # fixtures


class Dark:
    """A DB network; `card` is what its weights say."""

    def __init__(self, **pipeline):
        self.card = {"task": "det", "pipeline": pipeline}

    def __call__(self, batch):
        return (batch.mean(1, keepdims=True) < 0).astype(np.float32)


@pytest.fixture
def detect(run, monkeypatch):
    """Detect with a `Dark` network; `detect.loaded` holds what was asked for."""

    def as_network(weights, device, **options):
        detect.loaded.append((weights, device, options))
        return detect.network

    def detect(*words):
        return run("detect", *words, "--weights", "det.pth")

    detect.loaded, detect.network = [], Dark()
    monkeypatch.setattr("pipelines.predictor.as_network", as_network)
    return detect


@pytest.fixture
def page(tmp_path):
    """Two bars, the lower one to the left."""
    image = np.full((320, 480, 3), 255, np.uint8)
    image[40:71, 200:401] = 0
    image[200:231, 50:251] = 0
    cv2.imwrite(str(tmp_path / "page.png"), image)
    return tmp_path / "page.png"


def growth(width, height, ratio=1.5):
    return width * height * ratio / (2 * (width + height))


def test_corners_are_printed_in_the_order_of_reading(detect, page):
    done = detect(page)
    assert (done.code, done.err) == (0, "")
    corners = np.array([row.split(",") for row in done.out.splitlines()], float)
    d = growth(200, 30)
    upper = [200 - d, 40 - d, 400 + d, 40 - d, 400 + d, 70 + d, 200 - d, 70 + d]
    lower = [50 - d, 200 - d, 250 + d, 200 - d, 250 + d, 230 + d, 50 - d, 230 + d]
    np.testing.assert_allclose(corners, [upper, lower], atol=1)


def test_json(detect, page):
    detect.network = Dark(box_type="poly")
    (found,) = json.loads(detect(page, "--format", "json").out)["pages"]
    assert (found["page"], found["width"], found["height"]) == (1, 480, 320)
    assert [list(line) for line in found["lines"]] == [["box"], ["box"]]
    assert len(found["lines"][0]["box"]) > 4
    assert found["lines"][0]["box"][0][1] < 100  # the upper line comes first


def test_tsv(detect, page):
    head, upper, lower = detect(page, "--format", "tsv").out.splitlines()
    assert head == "page\tline\tleft\ttop\twidth\theight"
    assert upper.startswith("1\t1\t18")
    assert lower.startswith("1\t2\t3")


def test_a_page_without_text(detect, folder):
    (folder / "book.pdf").unlink()
    (folder / "2.png").unlink()
    write_page(folder / "10.png", 255)
    assert detect(folder).out == ""


def test_pictures(detect, page, tmp_path):
    out = tmp_path / "out"
    assert detect(page, "--out", out, "--visualize").code == 0
    assert files(out) == ["page.page1.jpg", "page.txt"]
    picture = read_image(out / "page.page1.jpg")
    assert picture.shape == (320, 480, 3)
    assert picture[55, 300].max() > 10  # the bar is tinted
    assert picture[150, 300].tolist() == pytest.approx([255] * 3, abs=3)


def test_options_reach_the_network(detect, page):
    detect(page, "--device", "cuda:1", "--half", "--compile")
    ((weights, device, options),) = detect.loaded
    assert (weights.name, device) == ("det.pth", "cuda:1")
    assert options == {"half": True, "compile": True}


def test_a_network_that_gives_something_else(detect, page):
    detect.network = lambda batch: {"f_score": batch[:, :1], "f_geo": batch}
    done = detect(page)
    assert done.code == 2
    assert "is this a detection network of DB?" in done.err


def test_settings_of_the_detector(detect, page):
    assert detect(page, "--thresh", "1").out == ""  # no probability is above 1
    assert len(detect(page, "--unclip-ratio", "0.1").out) > 0
    polygons = detect(page, "--box-type", "poly", "--format", "json")
    assert len(json.loads(polygons.out)["pages"][0]["lines"][0]["box"]) > 4
    # Half as large, so that corners are at even pixels.
    small = detect(page, "--limit-side-len", "240", "--limit-type", "max").out
    assert small != detect(page).out


def test_a_long_page(detect, tmp_path):
    image = np.full((6000, 300, 3), 255, np.uint8)
    for top in range(50, 6000, 100):
        image[top : top + 10, 50:251] = 0  # 1.6 pixels of the network's input
    cv2.imwrite(str(tmp_path / "long.png"), image)
    shrunk = detect(tmp_path / "long.png")
    assert shrunk.code == 0
    assert shrunk.err.startswith(f"detect: {tmp_path / 'long.png'}: the image of 300 x 6000 pixels")
    assert len(shrunk.out.splitlines()) < 60
    tiled = detect(tmp_path / "long.png", "--tiles")
    assert (len(tiled.out.splitlines()), tiled.err) == (60, "")


def test_a_network_whose_numbers_overflow(detect, page):
    detect.network = lambda batch: np.full_like(batch[:, :1], np.nan)
    done = detect(page)
    assert (done.code, done.out) == (2, "")
    assert "values that are not finite numbers" in done.err


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--thresh", "3"], "the setting thresh is 3, expected a number from 0 to 1"),
        (["--limit-type", "wide"], "the setting limit_type is 'wide', expected one of max, min"),
        (["--mean", "[1, 2]"], "the setting mean is [1, 2], expected three numbers"),
        (["--scale", "2"], "there is no setting scale of this detector"),
        (["--format", "pdf"], "invalid choice: 'pdf'"),
        (["--font", "a.ttf"], "unrecognized arguments: --font"),
        (["--visualize"], "give the folder for them with --out"),
    ],
)
def test_usage(detect, page, arguments, reason):
    done = detect(page, *arguments)
    assert done.code == 2
    assert reason in done.err


def test_weights(run, page, tmp_path):
    done = run("detect", page, "--weights", tmp_path / "none.pth")
    assert done.code == 3
    assert "none.json is missing" in done.err
    write_weights(tmp_path / "rec.pth", {"dictionary": {"characters": NAMES}, "task": "rec"})
    done = run("detect", page, "--weights", tmp_path / "rec.pth")
    assert done.code == 2
    assert "rec.pth is not a detector, its task is rec" in done.err
    done = run("detect", "none.png", page, "--weights", tmp_path / "rec.pth")
    assert done.code == 2
