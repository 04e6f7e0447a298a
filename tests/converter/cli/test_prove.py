"""Pages read with Paddle and with PyTorch: what counts as the same, what is said of what does not.

Two released models are converted and opened once, beside one Paddle process.
"""

from __future__ import annotations

import base64
import json
import math
import re
import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import jsonschema
import numpy as np
import pytest
import torch

import architectures
import pipelines
from converter.cli.main import main
from converter.end_to_end import pages, report, runtimes
from converter.end_to_end.compare import Limits, compare, corner_distance
from converter.end_to_end.drawing import LONGEST_SIDE, draw_difference
from converter.end_to_end.pages import PageResult, prove_pages
from converter.end_to_end.runtimes import Runtimes, open_runtimes
from converter.errors import ReferenceUnavailable, SourceError, UsageError
from pipelines import OCR, TextLine, read_image
from pipelines.io.files import Failure, Page
from tests.support.paths import ROOT

NAMES = {"det": "ch_PP-OCRv4_det", "rec": "ch_PP-OCRv4_rec"}
EVIL = "</script><img src=x onerror=alert(1)>|`{{ 7*7 }}"


# What counts as the same.


def line(text, top=0.0, left=0.0, score=0.9, width=100.0, height=20.0):
    right, bottom = left + width, top + height
    box = np.array([[left, top], [right, top], [right, bottom], [left, bottom]], np.float32)
    return TextLine(box, text, score)


def moved(found, x=0.0, y=0.0, **changed):
    return replace(found, box=found.box + np.array([x, y], np.float32), **changed)


LINES = [line("one", 0), line("two", 30), line("three", 60)]


def test_the_same():
    found = compare(LINES, [moved(each, 0.6, 0.79, score=0.9009) for each in LINES])
    assert found.faults == []
    assert found.distance == pytest.approx(0.992, abs=1e-3)
    assert found.score_difference == pytest.approx(9e-4)
    assert [pair.paddle.text for pair in found.lines] == ["one", "two", "three"]
    empty = compare([], [])
    assert (empty.faults, empty.distance, empty.score_difference) == ([], 0, 0)


@pytest.mark.parametrize(
    ("other", "fault"),
    [
        (moved(LINES[1], 0.8, 0.8), "line 2: corners 1.13 pixels apart"),
        (moved(LINES[1], text="tvo"), "line 2: 'two' in Paddle, 'tvo' in PyTorch"),
        (moved(LINES[1], score=0.902), "line 2: score 0.9000 in Paddle, 0.9020 in PyTorch"),
        (moved(LINES[1], score=math.nan), "line 2: score 0.9000 in Paddle, nan in PyTorch"),
        (moved(LINES[1], math.nan), "line 2: only Paddle has 'two', score 0.9000"),
        (moved(LINES[1], 300), "line 2: only Paddle has 'two', score 0.9000"),
        (replace(LINES[1], box=np.repeat(LINES[1].box, 2, axis=0)),
         "line 2: 4 corners in Paddle, 8 in PyTorch"),
    ],
)  # fmt: skip
def test_one_line_differs(other, fault):
    found = compare(LINES, [LINES[0], other, LINES[2]])
    assert found.faults[0] == fault
    assert {number for number, _, _ in found.differing} <= {2, 3}  # 3 where each is alone


def test_a_line_of_one_side_only_does_not_shift_the_others():
    for read, side in (((LINES, LINES[1:]), "Paddle"), ((LINES[1:], LINES), "PyTorch")):
        found = compare(*read)
        ((_, pair, fault),) = found.differing
        assert fault == f"only {side} has 'one', score 0.9000"
        assert pair.unpaired
        assert found.distance == 0
        assert len(found.lines) == 3
    assert len(compare(LINES, []).faults) == len(compare([], LINES).faults) == 3


def test_lines_upon_each_other_are_paired_with_the_nearest():
    paddle = [line("a", 0), line("b", 6)]
    other = [moved(paddle[0], 0, 0.5), moved(paddle[1], 0, -0.5)]
    assert compare(paddle, other).faults == []


def test_the_order_counts():
    found = compare(LINES, [LINES[1], LINES[0], LINES[2]])
    assert found.faults == ["the lines are read in another order"]


