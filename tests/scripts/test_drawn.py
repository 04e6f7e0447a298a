"""Pages that scripts draw: what was drawn is known, and its Markdown is that of the writer here."""

from __future__ import annotations

import numpy as np
from drawn.pages import DrawnPage, broken
from drawn.source import markdown_of

from pipelines.documents.document import finish
from pipelines.documents.parser import PageParser
from pipelines.documents.settings import DEFAULT
from pipelines.documents.types import Document
from pipelines.documents.writers.markdown import page_markdown
from tests.support.drawn_pages import Ideal, paint_key

HEAD = [("Harbour", 1, 1), ("Tide", 2, 1)]


def row(*texts):
    return [(text, 1, 1) for text in texts]


def pages():
    """Two pages, with a table over the break between them."""
    first, second = DrawnPage(600, 800), DrawnPage(600, 800)
    first.text("header", 40, 10, 400, "Head", size=12)
    y = first.text("doc_title", 40, 60, 520, "Tides", size=30, centred=True)
    y = first.text("text", 40, y, 520, "The water rises twice a day and falls as often. " * 2)
    y = first.picture(40, y, 200, 80)
    y = first.text("figure_title", 40, y, 200, "Figure 1: Waves", size=14)
    y = first.formula(200, y + 10, "x^{2}", [("x", 28, 0), ("2", 17, 14)])
    first.table(40, y, 520, [HEAD, row("North", "4.1", "0.3")])
    y = second.table(40, 40, 520, [HEAD, row("South", "4.4", "0.5")], goes_on=True)
    second.text("paragraph_title", 40, y + 20, 520, "Outlook", size=24)
    return [first, second]


def image_of(page, key):
    image = page.image(lambda image: paint_key(image, key))
    return np.asarray(image)[..., ::-1].copy()


def test_markdown_of_drawn_pages():
    drawn = pages()
    parse = PageParser(Ideal(drawn).networks(), DEFAULT)
    parsed = [parse(image_of(page, n), "a.pdf", n + 1).page for n, page in enumerate(drawn)]
    written = page_markdown(Document(tuple(finish(parsed, DEFAULT))))
    figure = '<img src="images/page1-1.jpg" alt="Image" width="33%" />'
    assert written.replace(figure, "<img>").split() == markdown_of(drawn).split()


def test_drawn_lines_are_within_their_width():
    page = DrawnPage(600, 800)
    page.text("text", 40, 40, 300, "The water rises twice a day. " * 4)
    (block,) = page.blocks
    assert len(block.lines) > 2
    assert all(box[2] <= 340 for box, _ in block.lines)
    assert " ".join(broken(block.text, 300)) == block.text


def test_a_page_that_was_scanned_sideways():
    page = DrawnPage(600, 800)
    page.turned = 90
    assert page.image().size == (800, 600)
