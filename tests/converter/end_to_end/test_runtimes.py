"""Exported programs in the pipeline's place for a network: how their outputs get their names."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from converter.end_to_end import runtimes
from converter.end_to_end.runtimes import PaddleNetwork, open_reference
from converter.errors import SourceError, UsageError
from schemas.artefact import ArtefactCard

EAST = ArtefactCard.from_dict({"task": "det", "architecture": {"Head": {"name": "EASTHead"}}})


class Session:
    """A Paddle process that has the outputs of EAST, sorted by name as every export has them."""

    outputs = {"0": np.zeros((1, 8, 8, 16)), "1": np.ones((1, 1, 8, 16))}

    def load_program(self, *_, **__):
        return ["x"]

    def run(self, _, **__):
        return self.outputs


@pytest.fixture
def source():
    program = SimpleNamespace(outputs=["a", "b"], format="pir")
    export = SimpleNamespace(program=program, program_file=None, weights_file=None)
    return SimpleNamespace(path="east", export=export)


def test_several_outputs_have_the_names_that_the_decoder_takes(source):
    network = PaddleNetwork(Session(), "det", source, EAST)
    found = network(np.zeros((1, 3, 32, 64), np.float32))
    assert found["f_geo"] is Session.outputs["0"]
    assert found["f_score"] is Session.outputs["1"]


@pytest.mark.parametrize(("task", "card"), [("det", ArtefactCard(task="det")), ("rec", EAST)])
def test_one_output_too_many(source, task, card):
    said = "east has 1 inputs and 2 outputs; a network of this kind has 1 and 1"
    with pytest.raises(SourceError, match=said):
        PaddleNetwork(Session(), task, source, card)


def test_onnx_files_are_run_by_onnx_runtime(source, monkeypatch):
    monkeypatch.setattr(runtimes, "OnnxSession", lambda: "ONNX Runtime")
    monkeypatch.setattr(runtimes, "PaddleSession", lambda: "Paddle")
    export = SimpleNamespace(program=SimpleNamespace(format="onnx"))
    file = SimpleNamespace(path="rec.onnx", export=export)
    assert open_reference({"rec": file}) == "ONNX Runtime"
    assert open_reference({"det": source}) == "Paddle"
    with pytest.raises(UsageError, match=r"rec\.onnx are ONNX files, east are not"):
        open_reference({"det": source, "rec": file})
