"""Documents against PaddleX's own PP-StructureV3 and PaddleOCR's own PP-Structure 2.

PaddleX's modules run in a child process without Paddle, with the same networks' results; blocks,
their order, their numbers, their texts and the Markdown have to be the same. Where the results are
better on purpose, a test of its own says so.
"""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from drawn.tables import table_of

from pipelines.documents.blocks import page_blocks
from pipelines.documents.levels import group_heights, levels_of
from pipelines.documents.order.halves import order_by_halves
from pipelines.documents.page_data import PageData, PageLines, Region
from pipelines.documents.page_tables import columns_fit, repeated_rows
from pipelines.documents.paragraphs import mark_paragraphs
from pipelines.documents.types import Block, Document, Figure, Page, Text
from pipelines.documents.writers.markdown import page_markdown
from pipelines.table.results import Table
from tests.oracle.paddleocr_source import load
from tests.support.random_pages import Maker

CHILD = Path(__file__).parents[1] / "support" / "paddlex_pages_child.py"
SEEDS = (
    *range(24),
    *(43, 77, 80, 90, 101, 120, 136, 150, 177, 204, 244, 309, 344, 352, 433, 439),
)
"""Some pages, and some on which a change of the constants of the order shows."""


def paddlex(pages, folder):
    """What PaddleX makes of pages."""
    spec = find_spec("paddlex")
    if spec is None:
        pytest.fail("install it: pip install --no-deps paddlex==3.7.2")
    (folder / "pages.json").write_text(json.dumps(pages), encoding="utf-8")
    (package,) = spec.submodule_search_locations
    command = [sys.executable, str(CHILD), package, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads((folder / "results.json").read_text(encoding="utf-8"))


def ours(page):
    """What this project makes of a page."""
    height, width = page["size"]
    tables = iter(page["tables"])
    regions = [Region(r["label"], tuple(r["box"]), r["score"]) for r in page["regions"]]
    for region in regions:
        if region.label == "table":
            region.content = Table(next(tables), (), 1.0)
    boxes = np.array([line["box"] for line in page["lines"]], np.int16).reshape(-1, 4)
    lines = PageLines(boxes, [line["text"] for line in page["lines"]], [0.9] * len(boxes))
    for formula in page["formulas"]:
        lines.append(formula["box"], formula["latex"], 1.0, formula=True)
    image = np.full((height, width, 3), 255, np.uint8)
    data = PageData(
        image,
        regions,
        page["areas"],
        lines,
        lambda crop: (f"x{crop.shape[1]}y{crop.shape[0]}", 1),
        line_rules="paddlex",
    )
    blocks = page_blocks(data, lambda _, text: Figure("IMAGE", 1, 1, b"", text))
    return Page("page.png", 1, width, height, 0, tuple(blocks))


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """Random pages, PaddleX's results and ours."""
    pages = [Maker(seed).page().to_dict() for seed in SEEDS]
    theirs = paddlex(pages, tmp_path_factory.mktemp("paddlex"))
    return list(zip(pages, theirs, map(ours, pages), strict=True))


def test_blocks_and_order(compared):
    for _, theirs, page in compared:
        expected = [(b["label"], tuple(b["box"]), b["order"]) for b in theirs["blocks"]]
        assert [(b.label, b.box, b.order) for b in page.blocks] == expected
    assert sum(len(page.blocks) for *_, page in compared) > 400


def test_mistakes_are_seen(compared):
    theirs = [[tuple(b["box"]) for b in results["blocks"]] for _, results, _ in compared]
    by_rows = [
        [b.box for b in sorted(page.blocks, key=lambda block: (block.box[1], block.box[0]))]
        for *_, page in compared
    ]
    assert sum(one != other for one, other in zip(theirs, by_rows, strict=True)) > len(SEEDS) / 2


def test_texts(compared):
    for source, theirs, page in compared:
        for block, expected in zip(page.blocks, theirs["blocks"], strict=True):
            if block.label == "table" and len(source["tables"]) > 1:
                continue  # PaddleX takes the tables in their order, also where one is left out
            assert block.text.strip() == expected["text"].strip()


def test_markdown(compared):
    for source, theirs, page in compared:
        if len(source["tables"]) > 1:
            continue
        (marked,) = mark_paragraphs([page])
        markdown = page_markdown(Document((marked,)))
        assert plain(markdown) == plain(theirs["markdown"])


def plain(markdown):
    """Markdown without white space, without what is around tables, with one name of figures."""
    markdown = re.sub(r"(imgs|images)/[\w.-]*\.jpg|images/IMAGE", "IMAGE", markdown)
    for frame in ("<html><body>", "</body></html>"):
        markdown = markdown.replace(frame, "")
    return "".join(markdown.split())


# Results that differ on purpose, since they are better.


def block_of(label, box, text="", **values):
    return Block(label, box, Text((text,) if text else ()), **values)


def test_a_table_has_its_own_content(tmp_path):
    # PaddleX gives the tables of a page their content by their place in a list, in which those
    # that are left out afterwards still stand.
    tables = [f"<html><body><table><tr><td>{n}</td></tr></table></body></html>" for n in range(2)]
    boxes = [[10, 10, 90, 90], [10, 10, 200, 100]]
    regions = [{"label": "table", "box": box, "score": 0.9} for box in boxes]
    page = {"size": [200, 300], "regions": regions, "areas": [], "lines": [], "formulas": [],
            "tables": tables}  # fmt: skip
    (theirs,) = paddlex([page], tmp_path)
    assert theirs["blocks"][0]["text"] == tables[0]
    assert ours(page).blocks[0].text == tables[1]


def test_a_line_without_width_is_kept(tmp_path):
    # The XY cut finds lines by gaps in projections, where those without an extent do not appear.
    lines = [
        {"box": [20, 20, 20, 40], "text": "a"},
        {"box": [30, 60, 90, 70], "text": "b"},
        {"box": [150, 60, 190, 70], "text": "c"},
    ]
    page = {"size": [100, 200], "regions": [], "areas": [], "lines": lines, "formulas": [],
            "tables": []}  # fmt: skip
    (theirs,) = paddlex([page], tmp_path)
    assert [block["text"].strip() for block in theirs["blocks"]] == ["b", "c"]
    assert sorted(block.text.strip() for block in ours(page).blocks) == ["a", "b", "c"]


def test_a_line_that_ends_with_a_formula_is_read_once(tmp_path):
    # PaddleX keeps the whole line beside its part before the formula, if nothing is behind it.
    region = {"label": "text", "box": [10, 10, 200, 40], "score": 0.9}
    page = {"size": [60, 220], "regions": [region], "areas": [],
            "lines": [{"box": [12, 12, 190, 30], "text": "left"}],
            "formulas": [{"box": [150.0, 12.0, 190.0, 30.0], "latex": "x^2"}],
            "tables": []}  # fmt: skip
    (theirs,) = paddlex([page], tmp_path)
    assert re.findall(r"x\d+y18", theirs["blocks"][0]["text"]) == ["x137y18", "x178y18"]
    assert re.findall(r"x\d+y18", ours(page).blocks[0].text) == ["x137y18"]


def test_formulas_have_no_spaces_at_their_ends(tmp_path):
    page = Maker(0).page().to_dict() | {
        "regions": [{"label": "formula", "box": [10, 10, 100, 40], "score": 0.9}],
        "formulas": [{"box": [10, 10, 100, 40], "latex": "a+b"}],
        "tables": [],
        "areas": [],
        "lines": [],
    }
    (theirs,) = paddlex([page], tmp_path)
    assert theirs["blocks"][0]["text"] == "a+b "
    assert ours(page).blocks[0].text == "a+b"


def test_markdown_escapes_what_was_on_the_page(tmp_path):
    text = "*3* <b> #1 $5"
    page = {"size": [60, 220], "areas": [], "formulas": [], "tables": [],
            "regions": [{"label": "text", "box": [10, 10, 200, 40], "score": 0.9}],
            "lines": [{"box": [12, 12, 190, 30], "text": text}]}  # fmt: skip
    (theirs,) = paddlex([page], tmp_path)
    assert text in theirs["markdown"]
    assert page_markdown(Document((ours(page),))).strip() == r"\*3\* \<b> #1 \$5"


# PaddleX's other rules, module by module.


def test_levels_of_titles():
    judge = load("paddlex", "inference/pipelines/layout_parsing/title_level.py")
    rng = random.Random(1)
    starts = ("1 ", "1.2 ", "2.1.3 ", "(3) ", "IV. ", "A. ", "第二章", "一、", "", "", "12")
    words = ("Tides", "METHODS", "引言", "References: ", "of the sea")
    for _ in range(200):
        titles = []
        for _ in range(rng.choice([1, 3, 8])):
            # Of four heights at most, k-means has one solution wherever it starts.
            box = (10, 10, 210, 10 + rng.choice([12, 16, 21, 30]))
            titles.append(block_of("paragraph_title", box, rng.choice(starts) + rng.choice(words)))
        entries = [
            {"content": t.text, "height": judge.get_title_height(_their(t)), "level": None}
            for t in titles
        ]
        expected = [entry["level"] for entry in judge.compute_levels_for_entries(entries)]
        # Numbers with fewer points than the first one give levels below 1 there.
        assert levels_of(titles) == [max(1, level) for level in expected]


def test_heights_are_in_the_best_groups():
    heights = [12, 12, 13, 20, 21, 21, 30, 41, 42]
    assert group_heights(heights) == {42: 1, 41: 1, 30: 2, 21: 3, 20: 3, 13: 4, 12: 4}
    assert group_heights([]) == {}
    assert len(set(group_heights(range(10, 200)).values())) == 4


def _their(block):
    return type("Block", (), {"label": block.label, "bbox": block.box, "content": block.text})()


def test_order_by_halves():
    judge = load("paddleocr", "ppstructure/recovery/recovery_to_doc.py").sorted_layout_boxes
    rng = random.Random(0)
    for _ in range(300):
        boxes = []
        for _ in range(rng.choice([1, 2, 5, 9])):
            left, top = rng.randrange(0, 550), rng.randrange(0, 700)
            boxes.append((left, top, left + rng.randrange(5, 600 - left + 5), top + 40))
        expected = [r["bbox"] for r in judge([{"bbox": list(box)} for box in boxes], 600)]
        found = [list(boxes[index]) for index in order_by_halves(boxes, 600)]
        # PaddleOCR drops a last block that ends at the middle and begins right of it.
        assert found == expected


class Soup:
    """What PaddleX asks of BeautifulSoup, which is not installed."""

    def __init__(self, element):
        self._element = element

    def find_all(self, names):
        wanted = [names] if isinstance(names, str) else names
        return [Soup(each) for each in self._element.iter() if each.tag in wanted]

    def get(self, name, default):
        return self._element.get(name, default)

    def get_text(self):
        return "".join(self._element.itertext())


def test_tables_over_page_breaks():
    judge = load("paddlex", "inference/pipelines/layout_parsing/merge_table.py")
    rng = random.Random(0)
    heads = [
        [("Day", 1, 1), ("High  water", 2, 1)],
        [("Day", 1, 1), ("Highwater", 2, 1)],
        [("Day", 1, 1), ("High", 1, 1), ("water", 1, 1)],
        [("Day", 1, 1)],
        [("Ｄａｙ", 1, 1), ("Highwater", 2, 1)],
    ]
    rows = [[(str(n), 1, 1) for n in range(3)], [("4", 1, 1), ("5", 2, 1)], [("6", 1, 1)]]
    seen = set()
    for _ in range(100):
        tables = [
            table_of([rng.choice(heads), *rng.choices(rows, k=rng.choice([1, 2]))], (0, 0, 90, 90))
            for _ in range(2)
        ]
        soups = [Soup(ElementTree.fromstring(table.html)) for table in tables]
        count = judge.detect_table_headers(*soups)[0]
        columns = [judge.calculate_table_total_columns(soup) for soup in soups]
        fit = columns[0] == columns[1] or judge.check_rows_match(*soups)
        assert (repeated_rows(*tables), columns_fit(*tables)) == (count, fit)
        seen.add((count, fit))
    assert len(seen) > 3
