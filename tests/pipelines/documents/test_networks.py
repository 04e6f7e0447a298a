"""Pages parsed with networks behind the real predictors: each role, on a page of coloured bars."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.documents import steps
from pipelines.documents.networks import load_networks
from pipelines.documents.page_data import Region
from pipelines.documents.parser import PageParser
from pipelines.documents.settings import DEFAULT, PRESETS
from pipelines.documents.types import Figure, Formula, Page
from pipelines.io.images import ImageError
from pipelines.table.results import Table
from schemas.processing import SettingsError
from tests.support.drawn_tables import Cell, DrawnStructure, draw
from tests.support.page_networks import DETECTOR, READER, WHOLE, layout, with_card
from tests.support.pages import bar_page


def parse(image, settings=DEFAULT, **networks) -> Page:
    return PageParser(load_networks(networks, settings), settings)(image, "page.png", 1).page


def words(page):
    return [block.text.split() for block in page.blocks]


def test_lines_of_a_block():
    page = parse(bar_page(), layout=layout(("text", WHOLE)), detection=DETECTOR, recognition=READER)
    assert words(page) == [["green", "red", "blue"]]


def test_a_page_without_a_layout_network():
    page = parse(bar_page(), detection=DETECTOR, recognition=READER)
    assert sorted(words(page)) == [["blue"], ["green"], ["red"]]


@pytest.mark.parametrize("angle", [90, 180, 270])
def test_a_turned_page(angle):
    turned = np.ascontiguousarray(np.rot90(bar_page(), -angle // 90))

    def classify(batch):
        answer = np.zeros((len(batch), 4), np.float32)
        answer[:, angle // 90] = 0.99
        return answer

    classifier = with_card(classify, task="cls", labels=["0", "90", "180", "270"])
    given = {"layout": layout(("text", WHOLE)), "detection": DETECTOR, "recognition": READER}
    page = parse(turned, orientation=classifier, **given)
    assert (page.angle, page.width, page.height) == (angle, 600, 400)
    assert words(page) == [["green", "red", "blue"]]
    as_it_lies = parse(turned, PRESETS["pp-structurev3"], orientation=classifier, **given)
    assert as_it_lies.angle == 0


def test_a_bent_page():
    flat = with_card(lambda batch: batch[:, :, ::-1].copy(), task="unwarp")
    upside_down = bar_page()[::-1].copy()
    page = parse(upside_down, unwarping=flat, detection=DETECTOR, recognition=READER)
    assert [block.box for block in page.blocks] == [
        block.box for block in parse(bar_page(), detection=DETECTOR, recognition=READER).blocks
    ]


def test_seals_are_read_with_their_own_detector():
    seal = (0.45, 0.08, 0.9, 0.26)  # the red bar
    given = {"layout": layout(("seal", seal)), "detection": DETECTOR, "recognition": READER}
    page = parse(bar_page(), seal=DETECTOR, **given)
    (block,) = (block for block in page.blocks if block.label == "seal")
    assert isinstance(block.content, Figure)
    assert block.text == "red"
    assert parse(bar_page(), PRESETS["pp-structurev3"], seal=DETECTOR, **given).blocks[0].text == ""


def test_formulas_are_read_and_painted_over():
    image = bar_page()
    box = (295.0, 45.0, 505.0, 85.0)
    region = Region("formula", box)
    seen = []

    def read(crop):
        seen.append(crop.shape)
        return "x^2"

    formulas = steps.read_formulas(image, [region, Region("text", (0, 0, 9, 9))], read)
    assert formulas == [(region, "x^2")]
    assert seen == [(40, 210, 3)]
    white = steps.without_formulas(image, formulas)
    assert (white[45:85, 295:505] == 255).all()
    assert (white[:, :295] == image[:, :295]).all()
    assert (image[50:80, 300:500] != 255).any()


def test_a_formula_of_one_colour_stays_a_picture():
    def read(_):
        raise ImageError("of one colour")

    assert steps.read_formulas(bar_page(), [Region("formula", (0, 0, 9, 9))], read) == []


def test_formulas_and_tables_of_a_page():
    rows = [[Cell("a"), Cell("b")], [Cell("c"), Cell("d")]]
    table = draw(rows)
    image = np.full((table.shape[0] + 200, table.shape[1] + 100, 3), 255, np.uint8)
    image[150 : 150 + table.shape[0], 50 : 50 + table.shape[1]] = table
    height, width = image.shape[:2]
    place = (50 / width, 150 / height, (50 + table.shape[1]) / width, 1 - 50 / height)
    formula = (0.1, 10 / height, 0.5, 60 / height)
    networks = load_networks(
        {
            "layout": layout(("table", place), ("formula", formula)),
            "table": DrawnStructure(rows),
        },
        DEFAULT,
    )
    page = PageParser(networks)(image, "page.png", 1).page
    first, second = page.blocks
    assert isinstance(first.content, Figure)  # without a network that reads formulas
    assert isinstance(second.content, Table)
    assert len(second.content.cells) == 4
    assert not isinstance(first.content, Formula)


def test_networks_of_other_kinds_are_refused():
    with pytest.raises(SettingsError, match="is not"):
        load_networks({"layout": READER}, DEFAULT)
    lines = with_card(lambda batch: np.zeros((len(batch), 2), "f"), task="cls", labels=["0", "180"])
    with pytest.raises(SettingsError, match="orientation= turns pages"):
        load_networks({"orientation": lines}, DEFAULT)


def test_roles_that_the_settings_leave_out_are_not_loaded():
    given = {"unwarping": with_card(print, task="unwarp"), "seal": DETECTOR, "recognition": READER}
    networks = load_networks(given, PRESETS["pp-structurev3"])
    assert (networks.unwarper, networks.seals, networks.ocr) == (None, None, None)


def test_a_table_without_pixels_stays_as_it_is():
    region = Region("table", (5.2, 5.2, 5.8, 40.0))
    steps.recognize_tables(bar_page(), [region], [], [], object())
    assert region.content is None


def wired_cells():
    return layout(("cell", WHOLE), labels=("cell",))


def test_wired_tables_have_networks_of_their_own():
    rows = [[Cell("a")]]
    structure = DrawnStructure(rows)
    kinds = with_card(
        lambda batch: np.array([[0.9, 0.1]] * len(batch), "f"),
        task="cls", labels=["wired_table", "wireless_table"],
    )  # fmt: skip
    given = {
        "table": structure, "wired_table": structure, "wired_cells": wired_cells(),
        "table_classifier": kinds,
    }  # fmt: skip
    tables = load_networks(given, DEFAULT).tables
    (table,) = tables.on_page(draw(rows), [np.array([[0, 0], [109, 0], [109, 59], [0, 59]], "f")])
    assert table.kind == "wired"
    assert load_networks(given, PRESETS["pp-structure"]).tables is not None
    assert load_networks({"wired_cells": wired_cells()}, DEFAULT).tables is not None
    assert load_networks({"wired_table": structure}, DEFAULT).tables is None
