"""The pipeline end to end, with networks that see black ink, and with small converted weights."""

import importlib.util
import io
import json
import logging
import subprocess
import sys
from contextlib import nullcontext
from itertools import chain
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

import architectures
import pipelines
from converter.end_to_end.runtimes import Runtimes
from pipelines import OCR, TextLine, read_image
from pipelines import geometry as cropping
from pipelines.recognition.predictor import Recognizer
from tests.support.pages import NAMES, bar_page, find_bars, name_colour
from tests.support.paths import ROOT
from tests.support.small_networks import CRNN
from tests.support.small_weights import write_weights

SAMPLES = Path(pipelines.__path__[0]) / "samples"


def read_bars(**options):
    return OCR(find_bars, name_colour, characters=NAMES, **options)


def test_a_page_is_read_in_order():
    lines = read_bars()(bar_page())
    assert [line.text for line in lines] == ["green", "red", "blue"]
    assert [line.score for line in lines] == [pytest.approx(0.8)] * 3
    assert all(isinstance(line, TextLine) for line in lines)
    assert lines[0].box.shape == (4, 2)
    assert lines[0].box.dtype == np.float32
    # The detector's growth, 1.5 * 200 * 30 / 460, beyond the bar at 50, 55.
    np.testing.assert_allclose(lines[0].box[[0, 2]], [[30, 35], [270, 105]], atol=5)


class Batches:
    """Names colours, and keeps the widths of the batches; fails for batches of more than `most`."""

    def __init__(self, most=100):
        self.widths, self.most = [], most

    def __call__(self, batch):
        if len(batch) > self.most:
            raise RuntimeError("out of memory")
        self.widths.append((len(batch), batch.shape[3]))
        return name_colour(batch)


def texts(pages):
    return [[line.text for line in page] for page in pages]


def test_lines_of_many_pages_share_batches():
    pages = [bar_page(), bar_page()[:150], bar_page()[150:], np.full((64, 64, 3), 255, np.uint8)]
    alone, together, exact = Batches(), Batches(), Batches()
    expected = [OCR(find_bars, alone, characters=NAMES)(page) for page in pages]
    assert texts(expected) == [["green", "red", "blue"], ["green", "red"], ["blue"], []]
    taken = []
    read = OCR(find_bars, together, characters=NAMES).read_many(
        (taken.append(None) or page for page in pages), pages=2
    )
    first = next(read)
    assert len(taken) == 2  # no page is taken before it is needed
    found = [first, *read]
    assert texts(found) == texts(expected)
    for one, other in zip(chain(*found), chain(*expected), strict=True):
        np.testing.assert_array_equal(one.box, other.box)
    assert sum(count for count, _ in together.widths) == 6
    assert len(together.widths) < len(alone.widths) == 3
    assert texts(OCR(find_bars, exact, characters=NAMES).read_many(pages, pages=1)) == texts(found)
    assert exact.widths == alone.widths
    with pytest.raises(ValueError, match="pages is 0"):
        next(read_bars().read_many(pages, pages=0))


def test_of_many_pages_some_fail():
    pages = [bar_page(), np.zeros((0, 5, 3), np.uint8), bar_page()[150:]]
    small = OCR(find_bars, Batches(most=1), characters=NAMES)  # reads pages of one line
    crowded, no_image, read = small.outcomes(pages)
    assert str(crowded) == "out of memory"
    assert isinstance(no_image, pipelines.ImageError)
    assert texts([read]) == [["blue"]]
    results = read_bars().read_many(pages, pages=1)
    assert len(next(results)) == 3
    with pytest.raises(pipelines.ImageError, match="at least one pixel"):
        next(results)


def test_the_boxes_fit_the_page_at_another_resolution():
    page = bar_page()
    large = np.repeat(np.repeat(page, 4, axis=0), 4, axis=1)
    small_lines, large_lines = (
        sorted(read_bars()(image), key=lambda line: line.text) for image in (page, large)
    )
    for small_line, large_line in zip(small_lines, large_lines, strict=True):
        assert small_line.text == large_line.text
        np.testing.assert_allclose(large_line.box, small_line.box * 4, atol=12)