def test_corner_distance():
    box = LINES[0].box
    assert corner_distance(box, box + np.array([3, 4])) == 5
    assert corner_distance(box, np.roll(box, 1, axis=0)) == 100
    assert corner_distance(box, box[:3]) == math.inf


# Both sides on pages.


@pytest.fixture(scope="module")
def models(tmp_path_factory, real_models) -> dict[str, dict[str, Path]]:
    folder = tmp_path_factory.mktemp("models")
    weights = {task: folder / f"{name}.pth" for task, name in NAMES.items()}
    exports = {task: real_models / f"{name}_infer" for task, name in NAMES.items()}
    for task, name in NAMES.items():
        options = ["--paddle-dir", exports[task], "--out", weights[task], "--reference", "none"]
        assert main([name, *map(str, options)]) == 0
    return {"weights": weights, "exports": exports}


@pytest.fixture(scope="module")
def opened(models):
    with open_runtimes(**models, min_score=0) as opened:
        yield opened


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    """A few lines, blurred so that the recogniser is not all too sure."""
    page = read_image(Path(pipelines.__path__[0]) / "samples" / "page.png")[190:300, 440:760]
    return cv2.GaussianBlur(page, None, 4)


def proved(sides: Runtimes, image: np.ndarray) -> PageResult:
    (result,) = prove_pages(sides, [Page(Path("a.png"), 1, 1, image)], Limits())
    return result


def with_torch(opened: Runtimes, **changed: Any) -> Runtimes:
    """Return the sides with another network or setting in PyTorch."""
    ocr = opened.torch
    networks = {"det": ocr.detector.network, "rec": ocr.recognizer.network}
    return replace(opened, torch=OCR(**(networks | changed), min_score=0))


