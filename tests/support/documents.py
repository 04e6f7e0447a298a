"""A document with one block of each kind, made without networks."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
from drawn.tables import table_of

from pipelines.documents.types import Block, Document, Figure, Flow, Formula, Page, Text

HOSTILE = '<script>alert(1)</script> *b* [x](y) & "q" $5 `c` | ~s~ a_b _c_ \\d'
CELLS = [
    [("Name", 1, 2), ("Tides", 2, 1)],
    [("high", 1, 1), ("=1+2", 1, 1)],
    [("<b>&", 1, 1), ("+3", 1, 1), ("@x", 1, 1)],
    [("-4", 1, 1), ("", 1, 1), ("ordinary", 1, 1)],
]


@cache
def jpeg(width=60, height=30):
    return cv2.imencode(".jpg", np.full((height, width, 3), 120, np.uint8))[1].tobytes()


def text(*parts):
    return Text(tuple(parts))


def document():
    """A document of two pages."""
    table_box = (300, 200, 560, 320)
    blocks = (
        Block("header", (40, 8, 300, 22), text("Running head")),
        Block("doc_title", (100, 30, 500, 60), text("On tides"), order=1),
        Block("paragraph_title", (40, 80, 280, 100), text("1 Introduction"), order=2, level=1),
        Block("text", (40, 110, 280, 180), text(HOSTILE + "\n# second paragraph"), order=3),
        Block("text", (40, 190, 280, 240), text("where ", Formula("a<b"), " holds."), order=4),
        Block("formula", (40, 250, 280, 280), Formula(r"\sum_{i=1}^{n} \frac{x_i}{2}"), order=5),
        Block("image", (40, 300, 280, 420), Figure("page1-1.jpg", 60, 30, jpeg(), "inside")),
        Block("figure_title", (60, 425, 260, 440), text("Figure 1: the <bay>")),
        Block("table", table_box, table_of(CELLS, table_box)),
        Block("paragraph_title", (300, 340, 560, 360), text("1.1 Methods"), order=6, level=2),
        Block("text", (300, 370, 560, 700), text("It goes on "), order=7, flow=Flow(lines=9)),
        Block("number", (290, 770, 310, 785), text("1")),
    )
    rest = (
        Block("text", (40, 40, 280, 100), text("to the next page."), order=1, continues=True),
        Block("seal", (40, 120, 120, 200), Figure("page2-1.jpg", 60, 30, jpeg(), "SEAL\nTEXT")),
        Block("table", table_box, table_of([[("x", 1, 1), ("y", 1, 1)]], table_box)),
    )
    pages = (
        Page("report.pdf", 1, 600, 800, 0, blocks),
        Page("report.pdf", 2, 600, 800, 0, rest),
        Page("report.pdf", 3, error="damaged"),
    )
    return Document(pages)