def test_grey_and_transparent_pages():
    page = bar_page()
    opaque = np.dstack([page, np.full(page.shape[:2], 255, np.uint8)])
    assert [line.text for line in read_bars()(opaque)] == ["green", "red", "blue"]
    assert len(read_bars()(page[..., 1])) == 2  # to the green channel, the green bar is pale


def test_paths_and_pillow_images(tmp_path):
    page = bar_page()
    cv2.imwrite(str(tmp_path / "page.png"), page)
    expected = ["green", "red", "blue"]
    for image in (tmp_path / "page.png", str(tmp_path / "page.png"),
                  Image.fromarray(page[..., ::-1])):  # fmt: skip
        assert [line.text for line in read_bars()(image)] == expected
        assert read_bars().probability_map(image).shape == (384, 608)


@pytest.mark.parametrize(("batch", "sizes"), [(1, [1, 1, 1]), (2, [2, 1]), (6, [3])])
def test_lines_are_read_in_batches(batch, sizes):
    seen = {"rec": [], "cls": []}

    def recogniser(images):
        seen["rec"].append(len(images))
        return name_colour(images)

    def classifier(images):
        seen["cls"].append(len(images))
        return np.tile(np.array([[1.0, 0.0]], np.float32), (len(images), 1))

    lines = OCR(find_bars, recogniser, classifier, characters=NAMES, batch_size=batch)(bar_page())
    assert [line.text for line in lines] == ["green", "red", "blue"]
    assert seen == {"rec": sizes, "cls": sizes}


def test_options_that_do_not_fit():
    with pytest.raises(ValueError, match="batch_size is 0, expected a whole number above 0"):
        read_bars(batch_size=0)
    with pytest.raises(ValueError, match="there is no setting thresh of a recogniser"):
        read_bars(rec_settings={"thresh": 3})


def test_words_of_a_recogniser_that_spells_lines_out():
    with pytest.raises(ValueError, match="word_boxes=True needs a recogniser of CTC"):
        read_bars(word_boxes=True, rec_settings={"decoder": "SARLabelDecode"})


def test_lines_of_low_score_are_left_out():
    assert len(read_bars(min_score=0.79)(bar_page())) == 3
    assert read_bars(min_score=0.81)(bar_page()) == []


def test_an_empty_page_has_no_lines():
    assert read_bars()(np.full((100, 100, 3), 255, np.uint8)) == []
    assert read_bars()(np.full((1, 1, 3), 255, np.uint8)) == []


def test_upside_down_lines_are_turned_before_they_are_read():
    seen = []

    def recogniser(batch):
        seen.extend(batch)
        return name_colour(batch)

    def always_down(batch):
        return np.tile(np.array([[0.0, 1.0]], np.float32), (len(batch), 1))

    page = bar_page()[150:]
    OCR(find_bars, recogniser, characters=NAMES)(page)
    OCR(find_bars, recogniser, always_down, characters=NAMES)(page)
    upright, turned = (line[:, :, : np.flatnonzero(line.any((0, 1))).max() + 1] for line in seen)
    np.testing.assert_allclose(turned, upright[:, ::-1, ::-1], atol=0.02)
    assert np.abs(turned - upright).max() > 0.5


