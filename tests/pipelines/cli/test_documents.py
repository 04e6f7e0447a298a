"""`python -m pipelines layout`, `table` and `unwarp`, with networks that know their pages."""

from __future__ import annotations

import json

import cv2
import numpy as np
import openpyxl
import pytest

from pipelines.io.images import read_image
from tests.support.cli_runs import run
from tests.support.drawn_tables import Cell, DrawnStructure, draw, html_of, reader

__all__ = ["run"]  # fixtures

ROWS = [
    [Cell("Region", rows=2), Cell("Sales", columns=2)],
    [Cell("=1+2"), Cell("@SUM(A1)")],
    [Cell("-5"), Cell("+7"), Cell("a < b")],
]


class Layout:
    """RT-DETR that finds a title above a table, and something doubtful."""

    card = {"task": "layout", "labels": ["doc_title", "table"], "input": {"color": "RGB"}}

    def __call__(self, _):
        boxes = [[0.5, 0.1, 0.8, 0.1], [0.5, 0.5, 0.5, 0.4], [0.5, 0.9, 0.1, 0.1]]
        logits = [[3, -9], [-9, 2], [0.2, -9]]
        return {"boxes": np.array([boxes], "f"), "logits": np.array([logits], "f")}


@pytest.fixture
def page(tmp_path):
    cv2.imwrite(str(tmp_path / "page.png"), np.full((200, 100, 3), 200, np.uint8))
    return tmp_path / "page.png"


@pytest.fixture
def table(tmp_path):
    cv2.imwrite(str(tmp_path / "table.png"), draw(ROWS))
    return tmp_path / "table.png"


@pytest.fixture
def with_network(monkeypatch):
    """Put a network in the place of the weights."""

    def with_network(network):
        monkeypatch.setattr("pipelines.predictor.as_network", lambda *_, **__: network)

    return with_network


def test_regions(run, with_network, page, tmp_path):
    with_network(Layout())
    words = ("layout", page, "--weights", "layout.pth")
    done = run(*words)
    assert (done.code, done.err) == (0, "")
    title, table, other = done.out.splitlines()
    assert title == "doc_title 10,10,90,10,90,30,10,30"
    assert table == "table 25,60,75,60,75,140,25,140"
    assert other.startswith("doc_title 45,170,")
    assert len(run(*words, "--threshold", "0.6").out.splitlines()) == 2
    (read,) = json.loads(run(*words, "--format", "json").out)["pages"]
    assert [region["label"] for region in read["regions"]] == ["doc_title", "table", "doc_title"]
    assert read["regions"][1]["box"] == [[25, 60], [75, 60], [75, 140], [25, 140]]
    rows = run(*words, "--format", "tsv").out.splitlines()
    assert rows[0].endswith("height\tlabel\tscore")
    assert rows[1].endswith("doc_title\t0.9526")
    assert run(*words, "--out", tmp_path / "out", "--visualize").code == 0
    drawn = read_image(tmp_path / "out/page.page1.jpg").astype(int)
    assert drawn.shape == (200, 100, 3)
    assert abs(drawn[150, 50] - 200).max() < 10  # between the regions
    assert abs(drawn[120, 50] - 200).max() > 20  # within the table
    assert abs(drawn[120, 50] - drawn[25, 30]).max() > 10  # titles have another colour


def test_regions_within_others(run, with_network, page):
    class Nested(Layout):
        def __call__(self, _):
            boxes = np.array([[[0.5, 0.5, 0.8, 0.8], [0.5, 0.5, 0.2, 0.2]]], "f")
            return {"boxes": boxes, "logits": np.array([[[3, -9], [-9, 3]]], "f")}

    with_network(Nested())
    words = ("layout", page, "--weights", "layout.pth")
    assert len(run(*words).out.splitlines()) == 2
    assert run(*words, "--merge", "large").out.startswith("doc_title ")
    assert run(*words, "--merge", "small").out.startswith("table ")


@pytest.fixture
def recognize(run, with_network, table, monkeypatch):
    with_network(DrawnStructure(ROWS))
    monkeypatch.setattr("pipelines.cli.table.OCR", lambda *_, **__: reader(ROWS))
    ocr = ("--det", "det.pth", "--rec", "rec.pth")
    return lambda *words: run("table", table, "--weights", "table.pth", *ocr, *words)


def test_a_table_as_html(recognize):
    done = recognize()
    assert (done.code, done.err) == (0, "")
    assert html_of(ROWS)[len("<html><body>") : -len("</body></html>")] in done.out
    assert "<title>table.png</title>" in done.out
    assert "<td>a &lt; b</td>" in done.out


def test_a_table_as_json(recognize):
    (read,) = json.loads(recognize("--format", "json").out)["pages"][0]["tables"]
    assert read["html"] == html_of(ROWS)
    region = read["cells"][0]
    assert (region["text"], region["row_span"], region["column_span"]) == ("Region", 2, 1)
    assert region["box"] == [[10, 10], [100, 10], [100, 90], [10, 90]]


