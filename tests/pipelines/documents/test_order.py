"""Reading order and blocks of pages that are drawn, so that both are known."""

from __future__ import annotations

import numpy as np
import pytest
from drawn.pages import DrawnBlock
from drawn.tables import table_of

from pipelines.documents.networks import Networks
from pipelines.documents.parser import PageParser
from pipelines.documents.settings import DEFAULT, PRESETS
from pipelines.documents.types import Document, Figure, Formula, Page
from pipelines.documents.writers.markdown import page_markdown
from pipelines.table.results import Table
from tests.support.drawn_pages import (
    GAP,
    HEIGHT,
    MARGIN,
    WIDTH,
    DrawnPage,
    Ideal,
)


def parse(page: DrawnPage, settings=DEFAULT) -> Page:
    return PageParser(Ideal([page]).networks(), settings)(page.draw(0), "page.png", 1).page


def words(page: Page) -> list[str]:
    return [" ".join(block.text.split()) for block in page.blocks]


def boxes(page: Page):
    return [block.box for block in page.blocks]


def in_order(page: DrawnPage) -> bool:
    return boxes(parse(page)) == [block.box for block in page.blocks]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_columns(count):
    page = DrawnPage()
    page.columns(count, 60)
    parsed = parse(page)
    assert boxes(parsed) == [block.box for block in page.blocks]
    assert words(parsed) == page.texts()
    assert [block.order for block in parsed.blocks] == list(range(1, len(page.blocks) + 1))


def test_a_title_over_columns():
    page = DrawnPage()
    page.text("doc_title", 150, 30, 450, 1, short=False)
    page.columns(2, 80)
    assert in_order(page)


@pytest.mark.parametrize("count", [2, 3])
def test_a_heading_between_two_bands_of_columns(count):
    page = DrawnPage()
    end = page.columns(count, 40, lines=(4, 3))
    end = page.text("paragraph_title", MARGIN, end, WIDTH - MARGIN, 1, short=False)
    page.columns(count, end, lines=(3, 4))
    assert in_order(page)


def test_header_footer_and_number_stand_first_and_last():
    page = DrawnPage()
    page.text("header", MARGIN, 8, 300, 1, short=False)
    page.columns(2, 60)
    page.text("footnote", MARGIN, 720, 300, 1, short=False)
    page.text("footer", MARGIN, 770, 300, 1, short=False)
    page.text("number", 500, 770, 540, 1, short=False, words=["7"])
    parsed = parse(page)
    assert boxes(parsed) == [block.box for block in page.blocks]
    furniture = {"header", "footnote", "footer", "number"}
    assert all((block.order is None) == (block.label in furniture) for block in parsed.blocks)


def test_a_caption_follows_its_picture_and_a_table_its_title():
    page = DrawnPage()
    middle = (WIDTH - GAP) // 2
    end = page.text("text", MARGIN, 40, middle, 5)
    end = page.picture("image", MARGIN, end, middle, 100)
    page.text("figure_title", MARGIN + 30, end, middle - 30, 1, short=False)
    left = middle + GAP
    end = page.text("figure_title", left + 20, 40, WIDTH - MARGIN - 20, 1, short=False) - 8
    box = (left, end, WIDTH - MARGIN, end + 90)
    page.picture("table", *box[:3], 90)
    page.blocks[-1].table = table_of([[("a", 1, 1), ("b", 1, 1)]] * 3, box)
    page.text("text", left, end + 120, WIDTH - MARGIN, 6)
    parsed = parse(page)
    assert boxes(parsed) == [block.box for block in page.blocks]
    kinds = {block.label: type(block.content) for block in parsed.blocks}
    assert (kinds["image"], kinds["table"]) == (Figure, Table)


def test_a_picture_in_a_cell_of_a_table_is_left_out():
    page = DrawnPage()
    box = (MARGIN, 60, WIDTH - MARGIN, 260)
    page.picture("table", *box[:3], 200)
    cells = [[("Logo", 1, 1), ("Name", 1, 1)], [("", 1, 1), ("b", 1, 1)]]
    page.blocks[-1].table = table_of(cells, box)
    page.picture("image", MARGIN + 20, 180, MARGIN + 120, 60)
    (block,) = parse(page).blocks
    assert isinstance(block.content, Table)
    assert [cell.text for cell in block.content.cells] == ["Logo", "Name", "", "b"]
    assert "img" not in page_markdown(Document((parse(page),)))


