"""Whole documents with two runtimes: what is compared, and which networks go together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from converter.cli.main import main
from converter.cli.prove import DOCUMENT, TASKS
from converter.end_to_end.compare import Limits
from converter.end_to_end.documents import ROLES, document_reader
from converter.end_to_end.pages import prove_pages
from converter.end_to_end.runtimes import Runtimes
from converter.end_to_end.structure import ExportedProgram
from pipelines.documents.roles import ROLES as ALL_ROLES
from pipelines.io.files import Page
from schemas.artefact import ArtefactCard
from tests.converter.end_to_end.test_structure import Session
from tests.support.page_networks import DETECTOR, READER, layout, with_card
from tests.support.pages import bar_page, name_colour

UPPER, LOWER = (0.02, 0.02, 0.98, 0.4), (0.02, 0.42, 0.98, 0.98)
NETWORKS = {"layout": layout(("text", UPPER), ("seal", LOWER)), "det": DETECTOR, "rec": READER}


def proved(**others):
    """A page with the networks on one side, and others instead of some on the other side."""
    readers = [document_reader({**NETWORKS, **extra}) for extra in (others, {})]
    runtimes = Runtimes(*readers, thing="block")
    (result,) = prove_pages(runtimes, [Page(Path("a.png"), 1, 1, bar_page())], Limits())
    return result


def test_the_same_networks():
    result = proved()
    assert (result.status, result.lines, result.thing) == ("passed", (2, 2), "block")


def nameless(batch):
    """A recogniser that takes all bars for green."""
    return name_colour(batch)[:1].repeat(len(batch), 0)


@pytest.mark.parametrize(
    ("other", "fault"),
    [
        ({"rec": with_card(nameless, **READER.card)}, "in PyTorch"),
        ({"layout": layout(("text", UPPER), ("table", LOWER))}, "table: "),
        ({"layout": layout(("text", UPPER))}, "only PyTorch has"),
        ({"layout": layout(("text", (0.02, 0.02, 0.9, 0.4)), ("seal", LOWER))}, "pixels apart"),
    ],
    ids=["text", "label", "block", "box"],
)
def test_mistakes_are_seen(other, fault):
    result = proved(**other)
    assert result.status == "failed"
    assert fault in result.message


def test_a_program_that_suppresses_boxes_itself():
    rows = np.array([[0, 0.98, 12, 8, 588, 160], [1, 0.98, 12, 168, 588, 392]], np.float32)
    described = type("Program", (), {"outputs": ["0"]})
    export = type("Export", (), {"program": described, "weights_file": None})
    session = Session(["image", "scale_factor"], [rows])
    card = ArtefactCard.from_dict(NETWORKS["layout"].card)
    program = ExportedProgram(session, "layout", type("S", (), {"export": export}), card)
    assert proved(layout=program).lines == (2, 2)
    assert session.given["scale_factor"].shape == (1, 2)


def test_networks_that_make_a_document(capsys):
    assert set(ROLES) == set(TASKS)
    assert set(ROLES.values()) <= set(ALL_ROLES)
    words = ["--images", "a.png"]
    for task in DOCUMENT:
        words += [f"--{task}", "x.pth", f"--paddle-{task}", "x"]
    assert main(["prove", *words]) == 3  # they are not there
    assert "x" in capsys.readouterr().err