def edited(file: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> pipelines.Network:
    """Return the network of a weights file with other weights."""
    network = architectures.load(file)
    state = network.state_dict()
    change(state)
    network.load_state_dict(state)

    def run(batch: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return network(torch.from_numpy(batch)).numpy()

    run.card = network.card
    return run


def test_converted_models_read_as_paddle_does(opened, image):
    result = proved(opened, image)
    assert result.message == ""
    assert result.status == "passed"
    assert result.lines[0] == result.lines[1] >= 2
    assert result.distance <= 0.01
    assert result.score_difference < 1e-4
    assert (result.picture, result.edge, result.differing) == (b"", "", ())
    assert result.line.startswith(f"a.png: {result.lines[0]} lines, corners within 0.00 pixels")


def test_two_layers_swapped_in_the_detector(opened, image, models):
    def swap(state):
        first, second = (f"backbone.blocks6.{n}.pw_conv.reparam_conv.weight" for n in (1, 2))
        state[first], state[second] = state[second].clone(), state[first].clone()

    result = proved(with_torch(opened, det=edited(models["weights"]["det"], swap)), image)
    assert result.status == "failed"
    assert "pixels of the map are text on one side only" in result.edge
    assert cv2.imdecode(np.frombuffer(result.picture, np.uint8), 1).shape == image.shape


def test_a_bias_dropped_in_the_recogniser(opened, image, models):
    characters = opened.torch.recognizer.settings.characters
    place = 1 + characters.index(":")  # two of which the network is not sure

    def drop(state):
        state["head.ctc_head.fc.bias"][place] = 0

    result = proved(with_torch(opened, rec=edited(models["weights"]["rec"], drop)), image)
    assert result.status == "failed"
    assert (result.distance, result.edge) == (0, "")
    assert result.score_difference > 1e-3


def test_a_wrong_threshold_on_one_side(opened, image):
    result = proved(with_torch(opened, det_settings={"thresh": 0.6}), image)
    assert result.status == "failed"
    assert "no pixel" in result.edge  # of the same map, at the same threshold
    assert "the maps differ by at most" in result.edge
    smaller = with_torch(opened, det_settings={"limit_side_len": 160})
    assert "the maps are of different size" in proved(smaller, image).edge


def test_a_side_that_cannot_read_a_page(opened, image):
    def out_of_memory(_):
        raise RuntimeError("out of memory")

    result = proved(with_torch(opened, det=out_of_memory), image)
    assert (result.status, result.message, result.lines) == (
        "failed", "PyTorch: out of memory", None)  # fmt: skip
    refused = proved(
        replace(opened, paddle=raising(ReferenceUnavailable("Paddle cannot run"))), image
    )
    assert refused.message == "Paddle: Paddle cannot run"
    died = replace(opened, paddle=raising(ReferenceUnavailable("it ended")), session=Dead())
    with pytest.raises(ReferenceUnavailable, match="it ended"):
        proved(died, image)


class Dead:
    alive = False


def raising(error):
    def read(_):
        raise error

    return read


def test_the_paddle_process_takes_one_input_and_gives_one_output(opened):
    network = opened.paddle.detector.network
    assert network.card is opened.torch.detector.network.card
    assert network(np.zeros((1, 3, 32, 64), np.float32)).shape == (1, 1, 32, 64)


# The command.


@pytest.fixture
def prove(convert, monkeypatch, opened, tmp_path):
    """Run the command on pages, with the sides given in the place of those that it would open."""

    def prove(*options, by=opened):
        monkeypatch.setattr(runtimes, "open_runtimes", lambda *_, **__: nullcontext(by))
        done = convert("prove", "--det", "d", "--rec", "r", "--paddle-det", "D", "--paddle-rec",
                       "R", "--out", tmp_path / "out", *options)  # fmt: skip
        file = tmp_path / "out" / "prove.json"
        content = json.loads(file.read_text("utf-8")) if file.exists() else {}
        if content:
            schema = json.loads((report._FOLDER / "prove.schema.json").read_text("utf-8"))
            jsonschema.validate(content, schema, format_checker=jsonschema.FormatChecker())
        return done, content

    return prove


def test_all_pages_are_read_alike(prove, image, tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), image)
    cv2.imwrite(str(tmp_path / "blank.png"), np.full((40, 40, 3), 255, np.uint8))
    done, content = prove("--images", tmp_path / "a.png", tmp_path / "blank.png")
    assert done.code == 0, done
    first, second, *rest = done.out.splitlines()
    assert first.startswith(f"{tmp_path / 'a.png'}: ")
    assert second == f"{tmp_path / 'blank.png'}: no line on either side"
    assert rest == ["2 passed, 0 failed", str(tmp_path / "out" / "prove.html")]
    assert content["limits"] == {"pixels": 1, "score": 1e-3}
    assert content["models"]["det"]["weights"]["file"] == "ch_PP-OCRv4_det.pth"
    assert "inference.pdmodel" in content["models"]["rec"]["program"]
    assert content["versions"]["paddle"]
    markdown = (tmp_path / "out" / "prove.md").read_text("utf-8")
    assert "**2 passed**" in markdown
    assert "<img" not in (tmp_path / "out" / "prove.html").read_text("utf-8")


def test_what_cannot_be_read_is_listed_and_the_rest_is_done(prove, image, tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), image)
    (tmp_path / "b.png").write_bytes(b"no image")
    done, content = prove("--images", tmp_path, tmp_path / "none.png")
    assert done.code == 3
    assert "1 passed, 0 failed, 2 unreadable" in done.out
    assert f"{tmp_path / 'b.png'}: not an image" in done.err
    assert f"{tmp_path / 'none.png'}: there is no such file" in done.err
    assert [page["status"] for page in content["pages"]] == ["unreadable"] * 2 + ["passed"]


def test_a_page_that_differs(prove, opened, image, tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), image)
    (tmp_path / "b.png").write_bytes(b"no image")
    wrong = with_torch(opened, det_settings={"unclip_ratio": 3.0})
    done, content = prove("--images", tmp_path, by=wrong)
    assert done.code == 5
    assert "a.png: FAILED line 1: corners" in done.out
    assert "0 passed, 1 failed, 1 unreadable" in done.out
    page = content["pages"][0]
    assert page["differing"][0]["paddle"]["box"] != page["differing"][0]["torch"]["box"]
    text = (tmp_path / "out" / "prove.html").read_text("utf-8")
    (picture,) = re.findall(r'src="data:image/jpeg;base64,([A-Za-z0-9+/=]+)"', text)
    decoded = cv2.imdecode(np.frombuffer(base64.b64decode(picture), np.uint8), 1)
    assert cv2.absdiff(decoded, image).max() > 99  # boxes in colour
    markdown = (tmp_path / "out" / "prove.md").read_text("utf-8")
    assert "**1 failed, 1 unreadable** of 2 pages" in markdown