def test_a_formula_between_texts():
    page = DrawnPage()
    end = page.text("text", MARGIN, 40, WIDTH - MARGIN, 3)
    page.picture("formula", 200, end, 400, 40)
    page.blocks[-1].latex = r"\frac{a}{b}"
    page.text("text", MARGIN, end + 60, WIDTH - MARGIN, 3)
    parsed = parse(page)
    assert boxes(parsed) == [block.box for block in page.blocks]
    content = parsed.blocks[1].content
    assert isinstance(content, Formula)
    assert content.latex == r"\frac{a}{b}"


def test_vertical_text_is_read_from_the_right():
    page = DrawnPage()
    for right, text in ((560, "潮汐每日两次"), (520, "月亮经过海湾"), (480, "海水上涨退去")):
        box = (right - 20, 60, right, 420)
        page.blocks.append(DrawnBlock("text", box, [(box, text)]))
    parsed = parse(page)
    assert boxes(parsed) == [block.box for block in page.blocks]
    assert {block.flow.direction for block in parsed.blocks} == {"vertical"}
    assert words(parsed) == page.texts()


@pytest.mark.parametrize("angle", [90, 180, 270])
def test_a_turned_page_is_read_upright(angle):
    page = DrawnPage()
    page.columns(2, 60)
    turned = np.ascontiguousarray(np.rot90(page.draw(0), -angle // 90))
    parsed = PageParser(Ideal([page], angle).networks())(turned, "page.png", 1).page
    assert (parsed.angle, parsed.width, parsed.height) == (angle, WIDTH, HEIGHT)
    assert words(parsed) == page.texts()


def test_without_a_layout_network_lines_are_blocks():
    page = DrawnPage()
    page.columns(1, 60)
    networks = Networks(ocr=Ideal([page]).networks().ocr)
    parsed = PageParser(networks)(page.draw(0), "page.png", 1).page
    lines = [text for block in page.blocks for _, text in block.lines]
    assert words(parsed) == lines


def test_without_other_networks_tables_and_formulas_stay_pictures():
    page = DrawnPage()
    page.picture("table", MARGIN, 60, 300, 90)
    page.picture("formula", MARGIN, 200, 300, 40)
    ideal = Ideal([page])
    networks = Networks(layout=ideal.layout, ocr=ideal.networks().ocr)
    parsed = PageParser(networks)(page.draw(0), "page.png", 1).page
    figures = [block.content for block in parsed.blocks]
    assert all(isinstance(figure, Figure) for figure in figures)
    assert [figure.name for figure in figures] == ["page1-1.jpg", "page1-2.jpg"]


def test_the_order_of_a_network_is_followed():
    page = DrawnPage()
    page.columns(2, 60)
    ideal = Ideal([page])

    def layout(image):
        return sorted(ideal.layout(image), key=lambda region: tuple(region.box[2]))

    networks = Networks(layout=layout, ocr=ideal.networks().ocr, ordered=True)
    parsed = PageParser(networks)(page.draw(0), "page.png", 1).page
    expected = sorted((block.box for block in page.blocks), key=lambda box: box[2:])
    assert boxes(parsed) == expected


def test_halves_of_pp_structure_2():
    page = DrawnPage()
    page.text("title", 60, 20, 540, 1, short=False)
    page.columns(2, 60)
    parsed = parse(page, PRESETS["pp-structure"])
    assert boxes(parsed) == [block.box for block in page.blocks]
    assert parsed.blocks[0].label == "paragraph_title"


def test_pages_of_very_many_blocks_are_read_from_the_top():
    page = DrawnPage(width=1300, height=1300)
    for number in range(600):
        left, top = 10 + number % 25 * 50, 10 + number // 25 * 50
        page.text("text", left, top, left + 40, 1, short=False, words=[str(number)])
    assert words(parse(page)) == [str(number) for number in range(600)]


def test_no_block_is_lost():
    # A line without an extent shows no gap to the XY cut.
    page = DrawnPage()
    page.columns(2, 60)
    page.blocks[0].box = (MARGIN, 60, MARGIN, 60)
    page.blocks[0].lines = []
    assert len(parse(page).blocks) == len(page.blocks)


def test_the_same_region_is_kept_once():
    page = DrawnPage()
    page.text("text", MARGIN, 60, 300, 4)
    left, top, right, bottom = page.blocks[0].box
    page.blocks.append(DrawnBlock("paragraph_title", (left, top, right, bottom - 20)))
    page.blocks.append(DrawnBlock("image", (left, top, right + 9, bottom + 9)))
    assert [block.label for block in parse(page).blocks] == ["text"]
