"""Layout, tables and unwarping with two runtimes: what is compared, and what is said of it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from converter.cli.main import main
from converter.end_to_end.compare import Limits
from converter.end_to_end.pages import prove_pages
from converter.end_to_end.runtimes import Runtimes
from converter.end_to_end.structure import READERS, THINGS, TILE, ExportedProgram
from converter.errors import SourceError
from pipelines.io.files import Page
from schemas.artefact import ArtefactCard
from tests.support.drawn_tables import CARD, Cell, DrawnStructure, draw

ROWS = [[Cell("Sales", columns=2)], [Cell("a"), Cell("b")]]
OTHER = [[Cell("Sales"), Cell("")], [Cell("a"), Cell("b")]]
LAYOUT = {"task": "layout", "labels": ["text", "table"]}


class Session:
    """A Paddle process that answers with given outputs, and keeps what it was given."""

    def __init__(self, inputs, outputs):
        self.inputs, self.outputs = inputs, outputs

    def load_program(self, *_, **__):
        return self.inputs

    def run(self, given, **_):
        self.given = given
        return {str(place): output for place, output in enumerate(self.outputs)}


def program(card, inputs, outputs):
    """An exported program with the card of converted weights."""
    described = SimpleNamespace(outputs=[str(n) for n in range(len(outputs))])
    export = SimpleNamespace(program=described, weights_file=None)
    session = Session(inputs, outputs)
    source = SimpleNamespace(path="x", export=export)
    return ExportedProgram(session, card["task"], source, ArtefactCard.from_dict(card)), session


def proved(task, paddle, torch, image):
    runtimes = Runtimes(READERS[task](paddle), READERS[task](torch), thing=THINGS[task])
    (result,) = prove_pages(runtimes, [Page(Path("a.png"), 1, 1, image)], Limits())
    return result


def table_outputs(rows):
    found = DrawnStructure(rows)(np.zeros((1, 3, 488, 488)))
    return [found["loc_preds"], found["structure_probs"]]


def test_tables():
    image = draw(ROWS)
    same, _ = program(CARD, ["x"], table_outputs(ROWS))
    result = proved("table", same, DrawnStructure(ROWS), image)
    assert (result.status, result.lines) == ("passed", (4, 4))
    assert result.line.startswith("a.png: 4 items, corners within 0.00 pixels")
    other, _ = program(CARD, ["x"], table_outputs(OTHER))
    result = proved("table", other, DrawnStructure(ROWS), image)
    assert result.status == "failed"
    assert 'colspan="2"' in result.message
    assert "row 0, column 1, 1 x 1" in result.message
    assert result.picture


def rtdetr(boxes, labels):
    """The output of RT-DETR for boxes, each centre, width and height, with one label each."""
    logits = np.full((1, len(boxes), 2), -9, np.float32)
    logits[0, np.arange(len(boxes)), labels] = 2
    outputs = {"boxes": np.array([boxes], np.float32), "logits": logits}

    def network(_):
        return outputs

    network.card = LAYOUT
    return network


def test_regions_of_a_program_with_suppression():
    score = 1 / (1 + np.exp(-2.0))
    rows = np.array([[0, score, 20, 60, 80, 140], [1, score, 10, 160, 90, 190]], np.float32)
    paddle, session = program(
        LAYOUT, ["im_shape", "image", "scale_factor"], [rows, np.array([2], np.int32)]
    )
    torch = rtdetr([[0.5, 0.5, 0.6, 0.4], [0.5, 0.875, 0.8, 0.15]], [0, 1])
    page = np.full((200, 100, 3), 255, np.uint8)
    result = proved("layout", paddle, torch, page)
    assert (result.status, result.lines) == ("passed", (2, 2))
    assert session.given["image"].shape == (1, 3, 800, 608)
    assert session.given["im_shape"].tolist() == [[800, 608]]
    assert np.allclose(session.given["scale_factor"], [[4, 6.08]])
    relabelled = rtdetr([[0.5, 0.5, 0.6, 0.4], [0.5, 0.875, 0.8, 0.15]], [0, 0])
    result = proved("layout", paddle, relabelled, page)
    assert "'table' in Paddle, 'text' in PyTorch" in result.message
    missing = rtdetr([[0.5, 0.5, 0.6, 0.4]], [0])
    assert "only Paddle has 'table'" in proved("layout", paddle, missing, page).message


def test_regions_of_a_program_without_suppression():
    sizes = [(100, 76), (50, 38), (25, 19), (13, 10)]
    scores = [np.zeros((1, rows * columns, 2), np.float32) for rows, columns in sizes]
    scores[0][0, 100, 1] = 0.9
    distances = [np.zeros((1, rows * columns, 32), np.float32) for rows, columns in sizes]
    names = [f"{kind}.{n}" for kind in ("scores", "distances") for n in range(4)]

    def torch(_):
        return dict(zip(names, [*scores, *distances], strict=True))

    torch.card = LAYOUT
    paddle, _ = program(LAYOUT, ["image"], [*scores, *distances])
    result = proved("layout", paddle, torch, np.zeros((800, 608, 3), np.uint8))
    assert (result.status, result.lines) == ("passed", (1, 1))


def test_flat_pages():
    page = np.random.RandomState(0).randint(0, 256, (TILE + 9, 2 * TILE, 3), np.uint8)
    flat = page.transpose(2, 0, 1)[np.newaxis].astype(np.float32) / 255
    paddle, _ = program({"task": "unwarp"}, ["image"], [flat])
    result = proved("unwarp", paddle, lambda batch: batch, page)
    assert (result.status, result.lines) == ("passed", (4, 4))
    darker = flat.copy()
    darker[..., :TILE, TILE:] *= 0.98
    paddle, _ = program({"task": "unwarp"}, ["image"], [darker])
    result = proved("unwarp", paddle, lambda batch: batch, page)
    assert result.status == "failed"
    assert [entry["line"] for entry in result.differing] == [2]


def test_programs_of_another_kind():
    paddle, _ = program(CARD, ["x"], [np.zeros((1, 2))])
    with pytest.raises(SourceError, match="takes x and has 1 outputs, so it is none of the task"):
        paddle(np.zeros((1, 3, 8, 8), np.float32))
    with pytest.raises(SourceError, match="holds no exported program"):
        ExportedProgram(None, "layout", SimpleNamespace(path="x", export=None), ArtefactCard())


@pytest.mark.parametrize(
    "words",
    [
        ["--layout", "x.pth"],
        ["--layout", "x.pth", "--paddle-table", "x"],
        ["--det", "x.pth", "--paddle-det", "x"],
        ["--table", "x.pth", "--paddle-table", "x", "--unwarp", "y.pth", "--paddle-unwarp", "y"],
        [],
    ],
)
def test_networks_that_are_not_proved_together(words, capsys):
    assert main(["prove", *words, "--images", "a.png"]) == 2
    assert "give" in capsys.readouterr().err