def turning(angle):
    """A classifier of pages that gives every image this angle."""

    def network(batch):
        assert batch.shape == (1, 3, 224, 224)
        return np.eye(4, dtype=np.float32)[[angle // 90]]

    network.card = {"labels": ["0", "90", "180", "270"], "input": {"height": 224, "width": 224},
                    "pipeline": {"resize_short": 256}}  # fmt: skip
    return network


@pytest.mark.parametrize("angle", [0, 90, 180, 270])
def test_a_turned_page_is_read_upright(angle):
    page = bar_page()
    given = np.ascontiguousarray(np.rot90(page, -(angle // 90)))
    lines = read_bars(doc=turning(angle), word_boxes=True)(given)
    assert [line.text for line in lines] == ["green", "red", "blue"]
    for line in lines:
        assert line.box.dtype == np.float32
        # What lies within the box is the colour that was read, its dark end where the text ends.
        straight = cropping.crop(given, line.box)
        height, width = straight.shape[:2]
        start, end = straight[height // 2, width // 4], straight[height // 2, width * 5 // 6]
        assert NAMES[int(start.argmax())] == line.text
        assert 2 * int(end.max()) == int(start.max())
        # The network has its one character in the first of its columns.
        (word,) = line.words
        np.testing.assert_array_equal(word.box[[0, 3]], line.box[[0, 3]])
        assert np.linalg.norm(word.box[1] - word.box[0]) < 20


def test_words_and_scores_of_characters():
    (line,) = read_bars(word_boxes=True)(bar_page()[150:])
    assert line.character_scores == (pytest.approx(0.8),)
    (word,) = line.words
    assert (word.text, word.score) == ("blue", pytest.approx(0.8))
    assert word.box.shape == (4, 2)
    assert read_bars()(bar_page())[0].words == ()
    (line,) = read_bars(word_boxes="spaces")(bar_page()[150:])
    assert [word.text for word in line.words] == ["blue"]
    with pytest.raises(ValueError, match="word_boxes is 'lines', expected True, False or"):
        read_bars(word_boxes="lines")


def test_words_of_a_line_upside_down():
    def always_down(batch):
        return np.tile(np.array([[0.0, 1.0]], np.float32), (len(batch), 1))

    page = bar_page()[150:]
    (upright,) = read_bars(word_boxes=True)(page)
    (turned,) = read_bars(cls=always_down, word_boxes=True)(page)
    middle = (upright.words[0].box + turned.words[0].box).mean(0) / 2
    np.testing.assert_allclose(middle, upright.box.mean(0), atol=0.01)
    assert turned.words[0].box[0, 0] > upright.words[0].box[0, 0]


def test_classifiers_in_each_others_place():
    with pytest.raises(
        ValueError, match=r"cls= rotates lines .* 0, 180 degrees, .* meant for doc="
    ):
        read_bars(cls=turning(0))
    with pytest.raises(
        ValueError, match=r"doc= rotates pages .* 0, 90, 180, 270 degrees, .* has 0, 180"
    ):
        read_bars(doc=find_bars)


def test_probability_map():
    heat = read_bars().probability_map(bar_page())
    assert heat.shape == (384, 608)
    assert heat.dtype == np.float32
    assert heat[:40].max() == 0
    assert heat.mean() == pytest.approx(3 * 30 * 200 / (400 * 600), rel=0.1)


def test_not_an_image():
    with pytest.raises(pipelines.ImageError, match="float32"):
        read_bars()(np.zeros((10, 10, 3), np.float32))
    with pytest.raises(pipelines.ImageError, match="float32"):
        read_bars().probability_map(np.zeros((10, 10, 3), np.float32))


def test_a_callable_needs_an_alphabet():
    with pytest.raises(ValueError, match="give characters="):
        OCR(find_bars, name_colour)


# Converted weights


def test_the_alphabet_comes_with_the_weights(tmp_path):
    write_weights(tmp_path / "rec.pth", {"dictionary": {"characters": NAMES}})
    assert OCR(find_bars, str(tmp_path / "rec.pth")).recognizer.settings.characters == tuple(NAMES)
    given = OCR(find_bars, tmp_path / "rec.pth", characters="xyz")
    assert given.recognizer.settings.characters == "xyz"


def test_lines_have_the_height_that_the_weights_ask_for(tmp_path):
    write_weights(tmp_path / "rec.pth", {"dictionary": {"characters": NAMES}})
    ocr = OCR(find_bars, tmp_path / "rec.pth", min_score=0)
    assert ocr.recognizer.settings.height == 32
    assert len(ocr(bar_page())) > 0  # at another height this network fails


@pytest.mark.parametrize("dictionary", [{}, {"dictionary": None}, {"dictionary": {}}])
def test_weights_without_an_alphabet(tmp_path, dictionary):
    write_weights(tmp_path / "rec.pth", dictionary)
    with pytest.raises(ValueError, match=r"`python -m converter add-dict rec.pth DICT.txt` adds"):
        OCR(find_bars, tmp_path / "rec.pth")


def test_neither_paddle_nor_the_converter_is_imported():
    program = (
        "import sys, pipelines.io.drawing; "
        "sys.exit(any(m.split('.')[0] in ('paddle', 'converter') for m in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False).returncode == 0


# Samples and the demonstration


def test_samples_are_small_images():
    assert read_image(SAMPLES / "page.png").shape == (1200, 900, 3)
    lines = sorted(SAMPLES.glob("line_*.png"))
    assert len(lines) == 3
    for path in lines:
        assert read_image(path).shape[0] == 48
    assert sum(path.stat().st_size for path in SAMPLES.iterdir()) < 300_000
    assert "Open Font License" in (SAMPLES / "SOURCE.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def demo():
    spec = importlib.util.spec_from_file_location("demo", ROOT / "scripts" / "demo.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def line(text, score=0.9, shift=0.0):
    return TextLine(np.full((4, 2), shift, np.float32), text, score)


@pytest.mark.parametrize(
    ("text", "fitted"),
    [
        ("abc", "abc   "),
        ("abcdef", "abcdef"),
        ("abcdefg", "abcde…"),
        ("图书", "图书  "),
        ("图书馆", "图书馆"),
        ("图书馆a", "图书… "),
        ("e\u0301", "e\u0301     "),
        ("", "      "),
    ],
)
def test_texts_fill_their_column(demo, text, fitted):
    assert demo.fit(text, 6) == fitted


def test_the_table_of_equal_readings(demo):
    rows = demo.table([line("图书" * 20), line("b")], [line("图书" * 20, 0.8, 3), line("b")])
    assert max(demo.width(row) for row in rows) <= 100
    assert rows[2].endswith("4.2")  # 3 pixels in x and in y
    assert rows[-1] == (
        "2 lines. The texts are identical; boxes differ by at most 4.2 px, scores by at most 0.1."
    )


def test_the_table_of_different_readings(demo):
    rows = demo.table([line("a"), line("b" * 50 + "c")], [line("a"), line("b" * 50 + "d")])
    assert rows[-1].endswith("The texts DIFFER, as shown above.")
    assert any(row.endswith("b" * 50 + "d") for row in rows)
    assert "1 and 0 lines" in demo.table([line("a")], [])[-1]
    assert "0 and 1 lines" in demo.table([], [line("a")])[-1]
    assert demo.table([], [])[-1].startswith("0 lines. The texts are identical")


def test_small_differences_show_beside_large_ones(demo):
    shown = demo.logarithmic(np.array([[1e-3, 1e-4, 1e-8, 1e-9, 0]]), 5)
    np.testing.assert_allclose(shown, [[1, 0.8, 0, 0, 0]], atol=1e-9)
    assert demo.logarithmic(np.zeros((2, 2))).max() == 0


def test_the_demonstration_compares_and_draws(demo, tmp_path, monkeypatch):
    page = bar_page()
    other = OCR(find_bars, lambda batch: name_colour(batch)[..., [0, 2, 1, 3]], characters=NAMES)
    for paddle, code in ((read_bars(), 0), (other, 5)):
        sides = nullcontext(Runtimes(paddle, read_bars()))
        monkeypatch.setattr(demo, "open_runtimes", lambda *_, sides=sides: sides)
        assert demo.compare(page, {}, tmp_path) == code
        boxes = read_image(tmp_path / "page_boxes.png")
        heat = read_image(tmp_path / "heat_map.png")
        assert boxes.shape[0] > page.shape[0]
        assert heat.shape[1] > 3 * 640


def test_the_demonstration_stops_with_the_code_of_the_converter(demo, tmp_path, monkeypatch):
    monkeypatch.setattr(demo, "find_models", lambda: dict.fromkeys(demo.SOURCES, tmp_path))
    monkeypatch.setattr(demo, "convert", lambda name, *_: 4 if name == "ch_PP-OCRv4_rec" else 0)
    assert demo.main(["--out", str(tmp_path / "out")]) == 4
    assert demo.main(["--out", str(tmp_path), "--page", str(tmp_path / "none.png")]) == 2


def test_the_demonstration_names_a_missing_package(demo, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(demo, "PACKAGE", "no_such_package")
    assert demo.main(["--out", str(tmp_path)]) == 3
    assert "pip install" in capsys.readouterr().err


def test_settings_of_the_detector_can_be_overruled():
    assert read_bars(det_settings={"box_thresh": 1.0, "thresh": 0.9})(bar_page()) != []
    assert read_bars(det_settings={"limit_side_len": 32})(bar_page()) == []
    with pytest.raises(ValueError, match="no setting width of this detector"):
        read_bars(det_settings={"width": 3})


def test_a_detector_of_curved_lines():
    lines = read_bars(det_settings={"box_type": "poly"})(bar_page())
    assert [line.text for line in lines] == ["red", "green", "blue"]  # by their highest corners
    assert min(len(line.box) for line in lines) > 4


# Images and networks of other forms


def test_images_of_every_form():
    page = bar_page()
    content = cv2.imencode(".png", page)[1].tobytes()
    for image in (content, io.BytesIO(content), torch.from_numpy(page)):
        assert [line.text for line in read_bars()(image)] == ["green", "red", "blue"]
        assert read_bars().probability_map(image).shape == (384, 608)
        assert len(read_bars().detector(image)) == 3
        (text,) = Recognizer(name_colour, NAMES)([image])
        assert text.score == pytest.approx(0.8)


def test_a_list_of_images_gives_a_list_of_results(tmp_path):
    page = bar_page()
    cv2.imwrite(str(tmp_path / "page.png"), page)
    empty = np.full((100, 100, 3), 255, np.uint8)
    for images in ([page, empty, tmp_path / "page.png"], (page, empty, str(tmp_path / "page.png"))):
        results = read_bars()(images)
        assert isinstance(results, list)
        texts = [[line.text for line in lines] for lines in results]
        assert texts == [["green", "red", "blue"], [], ["green", "red", "blue"]]
    assert read_bars()([]) == []
    with pytest.raises(pipelines.ImageError):
        read_bars()([page, None])


def test_lines_as_json():
    line = read_bars(word_boxes=True)(bar_page()[150:])[0]
    entry = json.loads(json.dumps(line.to_dict(), allow_nan=False))
    assert list(entry) == ["text", "score", "box", "character_scores", "words"]
    assert entry["text"] == "blue"
    assert entry["score"] == entry["character_scores"][0] == pytest.approx(0.8)
    np.testing.assert_array_equal(np.array(entry["box"], np.float32), line.box)
    (word,) = entry["words"]
    assert (word["text"], word["score"]) == ("blue", entry["score"])
    assert np.shape(word["box"]) == (4, 2)
    line = TextLine(np.zeros((12, 2), np.float32), "a", np.float32(0.5))
    assert json.loads(json.dumps(line.to_dict()))["words"] == []


def test_a_model_as_a_network(tmp_path):
    write_weights(tmp_path / "rec.pth", {"dictionary": {"characters": NAMES}})
    model = architectures.load(tmp_path / "rec.pth")
    names = list(model.state_dict())
    expected = OCR(find_bars, tmp_path / "rec.pth", min_score=0)(bar_page())
    found = OCR(find_bars, model, min_score=0)(bar_page())
    assert [line.to_dict() for line in found] == [line.to_dict() for line in expected]
    assert len(found) == 3
    assert list(model.state_dict()) == names  # the model itself is not fused
    assert model.card is not None
    untrained = architectures.build(CRNN, class_counts={"ctc": 4}).train()
    ocr = OCR(find_bars, untrained, characters=NAMES, rec_settings={"height": 32}, min_score=0)
    assert len(ocr(bar_page())) == 3
    assert untrained.training
    with pytest.raises(ValueError, match="give characters="):
        OCR(find_bars, untrained)


def test_the_library_logs_and_prints_nothing(tmp_path, caplog, capfd):
    write_weights(tmp_path / "rec.pth", {"dictionary": {"characters": NAMES}})
    with caplog.at_level(logging.DEBUG, logger="pipelines"):
        OCR(find_bars, tmp_path / "rec.pth")
        read_bars(min_score=0.81)(bar_page())
    assert [record.name for record in caplog.records] == ["pipelines.runtime", "pipelines.ocr"]
    loaded, read = (record.getMessage() for record in caplog.records)
    assert loaded == f"loaded {tmp_path / 'rec.pth'} on cpu in torch.float32"
    assert read == "found 3 lines, kept the 0 with a score of at least 0.81"
    assert capfd.readouterr() == ("", "")
