"""Checkpoints in other forms than PaddleOCR's own: wrapped, in other types and protocols."""

from __future__ import annotations

import json
import pickle
import shutil
import struct

import numpy as np
import pytest
import torch

import architectures
from converter.sources.open import open_source
from tests.support.checkpoints import CLS, DET, save, weights
from tests.support.paddle_files import description

CLASSIFIER = "ch_ppocr_mobile_v2.0_cls"


@pytest.fixture
def classify(convert, tmp_path):
    """Convert a checkpoint of the classifier; return the run and the network's tensors."""

    def classify(*options):
        out = tmp_path / "x.pth"
        done = convert(CLASSIFIER, "--paddle-dir", tmp_path, "--out", out, *options)
        return done, architectures.load(out).state_dict() if done.code == 0 else {}

    return classify


@pytest.fixture
def plain(classify, tmp_path):
    """The tensors that come of the plain checkpoint."""
    save(tmp_path / "best_accuracy.pdparams", weights(CLS))
    done, state = classify()
    assert (done.code, done.err) == (0, "")
    return state


@pytest.mark.parametrize("prefix", ["_layers.", "module.", "model.", "module._layers."])
def test_the_prefix_of_a_wrapper(classify, plain, tmp_path, prefix):
    tensors = {prefix + name: array for name, array in weights(CLS).items()}
    save(tmp_path / "best_accuracy.pdparams", tensors)
    done, state = classify()
    assert done.code == 0, done
    assert f"the names of all tensors begin with {prefix!r}, as in a wrapped network" in done.err
    assert all(torch.equal(state[name], plain[name]) for name in plain)


def test_a_wrapped_distillation(convert, tmp_path):
    tensors = {f"_layers.Student.{name}": array for name, array in weights(DET).items()}
    file, out = save(tmp_path / "best_accuracy.pdparams", tensors), tmp_path / "x.pth"
    done = convert("ch_PP-OCRv2_det", "--paddle-dir", file, "--out", out)
    assert done.code == 0
    assert "begin with '_layers.'" in done.err


@pytest.mark.parametrize("rest", ["backbone.conv1.conv.weight", "_layers.unknown.weight"])
def test_a_prefix_of_some_tensors_is_no_wrappers(classify, tmp_path, rest):
    tensors = {f"_layers.{name}": array for name, array in weights(CLS).items()}
    tensors[rest] = tensors.pop("_layers.backbone.conv1.conv.weight")
    save(tmp_path / "best_accuracy.pdparams", tensors)
    done, _ = classify()
    assert done.code == 4


def test_float64(classify, plain, tmp_path):
    tensors = {name: array.astype(np.float64) for name, array in weights(CLS).items()}
    save(tmp_path / "best_accuracy.pdparams", tensors)
    done, state = classify()
    assert done.code == 0
    assert f"{len(tensors)} tensors are float64 and were rounded to float32" in done.err
    for name in plain:
        assert state[name].dtype == plain[name].dtype
        assert torch.equal(state[name], plain[name])


def test_float64_beyond_the_range_of_float32(classify, tmp_path):
    tensors = weights(CLS)
    tensors["head.fc.bias"] = np.array([1e300, 0])
    save(tmp_path / "best_accuracy.pdparams", tensors)
    done, _ = classify()
    assert done.code == 4
    assert "is float32, the source is float64" in done.err


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_protocols(classify, plain, tmp_path, protocol):
    content = pickle.dumps(weights(CLS), protocol)
    (tmp_path / "best_accuracy.pdparams").write_bytes(content)
    done, state = classify()
    assert (done.code, done.err) == (0, "")
    assert all(torch.equal(state[name], plain[name]) for name in plain)


def half(tensors, mixed):
    """Return tensors as AMP training saves them: all in float16, or all but normalisations."""
    kept = (".bn.", "norm") if mixed else ()
    return {
        name: array if any(k in name for k in kept) else array.astype(np.float16)
        for name, array in tensors.items()
    }


@pytest.mark.parametrize("mixed", [False, True])
def test_amp_and_the_record(classify, plain, tmp_path, mixed):
    save(tmp_path / "best_accuracy.pdparams", half(weights(CLS), mixed))
    done, state = classify()
    assert (done.code, done.err) == (0, "")
    assert all(state[name].dtype == plain[name].dtype for name in plain)


@pytest.mark.parametrize("mixed", [False, True])
def test_amp_and_the_program(classify, export, tmp_path, mixed):
    """PaddleOCR exports such a checkpoint in float32, with the values that float16 holds."""
    exported = open_source(export).export
    tensors = half(
        {exported.structured_names[n]: np.array(a) for n, a in exported.tensors.items()
         if n in exported.structured_names}, mixed)  # fmt: skip
    save(tmp_path / "best_accuracy.pdparams", tensors)
    shutil.copy(exported.program_file, tmp_path)
    with (tmp_path / "inference.pdiparams").open("wb") as file:
        for name, array in sorted(exported.tensors.items()):
            array = tensors.get(exported.structured_names.get(name), array).astype(np.float32)
            header = description("float32", array.shape)
            file.write(struct.pack("<IQIi", 0, 0, 0, len(header)) + header + array.tobytes())
    done, _ = classify("--reference", "program")
    assert (done.code, done.err) == (0, "")
    card = json.loads((tmp_path / "x.json").read_text())
    assert card["parity"]["reference"] == "program"
    assert max(c["difference"] for c in card["parity"]["comparisons"]) < 1e-4