def test_pages_without_text_prove_nothing(prove, tmp_path):
    cv2.imwrite(str(tmp_path / "blank.png"), np.full((40, 40, 3), 255, np.uint8))
    done, _ = prove("--images", tmp_path / "blank.png")
    assert done.code == 2
    assert "give pages with something to find" in done.err


def test_without_paddle(convert, models, paddle_is, tmp_path):
    paddle_is("raise ImportError('no Paddle')")
    weights, exports = models["weights"], models["exports"]
    arguments = ["--det", weights["det"], "--rec", weights["rec"], "--images", tmp_path,
                 "--paddle-det", exports["det"], "--paddle-rec", exports["rec"]]  # fmt: skip
    done = convert("prove", *arguments)
    assert done.code == 6
    assert "Paddle cannot be imported (no Paddle)" in done.err


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--cls", "c"], 2, "--cls and --paddle-cls go together"),
        (["--limit-pixels", "0"], 2, "should be a number above 0, not 0"),
        (["--limit-score", "nan"], 2, "should be a number above 0, not nan"),
        ([], 3, "D does not exist"),
    ],
)
def test_options_that_do_not_fit(convert, options, code, said):
    base = ["--det", "d", "--rec", "r", "--paddle-det", "D", "--paddle-rec", "R", "--images", "i"]
    done = convert("prove", *base, *options)
    assert done.code == code
    assert said in done.err


def test_weights_and_programs_of_other_kinds(models, tmp_path, classifier):
    weights, exports = models["weights"], models["exports"]
    wrong = [
        (weights, exports | {"det": classifier}, SourceError, "holds no exported program"),
        (weights | {"rec": weights["det"]}, exports, UsageError, "not a recogniser"),
        (weights | {"rec": tmp_path / "no.pth"}, exports, SourceError, "no.json is missing"),
    ]
    for given, programs, error, said in wrong:
        with pytest.raises(error, match=said), open_runtimes(given, programs):
            pass


def test_the_converter_does_without_the_pipelines():
    program = (
        "import sys, converter.cli.main; from converter.cli import prove; "
        "prove.build_parser('prove'); "
        "sys.exit(any(m.split('.')[0] in ('pipelines', 'cv2') for m in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False).returncode == 0


# The report.


def test_a_strangers_text_is_shown_as_it_is(tmp_path):
    found = {"text": EVIL, "score": 0.5, "box": [[0, 0], [1, 0], [1, 1]]}
    results = [
        PageResult(EVIL, 2, 3, "failed", (9, 9), (1, 0), None, None,
                   ({"line": 1, "paddle": found, "torch": None, "fault": EVIL},), EVIL, EVIL),
        pages.unreadable(Failure(Path(EVIL), None, EVIL)),
    ]  # fmt: skip
    report.write_report(tmp_path, results, limits=Limits(), models={}, versions={EVIL: EVIL})
    text = (tmp_path / "prove.html").read_text("utf-8")
    assert text.count("<script") == 1
    assert "<img" not in text
    assert "not drawn" in text
    assert "alert(1)&gt;|`{{ 7*7 }}" in text
    assert re.findall(r"(?<!\\)<(?!br>)", (tmp_path / "prove.md").read_text("utf-8")) == []


def test_printed_lines_escape_control_characters():
    result = PageResult("a\x1b[2J\n.png", 1, 1, "failed", message="only Paddle has 'x'\rmore")
    assert result.line == r"a\x1b[2J\n.png: FAILED only Paddle has 'x', and 1 more"
    assert "\n" not in PageResult("a\nb", None, 1, "unreadable").line


def test_pictures_are_limited(monkeypatch, opened, image):
    wrong = with_torch(opened, det_settings={"unclip_ratio": 3.0})
    two = [Page(Path("a.png"), 1, 1, image), Page(Path("b.png"), 1, 1, image)]
    monkeypatch.setattr(pages, "MOST_DRAWN", 1)
    first, second = prove_pages(wrong, two, Limits())
    assert first.picture
    assert not second.picture
    assert first.differing == second.differing != ()
    large = np.full((100, 2 * LONGEST_SIDE, 3), 255, np.uint8)
    drawn = draw_difference(large, compare([line("a", 10, -5)], []))
    decoded = cv2.imdecode(np.frombuffer(drawn, np.uint8), 1)
    assert decoded.shape == (50, LONGEST_SIDE, 3)
    assert (decoded < 200).any()
