"""The released models, with Paddle live: converted, proved, written, loaded, and run once more."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
import torch

import architectures
from converter.conversion.request import Outcome, Request
from converter.conversion.steps import STAGES, run
from converter.errors import ReferenceUnavailable
from converter.parity import rendered_inputs as inputs
from converter.references.program import PaddleProgram
from tests.support.checkpoints import EXPORTS

# Tensors used and counters filled, class counts, length of the dictionary without the blank.
FACTS = {
    "ch_PP-OCRv4_det": (234, 3, {}, None),
    "ch_PP-OCRv4_rec": (234, 6, {"ctc": 6625}, 6624),
    "ch_ppocr_mobile_v2.0_cls": (213, 35, {"cls": 2}, None),
}
SIZES = {"ch_PP-OCRv4_det": (256, 384), "ch_PP-OCRv4_rec": (48, 400)}


@pytest.fixture(scope="module")
def converted(real_models, tmp_path_factory) -> Callable[[str, bool], tuple[Outcome, list[str]]]:
    """Convert a model, once in each form, and return the outcome and the stages it went through."""
    folder = tmp_path_factory.mktemp("converted")
    done: dict[tuple[str, bool], tuple[Outcome, list[str]]] = {}

    def converted(name: str, fuse: bool) -> tuple[Outcome, list[str]]:
        if (name, fuse) not in done:
            out = folder / f"{name}{'_fused' if fuse else ''}.{'safetensors' if fuse else 'pth'}"
            stages: list[str] = []
            request = Request(name, real_models / EXPORTS[name], out=out, fuse=fuse)
            done[name, fuse] = run(request, stages.append), stages
        return done[name, fuse]

    return converted


both_forms = pytest.mark.parametrize("fuse", [False, True], ids=["deploy", "fused"])
all_models = pytest.mark.parametrize("name", EXPORTS)


@both_forms
@all_models
def test_every_comparison_passes(converted, name, fuse):
    outcome, stages = converted(name, fuse)
    assert tuple(stages) == STAGES
    report = outcome.report
    assert report.passed
    assert report.reference == "program"
    assert report.versions["paddle"]
    for comparison in report.comparisons:
        assert comparison.difference <= 1e-4, comparison
        assert comparison.largest > 0
    probes = {comparison.probe.split()[0] for comparison in report.comparisons}
    assert probes >= {"logits", "output", "decisions"} | (set() if fuse else {"backbone"})
    assert len({comparison.input_shape for comparison in report.comparisons}) == 2


@both_forms
@all_models
def test_the_artefact(converted, real_models, name, fuse):
    outcome, _ = converted(name, fuse)
    used, filled, classes, characters = FACTS[name]
    card = json.loads(outcome.written.with_suffix(".json").read_text(encoding="utf-8"))
    assert (card["name"], card["status"]) == (name, "VERIFIED")
    assert card["form"] == ("fused" if fuse else "deploy")
    assert card["class_counts"] == classes
    assert card["counts"]["used"] == used
    assert card["counts"]["filled"] == filled
    assert card["counts"]["dropped"] == {}
    assert card["parity"] == json.loads(json.dumps(outcome.report.to_dict()))
    sources = [path for path in (real_models / EXPORTS[name]).iterdir() if path.is_file()]
    assert card["source"]["files"] == {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sources
    }
    if characters is None:
        assert card["dictionary"] is None
    else:
        assert len(card["dictionary"]["characters"]) == characters
        assert card["dictionary"]["characters"][-1] == " "
    size = sum(outcome.written.with_suffix(s).stat().st_size for s in (outcome.written.suffix,
                                                                       ".json"))  # fmt: skip
    assert outcome.size == size


@pytest.fixture(scope="module")
def paddle(real_models) -> Iterator[Callable[[str, np.ndarray], np.ndarray]]:
    """Paddle's own result, without anything of the parity check.

    A program is kept until another one is asked for, or until it fails.
    """
    kept: dict[str, PaddleProgram] = {}
    opened = ExitStack()

    def close() -> None:
        kept.clear()
        opened.close()

    def paddle(name: str, batch: np.ndarray) -> np.ndarray:
        if name not in kept:
            close()
            folder: Path = real_models / EXPORTS[name]
            program = PaddleProgram(folder / "inference.pdmodel", folder / "inference.pdiparams")
            kept[name] = opened.enter_context(program)
        predictor = kept[name]
        try:
            (result,) = predictor.run({predictor.input_names[0]: batch})
        except ReferenceUnavailable:
            close()
            raise
        return result

    yield paddle
    close()


@all_models
def test_what_was_written_computes_the_same_on_another_image(converted, paddle, name):
    """Both forms, loaded from their files, on an image that the proof did not see."""
    height, width = SIZES.get(name, (48, 192))
    draw = inputs.page if name.endswith("det") else inputs.line
    image = draw(height, width, seed=5).astype(np.float32).transpose(2, 0, 1)[None]
    batch = np.ascontiguousarray(image / 127.5 - 1)
    expected = paddle(name, batch)
    for fuse in (False, True):
        network = architectures.load(converted(name, fuse)[0].written)
        with torch.inference_mode():
            actual = network(torch.from_numpy(batch)).numpy()
        assert actual.shape == expected.shape
        np.testing.assert_allclose(actual, expected, atol=1e-4 * np.abs(expected).max())
        if name.endswith("det"):
            assert 0 < (expected > 0.3).mean() < 0.9
            assert ((actual > 0.3) == (expected > 0.3)).mean() > 0.9999
        else:
            np.testing.assert_array_equal(actual.argmax(-1), expected.argmax(-1))
        if name.endswith("rec"):
            characters = ["", *network.card.dictionary.characters]
            classes = actual.argmax(-1)[0]
            kept = classes[np.flatnonzero(np.diff(classes, prepend=0))]
            text = "".join(characters[c] for c in kept)
            assert sum(c.isascii() and c.isalnum() for c in text) > 8, text


@all_models
def test_another_run_writes_the_same_bytes(converted, real_models, tmp_path, name):
    outcome, _ = converted(name, False)
    request = Request(name, real_models / EXPORTS[name], out=tmp_path / "x.pth", reference="none")
    again = run(request)
    assert again.written.read_bytes() == outcome.written.read_bytes()
    assert again.report is None


HEIGHTS_AND_WIDTHS = [(16, 40), (17, 333), (24, 200), (32, 320), (40, 61), (48, 9), (48, 317)]


@pytest.mark.parametrize("name", ["ch_PP-OCRv4_rec", "ch_ppocr_mobile_v2.0_cls"])
def test_every_size_that_paddle_accepts(converted, paddle, name):
    """Lines of other heights than the release's, and of odd widths."""
    networks = [architectures.load(converted(name, fuse)[0].written) for fuse in (False, True)]
    for height, width in HEIGHTS_AND_WIDTHS:
        image = inputs.line(height, width, seed=6).astype(np.float32).transpose(2, 0, 1)[None]
        batch = np.ascontiguousarray(image / 127.5 - 1)
        expected = paddle(name, batch)
        for network in networks:
            with torch.inference_mode():
                actual = network(torch.from_numpy(batch)).numpy()
            assert actual.shape == expected.shape, (height, width)
            np.testing.assert_allclose(actual, expected, atol=1e-4)


