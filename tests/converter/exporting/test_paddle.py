"""Checkpoints for PaddleOCR: bit by bit what was converted, as Paddle reads it."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

import architectures
from converter.cli.main import main
from converter.exporting.paddle import pickled
from converter.references.recorded.record import shipped_record
from converter.sources.pdparams import read_pdparams

NAME = "rec_mv3_none_none_ctc_v2.0"
TABLE = {"backbone.conv1.conv.weight": "conv2d_0.w_0"}


@pytest.fixture(scope="module")
def original(tmp_path_factory) -> Path:
    """A checkpoint of seeded weights, with a tensor that only training uses."""
    record = shipped_record("rec__rec_mv3_none_none_ctc")
    assert record is not None
    file = tmp_path_factory.mktemp("original") / "best_accuracy.pdparams"
    file.write_bytes(pickled(record.weights(), TABLE))
    return file


@pytest.fixture(scope="module")
def converted(original) -> Path:
    out = original.with_name("mine.pth")
    assert main([NAME, "--paddle-dir", str(original), "--out", str(out)]) == 0
    return out


def export(weights: Path, *options: str) -> Path:
    folder = weights.parent / "back"
    run = ["export", str(weights), "--to", "paddle", "--out", str(folder), *options]
    assert main(run) == 0
    return folder / f"{weights.stem}.pdparams"


@pytest.mark.parametrize("like", [True, False])
def test_an_unchanged_network_comes_back_bit_by_bit(original, converted, like):
    options = ("--like", str(original)) if like else ()
    before, after = read_pdparams(original), read_pdparams(export(converted, *options))
    assert set(after.tensors) == set(before.tensors)
    assert all(after.tensors[n].tobytes() == before.tensors[n].tobytes() for n in before.tensors)
    assert dict(after.parameter_names) == (TABLE if like else {})
    assert not like or list(after.tensors) == list(before.tensors)


def test_plain_pickle_reads_it(original):
    with original.open("rb") as stream:
        content = pickle.load(stream)
    assert content["StructuredToParameterName@@"] == TABLE


def test_the_function_of_arrays_has_the_name_that_old_numpy_knows():
    data = pickled({"a": np.zeros(3, np.float32), "b": np.ones(3, np.float32)}, {})
    assert b"cnumpy.core.multiarray\n_reconstruct\n" in data
    assert b"numpy._core" not in data


def test_changed_weights_come_back_changed(converted, original, tmp_path):
    network = architectures.load(converted)
    network.head.fc.bias.data += 1
    architectures.save(network, tmp_path / "tuned.pth")
    tuned = read_pdparams(export(tmp_path / "tuned.pth", "--like", str(original))).tensors
    before = read_pdparams(original).tensors
    assert [name for name in before if not np.array_equal(before[name], tuned[name])] == [
        "head.fc.bias"
    ]
    np.testing.assert_array_equal(tuned["head.fc.bias"], before["head.fc.bias"] + np.float32(1))


def test_a_fused_network_gets_its_normalisation_back(converted, tmp_path, capsys):
    network = architectures.load(converted)
    fused = architectures.fuse(network)
    architectures.save(fused, tmp_path / "fused.pth", card=network.card)
    arrays = read_pdparams(export(tmp_path / "fused.pth")).tensors
    assert "one of each holds the kernel" in capsys.readouterr().out
    norms = [name for name in arrays if name.endswith("._mean")]
    assert norms
    assert all(not arrays[name].any() for name in norms)


def test_the_checkpoint_of_another_network_is_refused(converted, tmp_path, capsys):
    foreign = tmp_path / "foreign.pdparams"
    foreign.write_bytes(pickled({"fc.weight": np.ones((2, 2), np.float32)}, {}))
    run = ["export", str(converted), "--to", "paddle", "--out", str(tmp_path)]
    assert main([*run, "--like", str(foreign)]) == 4
    assert "are these the weights of" in capsys.readouterr().err
    assert not (tmp_path / "mine.pdparams").exists()
