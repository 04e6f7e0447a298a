"""Tables on pages, detected cells, kinds of tables, turned tables."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from pipelines import TableRecognizer
from pipelines.geometry import rotate
from schemas.processing import SettingsError
from tests.support.drawn_tables import Cell, DrawnStructure, draw, html_of, placed

ROWS = [
    [Cell("Region", rows=2), Cell("2023", columns=2)],
    [Cell("Units"), Cell("Value")],
    [Cell("North"), Cell("14"), Cell("< 3")],
]
WIDE = [[Cell("Sales", columns=2)], [Cell("a"), Cell("b")]]
INPUT = {"height": 64, "width": 64, "mean": [0, 0, 0], "std": [1, 1, 1]}


class DrawnCells:
    """A detector of cells that finds those of a drawn table, and one of them twice."""

    card = {"task": "layout", "labels": ["cell"], "input": INPUT}

    def __init__(self, rows):
        height, width = draw(rows).shape[:2]
        boxes = np.array([drawn.box for drawn in placed(rows)]) / [width, height, width, height]
        boxes = np.concatenate([boxes, boxes[:1]])
        centres, sides = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
        centred = np.concatenate([centres, sides], 1)
        logits = np.full((1, len(boxes), 1), 3, np.float32)
        logits[0, -1] = 1
        self._found = {"boxes": centred[None].astype(np.float32), "logits": logits}

    def __call__(self, _):
        return self._found


class Kinds:
    """A classifier that takes dark images for wireless tables."""

    card = {"task": "cls", "labels": ["wired_table", "wireless_table"], "input": INPUT}

    def __call__(self, batch):
        return np.eye(2, dtype=np.float32)[[int(batch.mean() < 0.3)]]


class Turned:
    """A classifier of orientation that sees whether the corner at the top left is grey."""

    card = {"task": "cls", "labels": ["0", "90", "180", "270"], "input": INPUT}
    card["pipeline"] = {"keep_ratio": False}

    def __call__(self, batch):
        corners = batch[0, 0, [0, 0, -1, -1], [0, -1, -1, 0]]  # clockwise from the top left
        return np.eye(4, dtype=np.float32)[[int(np.abs(corners - 0.5).argmin())]]


def lines_of(rows, x=0, y=0):
    """The lines of text in a drawn table, at a place of a page."""
    lines = []
    for drawn in placed(rows):
        left, top, right, bottom = drawn.box
        corners = [[left + 8, top + 8], [right - 8, top + 8], [right - 8, bottom - 8]]
        box = np.array([*corners, [left + 8, bottom - 8]], np.float32) + np.array([x, y])
        lines.append(SimpleNamespace(box=box, text=drawn.cell.text, score=1.0))
    return lines


def page_of(*tables):
    """A white page with drawn tables at their places, and these places."""
    page, boxes = np.full((500, 700, 3), 255, np.uint8), []
    for rows, x, y in tables:
        image = draw(rows)
        height, width = image.shape[:2]
        page[y : y + height, x : x + width] = image
        boxes.append(np.array([[x, y], [x + width, y], [x + width, y + height], [x, y + height]]))
    return page, boxes


@pytest.mark.parametrize("rules", ["paddleocr", "paddlex"])
def test_tables_of_a_page(rules):
    page, boxes = page_of((ROWS, 50, 40), (ROWS, 330, 250))
    lines = [*lines_of(ROWS, 50, 40), *lines_of(ROWS, 330, 250)]
    tables = TableRecognizer(DrawnStructure(ROWS), rules=rules).on_page(page, boxes, lines)
    assert [table.html for table in tables] == [html_of(ROWS)] * 2
    for table, (x, y) in zip(tables, [(50, 40), (330, 250)], strict=True):
        assert table.box.min(0).tolist() == [x, y]
        for cell, drawn in zip(table.cells, placed(ROWS), strict=True):
            left, top, right, bottom = drawn.box
            expected = np.array([[left, top], [right, top], [right, bottom], [left, bottom]])
            assert np.abs(cell.box - expected - [x, y]).max() <= 1


CONTENTS = {
    "empty cells": [
        [Cell("Step"), Cell("Ok"), Cell("Note")],
        [Cell("1"), Cell("yes"), Cell("")],
        [Cell("2"), Cell(""), Cell("late")],
    ],
    "groups": [
        [Cell("Fruit", rows=2), Cell("Apple"), Cell("30")],
        [Cell("Pear"), Cell("12")],
        [Cell("Vegetable", rows=3), Cell("Carrot"), Cell("8")],
        [Cell("Onion"), Cell("25")],
        [Cell("Leek"), Cell("4")],
    ],
    "total": [
        [Cell("Item"), Cell("Price"), Cell("Sum")],
        [Cell("Paper"), Cell("2.00"), Cell("20.00")],
        [Cell("Total", columns=2), Cell("26.00")],
    ],
    "long": [[Cell(f"{row}.{column}") for column in range(5)] for row in range(9)],
}


@pytest.mark.parametrize("rules", ["paddleocr", "paddlex", "cells"])
@pytest.mark.parametrize("name", CONTENTS)
def test_given_texts_are_all_in_their_cells(name, rules):
    rows = CONTENTS[name]
    page, boxes = page_of((rows, 30, 20))
    lines = [line for line in lines_of(rows, 30, 20) if line.text]
    networks = {"cells": DrawnCells(rows)} if rules == "cells" else {"rules": rules}
    (table,) = TableRecognizer(DrawnStructure(rows), **networks).on_page(page, boxes, lines)
    assert table.html == html_of(rows)


def test_texts_are_read_once_for_a_page():
    page, boxes = page_of((ROWS, 50, 40), (ROWS, 330, 250))
    calls = []

    def read(image):
        calls.append(image.shape)
        return [*lines_of(ROWS, 50, 40), *lines_of(ROWS, 330, 250)]

    recognize = TableRecognizer(DrawnStructure(ROWS), read, rules="paddlex")
    assert [table.html for table in recognize.on_page(page, boxes)] == [html_of(ROWS)] * 2
    assert calls == [page.shape]
    assert recognize.on_page(page, []) == []
    assert len(calls) == 1


@pytest.mark.parametrize("structure", [DrawnStructure(ROWS), None])
def test_detected_cells(structure):
    recognize = TableRecognizer(structure, cells=DrawnCells(ROWS))
    page, boxes = page_of((ROWS, 60, 80))
    (table,) = recognize.on_page(page, boxes, lines_of(ROWS, 60, 80))
    expected = html_of(ROWS)
    if structure is None:
        expected = expected.replace("<table>", "<table><tbody>")
        expected = expected.replace("</table>", "</tbody></table>")
    assert table.html == expected
    assert len(table.cells) == len(placed(ROWS))
    for cell, drawn in zip(table.cells, placed(ROWS), strict=True):
        assert np.allclose(cell.box[0], np.add(drawn.box[:2], [60, 80]), atol=0.01)
        assert cell.text == drawn.cell.text


def test_kinds_of_tables():
    structures = {"wired": DrawnStructure(ROWS), "wireless": DrawnStructure(WIDE)}
    recognize = TableRecognizer(structures, classifier=Kinds())
    wired, wireless = recognize(draw(ROWS)), recognize(draw(WIDE) // 8)
    assert (wired.kind, wireless.kind) == ("wired", "wireless")
    assert 'rowspan="2"' in wired.html
    assert 'rowspan="2"' not in wireless.html
    both = TableRecognizer(DrawnStructure(ROWS), classifier=Kinds())
    assert both(draw(ROWS) // 8).kind == "wireless"


@pytest.mark.parametrize("angle", [0, 90, 180, 270])
@pytest.mark.parametrize("rules", ["paddleocr", "paddlex"])
def test_turned_tables(angle, rules):
    image = draw(ROWS)
    image[:9, :9] = 128
    page = rotate(image, 360 - angle) if angle else image
    recognize = TableRecognizer(DrawnStructure(ROWS), orientation=Turned(), rules=rules)
    table = recognize(page)
    assert table.html == TableRecognizer(DrawnStructure(ROWS))(image).html
    # In the middle of the first cell, the page has the pixels of the first cell.
    x, y = table.cells[0].box.mean(0).round().astype(int)
    height, width = page.shape[:2]
    upright = {0: (x, y), 90: (y, width - x), 180: (width - x, height - y), 270: (height - y, x)}
    left, top, right, bottom = placed(ROWS)[0].box
    assert np.allclose(upright[angle], [(left + right) / 2, (top + bottom) / 2], atol=2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"structure": None}, "structure= or cells= is needed"),
        ({"structure": {"wired": DrawnStructure(ROWS)}}, "without it, one network"),
        (
            {"structure": {"wired": DrawnStructure(ROWS)}, "classifier": Kinds()},
            'a network for each of "wired" and "wireless"',
        ),
        ({"rules": "hancom"}, "rules is 'hancom', expected"),
        ({"rules": "paddleocr", "cells": DrawnCells(ROWS)}, "have no detected cells"),
        ({"orientation": Kinds()}, "wired_table"),
        ({"classifier": Turned()}, "needs wired_table and wireless_table"),
    ],
)
def test_networks_that_do_not_go_together(arguments, message):
    with pytest.raises(SettingsError, match=message):
        TableRecognizer(**{"structure": DrawnStructure(ROWS)} | arguments)


def test_a_detector_of_something_else(monkeypatch):
    monkeypatch.setattr(DrawnCells, "card", DrawnCells.card | {"labels": ["text"]})
    with pytest.raises(SettingsError, match="detects text, so it finds no cells"):
        TableRecognizer(None, cells=DrawnCells(ROWS))


def test_cells_with_a_structure_need_scikit_learn(monkeypatch):
    monkeypatch.setattr("pipelines.table.predictor.find_spec", lambda _: None)
    with pytest.raises(SettingsError, match=r"pip install paddleocr-to-torch\[cells\]"):
        TableRecognizer(DrawnStructure(ROWS), cells=DrawnCells(ROWS))


def test_a_place_outside_of_the_page():
    box = np.array([[900, 10], [950, 10], [950, 40], [900, 40]], np.float32)
    with pytest.raises(ValueError, match="holds no pixel of the page"):
        TableRecognizer(DrawnStructure(ROWS)).on_page(page_of()[0], [box])