# Sizes that are multiples of 32 after rounding up at each stride of 2, and sizes whose maps of 1/16
# and 1/32 do not fit each other when enlarged.
ACCEPTED = [(32, 32), (32, 320), (64, 96), (64, 95), (320, 32), (224, 416)]
REFUSED = [(48, 64), (33, 64), (100, 100), (72, 88)]


@pytest.mark.parametrize("size", [*ACCEPTED, *REFUSED], ids=str)
def test_the_detector_accepts_the_sizes_that_paddle_accepts(converted, paddle, size):
    """Equal probabilities, or an error on both sides."""
    name = "ch_PP-OCRv4_det"
    image = inputs.page(*size, seed=7).astype(np.float32).transpose(2, 0, 1)[None]
    batch = np.ascontiguousarray(image / 127.5 - 1)
    networks = [architectures.load(converted(name, fuse)[0].written) for fuse in (False, True)]
    if size in REFUSED:
        with pytest.raises(ReferenceUnavailable):
            paddle(name, batch)
        for network in networks:
            with pytest.raises(RuntimeError), torch.inference_mode():
                network(torch.from_numpy(batch))
        return
    expected = paddle(name, batch)
    for network in networks:
        with torch.inference_mode():
            actual = network(torch.from_numpy(batch)).numpy()
        assert actual.shape == expected.shape
        np.testing.assert_allclose(actual, expected, atol=1e-4)
