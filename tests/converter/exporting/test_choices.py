"""Choices among nearly equal scores: the network is compared after making those of the export."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, cast

import numpy as np
import pytest
import torch
from torch import nn

from architectures import Model
from architectures.interfaces import OutputPart
from converter.errors import ExportError
from converter.exporting import onnx_writing, torch_program
from converter.exporting.artefact import Artefact
from converter.exporting.choices import Chooser, ForcedChoices, RecordedChoices
from converter.exporting.program import export_module
from converter.exporting.proof import ExportProof, prove_graph
from schemas.artefact import ArtefactCard

PLAIN = Artefact(Path("x.pth"), cast("Model", nn.Identity()), ArtefactCard())


class Ranks(nn.Module):
    """Returns the columns of images (N, 1, H, W) with the greatest scores, in their order."""

    ranks = True
    architecture: ClassVar[dict[str, str]] = {}

    def __init__(self, *added: float) -> None:
        super().__init__()
        self.scores = nn.Buffer(torch.tensor([0.5, 0.5, 0.9, 0.1, 0.4]) + torch.tensor(added))

    def forward(self, x):
        chosen = self.scores.expand(len(x), -1).topk(3, 1).indices
        return x[:, 0].gather(2, chosen[:, None].expand(-1, x.shape[2], -1))


@dataclass(frozen=True)
class Ranking(Artefact):
    """A network of which results are the columns, times `factor`."""

    factor: float = 1.0

    def results(self, batch: np.ndarray) -> dict[str, np.ndarray]:
        with torch.inference_mode():
            output = self.network(torch.from_numpy(batch))
        return {"output": output.numpy() * np.float32(self.factor)}


def ranking(*added: float, factor: float = 1.0) -> Ranking:
    return Ranking(PLAIN.path, cast("Model", Ranks(*added)), PLAIN.card, factor)


BATCH = np.random.default_rng(0).random((2, 1, 4, 5), np.float32)
NETWORK = ranking(1e-6, 0, 0, 0, 0)
EXPORT = ranking(0, 1e-6, 0, 0, 0)


def proof(of: Ranking, chooser: bool = True) -> ExportProof:
    chosen: Chooser | None = torch_program._chooser(of.results) if chooser else None
    return prove_graph(NETWORK, of.results, [BATCH], chosen)


def test_a_network_makes_the_choice_of_its_export():
    found = proof(EXPORT)
    assert found.difference == 0 < found.choice < 2e-6
    assert "which the export chose: their scores are within" in found.describe()
    assert proof(NETWORK).choice == 0


def test_what_is_no_rounding_is_found(monkeypatch):
    with pytest.raises(ExportError, match=r"output differs by .* of its maximum"):
        proof(EXPORT, chooser=False)
    with pytest.raises(ExportError, match=r"output differs by 1\.00e-03 of its maximum"):
        proof(ranking(0, 1e-6, 0, 0, 0, factor=1.001))
    with pytest.raises(ExportError, match=r"positions whose scores are 1\.11e-01 of the maximum"):
        proof(ranking(0, -1, 0, 0, 0))  # goes on with the score 0.4
    monkeypatch.setattr(Ranks, "ranks", False)
    with pytest.raises(ExportError, match=r"output differs by .* of its maximum"):
        proof(EXPORT)


def test_positions_of_another_number_are_no_choice():
    with ForcedChoices([np.zeros((2, 4), np.int64)]) as forced:
        torch.rand(2, 5).topk(3)
    assert forced.gap == np.inf
    with ForcedChoices([]) as forced:
        torch.rand(2, 5).topk(3)
    assert forced.gap == 0


@pytest.mark.filterwarnings("ignore")  # of the tracer
def test_programs_traces_and_onnx_files_tell_their_choice(tmp_path):
    class Sorted(Ranks):
        def forward(self, x):
            return super().forward(x[..., x.sum((0, 1, 2)).argsort()])

    network, image = Sorted(1e-2, 0, 0, 0, 0), torch.from_numpy(BATCH)
    program = export_module(network, (image,), None)
    for runs in (program.module(), torch.jit.trace(network, image)):
        with RecordedChoices() as choices:
            runs(image)
        assert [each.tolist() for each in choices.positions] == [[[2, 0, 1]] * 2]
    file = tmp_path / "x.onnx"
    onnx_writing.save_onnx(PLAIN, program, ["x"], ["output"], file)
    session, names = onnx_writing.open_with_choices(file)
    (positions,) = session.run(names, {session.get_inputs()[0].name: BATCH})
    assert positions.tolist() == [[2, 0, 1]] * 2


def test_heads_without_queries_rank_nothing():
    assert not OutputPart.ranks