def test_a_table_in_excel(recognize, tmp_path):
    assert recognize("--format", "xlsx", "--out", tmp_path / "out", "--visualize").code == 0
    book = openpyxl.load_workbook(tmp_path / "out/table.xlsx")
    assert book.sheetnames == ["Page 1"]
    sheet = book["Page 1"]
    assert {str(part) for part in sheet.merged_cells.ranges} == {"A1:A2", "B1:C1"}
    expected = {"A1": "Region", "B1": "Sales", "B2": "=1+2", "C2": "@SUM(A1)"}
    expected |= {"A3": "-5", "B3": "+7", "C3": "a < b"}
    for place, text in expected.items():
        assert sheet[place].value == text
        assert sheet[place].data_type == "s"  # neither a formula nor a number
        assert sheet[place].quotePrefix
    assert (tmp_path / "out/table.page1.jpg").is_file()


def test_excel_takes_no_control_characters(recognize, with_network, table, monkeypatch, tmp_path):
    rows = [[Cell("a\x00b\x0b"), Cell("x" * 40_000)]]
    monkeypatch.setattr("pipelines.cli.table.OCR", lambda *_, **__: reader(rows))
    with_network(DrawnStructure(rows))
    cv2.imwrite(str(table), draw(rows))
    assert recognize("--format", "xlsx", "--out", tmp_path / "out").code == 0
    sheet = openpyxl.load_workbook(tmp_path / "out/table.xlsx").active
    assert sheet["A1"].value == "ab"
    assert len(sheet["B1"].value) == 32_767


def test_options_that_do_not_go_together(run, table, recognize, monkeypatch, tmp_path):
    done = run("table", table, "--weights", "table.pth", "--det", "det.pth")
    assert (done.code, "give both, or neither" in done.err) == (2, True)
    done = recognize("--format", "xlsx")
    assert (done.code, "--format xlsx writes files" in done.err) == (2, True)
    monkeypatch.setattr("pipelines.cli.result_writer.find_spec", lambda _: None)
    done = recognize("--format", "xlsx", "--out", tmp_path)
    assert (done.code, "pip install paddleocr-to-torch[excel]" in done.err) == (2, True)


@pytest.fixture
def tables(run, monkeypatch, tmp_path):
    """A page with two tables, and the command that finds and recognises them."""
    page = np.full((600, 400, 3), 255, np.uint8)
    image = draw(ROWS)
    height, width = image.shape[:2]
    for top in (30, 300):
        page[top : top + height, 40 : 40 + width] = image
    cv2.imwrite(str(tmp_path / "page.png"), page)

    class TwoTables:
        card = {"task": "layout", "labels": ["Text", "Table"]}

        def __call__(self, _):
            centres = np.array([[40 + width / 2, top + height / 2] for top in (300, 30, 450)])
            boxes = np.concatenate([centres, np.full((3, 2), [width, height])], 1)
            boxes /= [400, 600, 400, 600]
            logits = np.array([[-9, 3], [-9, 2], [3, -9]])
            return {"boxes": boxes[None].astype("f"), "logits": logits[None].astype("f")}

    def network(source, *_, **__):
        return {"layout.pth": TwoTables, "table.pth": lambda: DrawnStructure(ROWS)}[str(source)]()

    monkeypatch.setattr("pipelines.predictor.as_network", network)
    words = ("--weights", "table.pth", "--layout", "layout.pth")
    return lambda *more: run("table", tmp_path / "page.png", *words, *more)


def test_tables_of_a_page(tables, tmp_path):
    done = tables()
    assert (done.code, done.err) == (0, "")
    assert done.out.count("<table>") == 2
    right, bottom = 40 + draw(ROWS).shape[1], 30 + draw(ROWS).shape[0]
    assert f"<p>Page 1, table 1: left 40, top 30, right {right}, bottom {bottom}</p>" in done.out
    first, second = json.loads(tables("--format", "json").out)["pages"][0]["tables"]
    assert (first["box"][0], second["box"][0]) == ([40, 30], [40, 300])
    assert np.allclose(second["cells"][0]["box"][0], [50, 310], atol=1.1)
    assert tables("--format", "xlsx", "--out", tmp_path / "out", "--visualize").code == 0
    book = openpyxl.load_workbook(tmp_path / "out/page.xlsx")
    assert book.sheetnames == ["Page 1, table 1", "Page 1, table 2"]
    assert "left 40, top 300" in book["Page 1, table 2"].oddHeader.center.text


def test_a_layout_without_tables(run, with_network, table):
    class Regions(Layout):
        card = {"task": "layout", "labels": ["doc_title", "text"]}

    with_network(Regions())
    done = run("table", table, "--weights", "table.pth", "--layout", "layout.pth")
    assert (done.code, "--layout finds no tables, its labels are" in done.err) == (2, True)


def test_networks_of_tables_that_are_missing(run, table):
    done = run("table", table)
    assert (done.code, "--weights or --cells is needed" in done.err) == (2, True)
    done = run("table", table, "--weights", "x.pth", "--wireless-weights", "y.pth")
    assert (done.code, "need --classifier" in done.err) == (2, True)


def test_a_table_without_ocr(run, with_network, table):
    with_network(DrawnStructure(ROWS))
    done = run("table", table, "--weights", "table.pth")
    assert '<td rowspan="2"></td>' in done.out


def test_flat_pages(run, with_network, page, tmp_path):
    with_network(lambda batch: 1 - batch)
    done = run("unwarp", page, "--weights", "uvdoc.pth", "--out", tmp_path / "out")
    assert (done.code, done.err) == (0, "")
    flat = read_image(tmp_path / "out/page.png")
    assert flat.shape == (200, 100, 3)
    assert set(np.unique(flat)) <= {54, 55}
