"""Table recognition: cells, spans, texts and HTML of drawn tables."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest

from pipelines import TableRecognizer
from pipelines.table.grid import LARGEST_SPAN, grid_cells
from pipelines.table.matching import table_html
from pipelines.table.networks import StructureNetwork
from schemas.processing import SettingsError
from tests.support.drawn_tables import CARD, Cell, DrawnStructure, draw, html_of, placed, reader

TABLES = {
    "plain": [[Cell("Name"), Cell("Price")], [Cell("Tea"), Cell("1.20")]],
    "wide head": [[Cell("Sales", columns=3)], [Cell("a"), Cell("b"), Cell("c")]],
    "tall head": [
        [Cell("Region", rows=2), Cell("2023", columns=2)],
        [Cell("Units"), Cell("Value")],
        [Cell("North"), Cell("14"), Cell("< 3 & 'x'")],
    ],
    "groups": [
        [Cell("Fruit", rows=2), Cell("Pear"), Cell("1")],
        [Cell("Plum"), Cell("")],
        [Cell("Sum", columns=2), Cell("=1+2")],
    ],
}


@pytest.mark.parametrize("name", TABLES)
def test_a_drawn_table(name):
    rows = TABLES[name]
    table = TableRecognizer(DrawnStructure(rows), reader(rows))(draw(rows))
    assert table.html == html_of(rows)
    assert table.score == pytest.approx(0.9, abs=0.02)
    for cell, drawn in zip(table.cells, placed(rows), strict=True):
        assert (cell.row, cell.column) == (drawn.row, drawn.column)
        assert (cell.row_span, cell.column_span) == (drawn.cell.rows, drawn.cell.columns)
        assert cell.text == drawn.cell.text
        left, top, right, bottom = drawn.box
        corners = [[left, top], [right, top], [right, bottom], [left, bottom]]
        assert cell.box.dtype == np.float32
        assert np.allclose(cell.box, corners, atol=0.01)
    assert json.loads(json.dumps(table.to_dict()))["cells"][0]["text"] == rows[0][0].text


def test_without_ocr_cells_have_no_text():
    rows = TABLES["plain"]
    table = TableRecognizer(DrawnStructure(rows))(draw(rows))
    assert [cell.text for cell in table.cells] == [""] * 4
    assert "<td></td>" in table.html


def test_a_text_above_the_table_is_no_part_of_it():
    rows = TABLES["plain"]
    ocr = reader(rows)
    caption = np.array([[10, 0], [90, 0], [90, 6], [10, 6]], np.float32)
    boxes = ocr.detector(None)
    ocr.detector = lambda _: [caption, *boxes]
    recognize = ocr.recognizer
    ocr.recognizer = lambda lines: [recognize(lines[1:])[0], *recognize(lines[1:])]
    assert TableRecognizer(DrawnStructure(rows), ocr)(draw(rows)).html == html_of(rows)


def places(tokens):
    return [(c.row, c.column, c.row_span, c.column_span) for c in grid_cells(tokens)]


def test_cells_never_overlap_nor_leave_the_table():
    wide = ["<td", ' colspan="3"', ">", "</td>"]
    tall = ["<td", ' rowspan="9"', ">", "</td>"]
    tokens = ["<tr>", "<td></td>", *tall, "</tr>", "<tr>", *wide, "<td></td>", "</tr>"]
    assert places(tokens) == [(0, 0, 1, 1), (0, 1, 2, 1), (1, 0, 1, 1), (1, 2, 1, 1)]


def test_broken_structures_have_cells_too():
    assert places([]) == []
    assert places(["<td></td>", "</td>", "<tr>", "<td", ">"]) == [(0, 0, 1, 1), (0, 1, 1, 1)]
    huge = ["<tr>", "<td", ' colspan="123456789"', ' rowspan="999999999"', ">", "</td>"]
    assert places(huge) == [(0, 0, 1, LARGEST_SPAN)]


def test_empty_cells_of_tablemaster():
    tokens = ["<tr>", "<td></td>", "<eb></eb>", "<eb5></eb5>", "<td></td>", "</tr>"]
    assert [cell.index for cell in grid_cells(tokens)] == [0, None, None, 1]
    html = table_html(tokens, {1: "x"})
    assert "<tr><td></td><td></td><td><b></b></td><td>x</td></tr>" in html


class MasterNetwork:
    """TableMASTER that finds a cell, an empty cell without a box, and another cell."""

    tokens = ("<tr>", "<td></td>", "<eb></eb>", "<td></td>", "</tr>")
    card = {
        "task": "table",
        "pipeline": {"decoder": "TableMasterLabelDecode", "max_len": 100, "pad_first": True},
        "dictionary": {"characters": ["<tr>", "</tr>", "<td></td>", "<eb></eb>"]},
    }

    def __call__(self, batch):
        names = [*self.card["dictionary"]["characters"], "<UKN>", "<SOS>", "<EOS>", "<PAD>"]
        steps = [names.index(token) for token in (*self.tokens, "<EOS>")]
        boxes = np.zeros((1, len(steps), 4), np.float32)
        boxes[0, [1, 3]] = [[0.1, 0.1, 0.2, 0.2], [0.8, 0.1, 0.2, 0.2]]  # centre, width, height
        assert batch[0, 0, -1, -1] == batch[0, 0].min() < 0  # the padding is black, then normalised
        return {"structure_probs": np.eye(8, dtype=np.float32)[steps][None], "loc_preds": boxes}


def test_a_table_of_tablemaster():
    boxes = [[12, 2], [18, 2], [18, 18], [12, 18]], [[150, 4], [170, 4], [170, 30], [150, 30]]
    ocr = SimpleNamespace(
        detector=lambda _: [np.array(box, np.float32) for box in boxes],
        recognizer=lambda lines: [SimpleNamespace(text=f"<{n}>") for n in range(len(lines))],
    )
    table = TableRecognizer(MasterNetwork(), ocr, mean=[0.5] * 3)(np.full((60, 200, 3), 9, "uint8"))
    cells = "<td>&lt;0&gt;</td><td></td><td>&lt;1&gt;</td>"
    assert table.html == f"<html><body><table><tr>{cells}</tr></table></body></html>"
    first, empty, last = table.cells
    assert np.allclose(first.box, [[0, 0], [40, 0], [40, 40], [0, 40]], atol=0.01)
    assert (empty.box, empty.text, empty.column) == (None, "", 1)
    assert (last.text, last.column) == ("<1>", 2)


def test_a_network_of_another_kind():
    class Scores:
        card = CARD

        def __call__(self, _):
            return np.zeros((1, 5, 7), np.float32)

    recognize = TableRecognizer(Scores())
    with pytest.raises(ValueError, match="structure_probs of shape"):
        recognize(np.zeros((20, 30, 3), np.uint8))


@pytest.mark.parametrize(
    ("card", "message"),
    [({"task": "det"}, "its task is det"), ({"task": "table"}, "has no dictionary")],
)
def test_cards_without_what_is_needed(card, message):
    network = DrawnStructure(TABLES["plain"])
    network.card = card
    with pytest.raises(SettingsError, match=message):
        TableRecognizer(network)


def test_settings_can_be_changed():
    network = DrawnStructure(TABLES["plain"])
    assert StructureNetwork(network, max_len=512).settings.max_len == 512
    TableRecognizer(network, max_len=512)
    with pytest.raises(SettingsError, match="there is no setting side"):
        TableRecognizer(network, side=512)
