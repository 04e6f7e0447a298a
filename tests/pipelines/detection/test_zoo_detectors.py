"""The algorithm zoo's detectors in the pipelines: from pages to lines, with every kind of head."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from shapely.geometry import Polygon

from pipelines import OCR
from pipelines.detection.predictor import DECODERS, Detector, output_names
from pipelines.runtime import TorchNetwork
from schemas.artefact import ArtefactCard
from tests.support.small_networks import NETWORKS
from tests.support.small_weights import save_network
from tests.support.zoo_maps import band, ct_maps, east_maps, fce_maps, pse_maps, sast_maps

SIZE = 512, 768
PAGE = np.full((256, 384, 3), 255, np.uint8)
CURVED = {"sample_pts_num": 6, "expand_scale": 1.2, "shrink_ratio_of_width": 0.2}


class Network:
    """Returns the same maps whatever it sees; `card` is what its weights say."""

    def __init__(self, head, maps, **pipeline):
        self.maps = maps
        said = {"image_shape": list(SIZE), **pipeline}
        self.card = {"task": "det", "architecture": {"Head": {"name": head}}, "pipeline": said}

    def __call__(self, batch):
        assert batch.shape == (1, 3, *SIZE)
        return self.maps


# What makes the maps, settings, and how much lines bend.
HEADS = {
    "EASTHead": (east_maps, {}, 0),
    "SASTHead": (sast_maps, CURVED, 1.2),
    "PSEHead": (lambda seed: pse_maps(seed)["maps"], {"box_type": "poly"}, 1.2),
    "FCEHead": (fce_maps, {}, 1.2),
    "CT_Head": (lambda seed: ct_maps(seed, noise=0, least=1), {}, 1.2),
}
SEED = 1


@pytest.fixture(autouse=True)
def lines(monkeypatch, request):
    """Three lines, level, rising and steep, as the maps of a head show them."""
    bend = HEADS[request.node.callspec.params["head"]][2] if "head" in request.fixturenames else 0
    lines = [band((60, 120), 400, 40, 0, bend, 0), band((80, 450), 300, 32, -0.4, bend, 0),
             band((620, 60), 380, 44, 1.4, bend, 0)]  # fmt: skip
    found = lambda seed, *_, **__: [] if seed == EMPTY else lines  # noqa: E731
    monkeypatch.setattr("tests.support.zoo_maps.text_lines", found)
    return lines


EMPTY = 9


def overlap(box, line):
    one, other = Polygon(box).buffer(0), Polygon(line.outline / 2).buffer(0)
    return one.intersection(other).area / one.union(other).area


@pytest.mark.parametrize("head", HEADS)
def test_lines_are_found_where_they_are(head, lines):
    make, said, _ = HEADS[head]
    found = Detector(Network(head, make(SEED), **said))(PAGE)
    assert len(found) == len(lines)
    for line in lines:
        assert max(overlap(box, line) for box in found) > 0.6
    assert {box.dtype for box in found} == {np.dtype(np.float32)}


@pytest.mark.parametrize("head", HEADS)
def test_ocr_reads_with_every_detector(head):
    make, said, _ = HEADS[head]
    sizes = []

    def recogniser(batch):
        sizes.append(batch.shape)
        return np.tile(np.array([0.1, 0.9], np.float32), (len(batch), 5, 1))

    detector = Network(head, make(SEED), **said)
    read = OCR(detector, recogniser, characters="x")(cv2.resize(PAGE, None, fx=2, fy=2))
    assert [line.text for line in read] == ["x"] * len(Detector(detector)(PAGE))
    assert sum(size[0] for size in sizes) == len(read) > 0


@pytest.mark.parametrize("head", HEADS)
def test_results_of_another_kind(head):
    other = east_maps(SEED) if head != "EASTHead" else fce_maps(SEED)
    with pytest.raises(ValueError, match="is this a detection network of "):
        Detector(Network(head, other))(PAGE)
    smaller = HEADS[head][0](SEED)
    smaller = {"maps": smaller} if isinstance(smaller, np.ndarray) else smaller
    smaller = {name: array[..., :-1] for name, array in smaller.items()}
    with pytest.raises(ValueError, match=r"of shape \(1, .* expected .*is this a detection"):
        Detector(Network(head, smaller))(PAGE)


def test_one_map_where_several_are_expected():
    message = r"returned an array of shape \(1, 1, 4, 4\), expected f_geo of shape .*, f_score of"
    with pytest.raises(ValueError, match=message):
        Detector(Network("EASTHead", np.zeros((1, 1, 4, 4))))(PAGE)


def test_pages_without_text():
    blank = {
        "EASTHead": east_maps(EMPTY), "SASTHead": sast_maps(EMPTY),
        "PSEHead": pse_maps(EMPTY)["maps"],
        "FCEHead": fce_maps(EMPTY), "CT_Head": ct_maps(EMPTY),
    }  # fmt: skip
    for head, maps in blank.items():
        assert Detector(Network(head, maps))(PAGE) == []
    assert blank.keys() <= DECODERS.keys()


@pytest.mark.parametrize("head", HEADS)
def test_results_have_the_names_of_the_export(head):
    maps = HEADS[head][0](SEED)
    names = list(maps) if isinstance(maps, dict) else ["maps"]
    assert output_names(ArtefactCard({"Head": {"name": head}})) == sorted(names)
    assert output_names(ArtefactCard()) == ["maps"]


def test_only_db_has_a_probability_map():
    with pytest.raises(ValueError, match="only detectors of DB return a map of probabilities"):
        Detector(Network("EASTHead", east_maps(SEED))).probability_map(PAGE)


@pytest.mark.parametrize("name", ["det v4", "det ++", "east", "pse", "fce", "ct"])
def test_converted_weights(name, tmp_path, monkeypatch):
    """Networks as they are, with weights by chance: what they return is what is decoded."""
    monkeypatch.setattr("tests.support.small_weights.CARD", {"task": "det"})
    path, model = save_network(tmp_path / "det.pth", NETWORKS[name][0])
    detector = Detector(TorchNetwork(path), limit_side_len=64, limit_type="max")
    assert isinstance(detector.decoder, DECODERS[model.architecture["Head"]["name"]])
    results, sizes = detector.run(np.zeros((64, 96, 3), np.uint8))
    assert sizes.input == (32, 64) or sizes.input == (64, 64)
    assert all(array.dtype == np.float32 for array in results.values())
    assert isinstance(detector(np.zeros((64, 96, 3), np.uint8)), list)
