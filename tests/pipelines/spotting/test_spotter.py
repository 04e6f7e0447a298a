"""Finding and reading by one network that takes what is dark for text, and spells by columns."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
import torch

from pipelines import Spotter
from pipelines.detection.postprocess.decoder import Sizes
from pipelines.runtime import TorchNetwork
from pipelines.spotting.postprocess import PGDecoder
from schemas.processing import SettingsError
from tests.conftest import Run
from tests.support.cli_runs import files, run
from tests.support.pages import NAMES
from tests.support.small_weights import write_weights
from tests.support.spotted_maps import CHARACTERS, spotted_maps

__all__ = ["run"]  # a fixture

COLUMNS = 16  # of the map for one letter


class Dark:
    """A PGNet; `card` is what its weights say."""

    def __init__(self, **pipeline):
        dictionary = {"characters": ["a", "b", "c"]}
        self.card = {"task": "e2e", "dictionary": dictionary, "pipeline": pipeline}

    def __call__(self, batch):
        score = (batch[:, :1, ::4, ::4].mean(1, keepdims=True) < 0).astype(np.float32)
        _, _, height, width = score.shape
        characters = np.zeros((1, 4, height, width), np.float32)
        column = np.arange(width)
        characters[0, column // COLUMNS % 3, :, column] = 9
        border = np.broadcast_to(np.float32([-4, 0, 4, 0])[:, None, None], (4, height, width))
        direction = np.zeros((1, 2, height, width), np.float32)
        direction[:, 0] = 1
        return {
            "f_border": border[None],
            "f_char": characters,
            "f_direction": direction,
            "f_score": score,
        }


def page():
    """Two bars, the lower one to the left; straight text is seen in this very size."""
    image = np.full((512, 768, 3), 255, np.uint8)
    image[100:121, 400:701] = 0
    image[300:321, 72:361] = 0
    return image


STRAIGHT = {"valid_set": "partvgg"}


def test_lines_come_from_the_top_with_polygons_and_texts():
    upper, lower = Spotter(Dark(**STRAIGHT))(page())
    # Columns 100 to 175 and 18 to 90 of the map.
    assert (upper.text, lower.text) == ("abcab", "bcabc")
    assert upper.box.shape == lower.box.shape == (4, 2)
    assert upper.box.dtype == np.float32
    for line, (left, right, middle) in ((upper, (400, 700, 110)), (lower, (72, 360, 310))):
        top, bottom = middle - 16, middle + 16
        corners = [[left, top], [right, top], [right, bottom], [left, bottom]]
        np.testing.assert_allclose(line.box, corners, atol=24)
        assert line.score == pytest.approx(1 / (1 + 3 * np.exp(-9)), rel=1e-5)


def test_curved_text_has_as_many_corners_as_the_mode_says():
    fast, _ = Spotter(Dark())(page())
    assert fast.box.shape == (12, 2)
    slow, _ = Spotter(Dark(mode="slow"))(page())
    assert slow.box.shape == (2 * len(slow.text), 2)
    assert fast.text == slow.text


def test_lines_below_a_score_are_left_out():
    scores = sorted(line.score for line in Spotter(pages(), characters=CHARACTERS)(small()))
    least = scores[len(scores) // 2]
    kept = Spotter(pages(), characters=CHARACTERS, min_score=least)(small())
    assert sorted(line.score for line in kept) == scores[len(scores) // 2 :]
    assert 0 < len(kept) < len(scores)


def small():
    """An image for which the network returns maps of 128 x 192."""
    return np.zeros((410, 615, 3), np.uint8)


def pages(**changes):
    """A network that returns the same maps whatever it sees."""
    maps = {**spotted_maps(3), **changes}
    return lambda _: maps


def test_an_image_without_text():
    assert Spotter(Dark())(np.full((90, 70, 3), 255, np.uint8)) == []


@pytest.mark.parametrize("shape", [(1, 1), (3, 900), (400, 2)])
def test_images_like_threads(shape):
    for line in Spotter(Dark())(np.zeros((*shape, 3), np.uint8)):
        assert ((line.box >= 0) & (line.box <= shape[::-1])).all()


# Settings.


def test_settings_come_from_the_weights_and_the_caller():
    said = {"max_side_len": 512, "valid_set": "partvgg", "score_thresh": 0.25}
    spotter = Spotter(Dark(**said), score_thresh=0.75, point_gather_mode="align")
    assert (spotter.settings.max_side_len, spotter.settings.valid_set) == (512, "partvgg")
    assert spotter.decoder == PGDecoder(("a", "b", "c"), "partvgg", 0.75, "fast", "align")
    assert spotter.preprocess(page()).shape == (1, 3, 384, 512)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mode": "quick"}, "the setting mode is 'quick', expected one of fast, slow"),
        ({"valid_set": "icdar"}, "expected one of totaltext, partvgg"),
        ({"max_side_len": 0}, "the setting max_side_len is 0, expected a whole number above 0"),
        ({"thresh": 0.5}, "no setting thresh of a text spotter; there are max_"),
        ({"mode": "slow", "valid_set": "partvgg"}, 'only the mode "fast"'),
    ],
)
def test_settings_without_a_meaning(changes, message):
    with pytest.raises(SettingsError, match=message):
        Spotter(Dark(), **changes)


def test_what_is_no_pgnet():
    with pytest.raises(SettingsError, match="the network has no dictionary"):
        Spotter(pages())
    detector = Dark()
    detector.card["task"] = "det"
    with pytest.raises(SettingsError, match="is not a text spotter"):
        Spotter(detector)
    more = Spotter(Dark(), characters="abcd")
    with pytest.raises(ValueError, match="is this PGNet with 4 characters"):
        more(page())
    score = spotted_maps(3)["f_score"].copy()
    score[0, 0, 5, 5] = np.nan
    broken = Spotter(pages(f_score=score), characters=CHARACTERS)
    with pytest.raises(ValueError, match="the network returned values that are not finite"):
        broken(small())


# Decoding, by hand.


def drawn(*places: tuple[int, int], size=(32, 48)):
    """Maps where text is in these places alone, and says "b" left of the middle, "a" right."""
    maps = {
        "f_border": np.zeros((1, 4, *size), np.float32),
        "f_char": np.zeros((1, 4, *size), np.float32),
        "f_direction": np.zeros((1, 2, *size), np.float32),
        "f_score": np.zeros((1, 1, *size), np.float32),
    }
    maps["f_border"][0] = np.float32([-2, 0, 2, 0])[:, None, None]
    maps["f_direction"][:, 0] = 10
    maps["f_char"][0, 1, :, : size[1] // 2] = maps["f_char"][0, 0, :, size[1] // 2 :] = 5
    for place in places:
        maps["f_score"][0, 0][place] = 0.9
    return maps


SIZES = Sizes((128, 192), (128, 192), (128, 192))


def test_a_line_by_hand():
    maps = drawn(*[(10, x) for x in range(4, 44)])
    (found,) = PGDecoder("abc", valid_set="partvgg")(maps, SIZES)
    assert found.text == "ba"
    # Both ends move by a fifth of the height, 16, there.
    corners = [[16 - 3.2, 32], [43 * 4 + 3.2, 32], [43 * 4 + 3.2, 48], [16 - 3.2, 48]]
    np.testing.assert_array_equal(found.polygon, np.trunc(corners))
    assert found.score == pytest.approx(np.exp(5) / (np.exp(5) + 3), rel=1e-5)


def test_the_direction_tells_where_a_text_starts():
    maps = drawn(*[(10, x) for x in range(4, 44)])
    maps["f_direction"] *= -1
    (found,) = PGDecoder("abc")(maps, SIZES)
    assert found.text == "ab"
    assert found.polygon[0, 0] > found.polygon[5, 0]


def test_what_is_too_short():
    assert PGDecoder("abc")(drawn(*[(10, x) for x in range(22, 27)]), SIZES) == []
    assert len(PGDecoder("abc")(drawn(*[(10, x) for x in range(21, 27)]), SIZES)) == 1
    assert PGDecoder("abc")(drawn(*[(10, x) for x in range(4, 20)]), SIZES) == []  # a single "b"
    two = drawn((10, 23), (10, 24))
    assert PGDecoder("abc", mode="slow")(two, SIZES) == []
    assert len(PGDecoder("abc", mode="slow")(drawn(*[(10, x) for x in (23, 24, 25)]), SIZES)) == 1


def test_borders_without_length_stay_in_the_middle():
    maps = drawn(*[(10, x) for x in range(4, 44)])
    maps["f_border"][:] = 0
    (found,) = PGDecoder("abc", mode="slow")(maps, SIZES)
    assert found.polygon[:, 1].tolist() == [40] * 4


# The command line.


@pytest.fixture
def spot(run, monkeypatch, tmp_path):
    """Spot with a `Dark` network; `spot.loaded` holds what was asked for."""

    def as_network(weights, device, **options):
        spot.loaded.append((weights.name, device, options))
        return Dark(**STRAIGHT)

    def spot(*words):
        return run("spot", *words, "--weights", "pg.pth")

    spot.loaded = []
    monkeypatch.setattr("pipelines.predictor.as_network", as_network)
    cv2.imwrite(str(tmp_path / "page.png"), page())
    return spot


def test_texts_are_printed(spot, tmp_path):
    assert spot(tmp_path / "page.png") == Run(0, "abcab\nbcabc\n", "")
    ((name, device, options),) = spot.loaded
    assert (name, device, options) == ("pg.pth", "cpu", {"half": False, "compile": False})
    assert spot(tmp_path / "page.png", "--min-score", "1").out == ""


def test_json_tsv_and_pictures(spot, tmp_path):
    (found,) = json.loads(spot(tmp_path / "page.png", "--format", "json").out)["pages"]
    assert [list(line) for line in found["lines"]] == [["text", "score", "box"]] * 2
    assert len(found["lines"][0]["box"]) == 4
    head, first, _ = spot(tmp_path / "page.png", "--format", "tsv").out.splitlines()
    assert head.endswith("score\ttext")
    assert first.endswith("\tabcab")
    out = tmp_path / "out"
    assert spot(tmp_path / "page.png", "--out", out, "--visualize", "--format", "pdf").code == 0
    assert files(out) == ["page.page1.jpg", "page.pdf"]


def test_weights(run, tmp_path):
    cv2.imwrite(str(tmp_path / "page.png"), page())
    done = run("spot", tmp_path / "page.png", "--weights", tmp_path / "none.pth")
    assert done.code == 3
    assert "none.json is missing" in done.err
    write_weights(tmp_path / "rec.pth", {"dictionary": {"characters": NAMES}, "task": "rec"})
    done = run("spot", tmp_path / "page.png", "--weights", tmp_path / "rec.pth")
    assert done.code == 2
    assert "rec.pth is not a text spotter, its task is rec" in done.err


def test_several_results_of_a_module_reach_the_spotter():
    """What `TorchNetwork` makes of a dict of tensors, whose channels lie side by side."""
    maps = {name: torch.from_numpy(array) for name, array in spotted_maps(3).items()}
    network = object.__new__(TorchNetwork)
    network.device, network.dtype, network.compiled = torch.device("cpu"), torch.float32, False
    network.module = lambda _: {
        name: tensor.to(memory_format=torch.channels_last) for name, tensor in maps.items()
    }
    network.card = {"task": "e2e"}
    expected = Spotter(pages(), characters=CHARACTERS)(small())
    found = Spotter(network, characters=CHARACTERS)(small())
    assert [line.text for line in found] == [line.text for line in expected] != []
